"""A server in a process of its own, for commands that measure one from its start to its end."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from sottovoce.stream.clock import Clock, monotonic
from sottovoce.stream.errors import ServeError

_PROGRAM = "import sys; from sottovoce.clients.cli import main; sys.exit(main())"
_READY_S = 120.0
"""What loading may take."""
_END_S = 10.0


@dataclass(frozen=True, slots=True)
class OwnServer:
    """One that is ready."""

    url: str
    began_s: float
    "When its process was started."
    ready_s: float
    "When it said that clients may come."


@asynccontextmanager
async def own_server(
    arguments: Sequence[str], program: Sequence[str] = (sys.executable, "-c", _PROGRAM), clock: Clock = monotonic
) -> AsyncIterator[OwnServer]:
    """``sottovoce serve`` with ``arguments``, on a free port of this machine; it ends with the block.

    Raises ServeError: it did not start; the message is its own.
    """
    began_s = clock()
    command = (*program, "serve", "--host", "127.0.0.1", "--port", "0", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    complaints = asyncio.create_task(process.stderr.read())  # nothing may wait for them
    try:
        try:
            async with asyncio.timeout(_READY_S):
                line = (await process.stdout.readline()).decode()
        except TimeoutError:
            raise ServeError(f"the server was not ready within {_READY_S:g} s") from None
        ready_s = clock()
        url = next((word for word in line.split() if word.startswith("http://")), None)
        if url is None:
            raise ServeError(_last_line(await complaints) or "the server did not say where it is")
        yield OwnServer(url.replace("http", "ws", 1), began_s, ready_s)
    finally:
        await _end(process)
        complaints.cancel()
        with suppress(asyncio.CancelledError):
            await complaints


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_line(complaints: bytes) -> str:
    lines = complaints.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("sottovoce: ") if lines else ""
