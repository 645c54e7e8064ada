"""The key of a room in a file or in the environment, and ``sottovoce keygen``, which makes one."""

from __future__ import annotations

import os
import stat
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.stream.errors import RoomKeyError, UsageError

from .atomic import advice, writing
from .options import path
from .pipes import say, tell

if TYPE_CHECKING:
    from sottovoce.stream.room_key import RoomKey

VARIABLE = "SOTTOVOCE_ROOM_KEY"
"""Of the environment: the key itself."""
_MOST_BYTES = 4096


def add_keygen(commands: Any) -> None:
    """To the subparsers ``commands``."""
    parser = commands.add_parser("keygen", help="make the key of a room")
    parser.set_defaults(command=_keygen)
    parser.add_argument("file", nargs="?", type=path, metavar="FILE", help="new, for you alone; default: print the key")


def room_key(file: Path | None) -> RoomKey | None:
    """The key in ``file``, else in the environment; None: there is none.

    Raises:
        RoomKeyError: it cannot be read, or is no key.
        UsageError: the library for it is not installed.
    """
    if file is None:
        text = os.environ.get(VARIABLE, "")
        return _kind().from_text(text) if text.strip() else None
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MOST_BYTES)
            readable_by_others = os.name == "posix" and os.fstat(opened.fileno()).st_mode & (
                stat.S_IRWXG | stat.S_IRWXO
            )
    except OSError as error:
        raise RoomKeyError(f"the key {file} could not be read: {error.strerror or error}") from error
    try:
        key = _kind().from_text(raw.decode("utf-8", "replace"))
    except RoomKeyError as error:
        raise RoomKeyError(f"{file}: {error}") from error
    if readable_by_others:
        tell(f"sottovoce: others on this machine may read the key {file}; chmod 600 it")
    return key


def _keygen(arguments: Namespace) -> None:
    text = _kind().generate().to_text()
    if arguments.file is None:
        say(text)
        return
    try:
        opened = os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:  # a key written over is lost
        raise RoomKeyError(f"{arguments.file} is there already; choose another name, or remove it first") from error
    except OSError as error:
        raise RoomKeyError(f"{arguments.file} could not be written: {advice(error)}") from error
    with writing(arguments.file, RoomKeyError), os.fdopen(opened, "w", encoding="ascii") as file:
        file.write(text + "\n")


def _kind() -> type[RoomKey]:
    try:
        from sottovoce.stream.room_key import RoomKey
    except ModuleNotFoundError as error:
        raise UsageError("cryptography must be installed for room keys: pip install 'sottovoce[peer]'") from error
    return RoomKey
