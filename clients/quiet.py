"""Keeps the chatter of sound libraries off the terminal: ALSA and PortAudio write to standard error as they like."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """While inside, what C libraries write to standard error is lost; what Python writes there is seen."""
    ours = os.dup(_STDERR)
    before = sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    before.flush()
    try:
        os.dup2(nowhere, _STDERR)
        if _writes_to_stderr():
            sys.stderr = open(ours, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(ours, _STDERR)
        os.close(ours)
        os.close(nowhere)


def _writes_to_stderr() -> bool:
    try:
        return sys.stderr.fileno() == _STDERR
    except (OSError, ValueError):  # replaced by something that is no file
        return False
