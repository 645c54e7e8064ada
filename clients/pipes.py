"""Standard input and output in place of a file, as ``-``."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from typing import BinaryIO

PIPE = "-"
"""What a person writes for standard input or output."""


def raw_stdin() -> tuple[BinaryIO, int | None]:
    """Standard input without a buffer, and what to await with `readable`: None if it is a plain file after all.

    Closing it leaves standard input open.
    """
    descriptor = sys.stdin.fileno()
    waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)
    return open(descriptor, "rb", buffering=0, closefd=False), descriptor if waits else None


async def readable(descriptor: int) -> None:
    """Wait until a pipe has something, so that a slow writer stops neither the pipeline nor Ctrl-C."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(descriptor, lambda: None if ready.done() else ready.set_result(None))
    except (NotImplementedError, PermissionError):  # Windows, or a device that never makes one wait
        return
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
