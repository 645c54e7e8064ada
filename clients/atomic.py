"""Files that are there whole or not at all: written under another name, renamed when finished."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sottovoce.stream.errors import SottovoceError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "your disk quota is used up; free some space or write elsewhere",
    errno.EFBIG: "files of that size are not allowed there; write elsewhere",
    errno.ENOENT: "its folder does not exist; make it first",
    errno.ENOTDIR: "its folder is not a folder; choose another name",
    errno.EISDIR: "it is a folder; give the name of a file",
    errno.EACCES: "writing there is not permitted; choose another place",
    errno.EPERM: "writing there is not permitted; choose another place",
    errno.EROFS: "that file system is read-only; choose another folder",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}
_MOST_OF_NAME = 24  # characters of at most 4 bytes: with what is added, far from the 255 bytes of most file systems


@contextmanager
def writing(name: str | Path, error: type[SottovoceError]) -> Iterator[None]:
    """Around what writes ``name`` and does nothing else.

    Raises:
        ``error``: in place of an OSError, in one line. BrokenPipeError passes.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as failure:
        raise error(f"{name} could not be written: {advice(failure)}") from failure


@contextmanager
def replacing(path: Path, error: type[SottovoceError]) -> Iterator[Path]:
    """Yield the name of an empty file to write; it becomes ``path`` when the block ends well, else it is removed.

    An old file hands its permissions on; what a symbolic link points to is replaced, not the link. A ``path`` that is
    no plain file (a device, a named pipe) is yielded as it is.

    Raises:
        ``error``: the file cannot be made, or not renamed. What the block raises passes; see `writing`.
    """
    with writing(path, error):
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            beside = target = path
        else:
            target = Path(os.path.realpath(path))
            beside = target.with_name(f".{target.name[:_MOST_OF_NAME]}.{os.urandom(4).hex()}.part")
            permissions = 0o666 if mode is None else 0o600  # of a new file as the umask has it
            os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions))
    if beside == path:
        yield path
        return
    try:
        yield beside
        with writing(path, error):
            if mode is not None:
                beside.chmod(stat.S_IMODE(mode))
            os.replace(beside, target)
    except BaseException:  # also Ctrl-C and cancelling: nothing half-written stays
        beside.unlink(missing_ok=True)
        raise


def advice(failure: OSError) -> str:
    """What was wrong, and what to do."""
    return _ADVICE.get(failure.errno or 0, failure.strerror or str(failure))


def _mode(path: Path) -> int | None:
    """Kind and permissions of what is there; None for nothing. Raises OSError: it may not be written."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    wrong = errno.EISDIR if stat.S_ISDIR(mode) else 0 if os.access(path, os.W_OK) else errno.EACCES
    if wrong:
        raise OSError(wrong, os.strerror(wrong))
    return mode
