"""Single keys from the terminal, without waiting for Enter; the terminal is put back as it was on the way out."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

try:
    import termios
    import tty
except ImportError:  # no POSIX terminal: the instrument runs without keys
    termios = None  # type: ignore[assignment]

_SEQUENCES = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left",
              "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left"}  # fmt: skip


def parse(text: str) -> list[str]:
    """What was pressed: single characters, and ``up`` ``down`` ``left`` ``right``. Other escapes are left out."""
    pressed = []
    while text:
        if text[0] != "\x1b":
            pressed.append(text[0])
            text = text[1:]
        elif text[:3] in _SEQUENCES:
            pressed.append(_SEQUENCES[text[:3]])
            text = text[3:]
        else:
            text = _after_escape(text)
    return pressed


def _after_escape(text: str) -> str:
    """What follows the unknown escape that ``text`` begins with; a sequence ends with its first letter or ``~``."""
    if text[1:2] not in ("[", "O"):
        return text[1:]
    for at, character in enumerate(text[2:], start=2):
        if character.isalpha() or character == "~":
            return text[at + 1 :]
    return ""


@contextmanager
def raw_keys() -> Iterator[asyncio.Queue[str] | None]:
    """Yield a queue of the keys that are pressed; None where standard input is no terminal.

    Ctrl-C still interrupts. For use on a running event loop.
    """
    if termios is None or sys.stdin is None or not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()
    pressed: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        try:
            text = os.read(descriptor, 1024)
        except OSError:
            text = b""
        if not text:  # the terminal is gone
            loop.remove_reader(descriptor)
        for key in parse(text.decode(errors="ignore")):
            pressed.put_nowait(key)

    tty.setcbreak(descriptor)  # no echo, no line buffer, but signals stay
    loop.add_reader(descriptor, read)
    try:
        yield pressed
    finally:
        loop.remove_reader(descriptor)
        with suppress(termios.error):  # gone meanwhile
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
