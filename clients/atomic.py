"""Files that are there whole or not at all: written under another name, renamed when finished."""

from __future__ import annotations

import errno
import os
import secrets
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
    errno.EACCES: "writing there is not permitted; choose another folder",
    errno.EPERM: "writing there is not permitted; choose another folder",
    errno.EROFS: "that file system is read-only; choose another folder",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}


@contextmanager
def replacing(path: Path, error: type[SottovoceError]) -> Iterator[Path]:
    """Yield the name of an empty file to write; it becomes ``path`` when the block ends well, else it is removed.

    A ``path`` that is no plain file (a device, a named pipe) is yielded as it is.

    Raises:
        ``error``: in place of an OSError from the file system, in one line. BrokenPipeError passes.
    """
    try:
        if path.exists() and not path.is_file():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            yield path
            return
        beside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # the user's umask applies
        try:
            yield beside
            os.replace(beside, path)
        except BaseException:  # also Ctrl-C and cancelling: nothing half-written stays
            beside.unlink(missing_ok=True)
            raise
    except BrokenPipeError:
        raise
    except OSError as failure:
        raise error(f"{path} could not be written: {advice(failure)}") from failure


def advice(failure: OSError) -> str:
    """What was wrong, and what to do."""
    return _ADVICE.get(failure.errno or 0, failure.strerror or str(failure))
