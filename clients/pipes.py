"""Bytes in and out: files, named pipes, and standard input and output in place of a file, as ``-``.

A pipe's other end may be slow, stuck, gone, full, closed or non-blocking. Nothing here waits inside a system call while
the event loop runs, so that Ctrl-C is always heard.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO, TextIOWrapper
from itertools import combinations
from pathlib import Path

from sottovoce.stream.errors import AudioFileError, SottovoceError, UsageError

from .atomic import advice, replacing, writing

try:
    import fcntl
except ImportError:  # no POSIX files
    fcntl = None  # type: ignore[assignment]

PIPE = "-"
"""What a person writes for standard input or output."""
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_PIECE_BYTES = 4096
"""What a pipe that can be written takes without waiting: Linux's PIPE_BUF."""


def hold_standard_streams() -> None:
    """Call first: streams that were closed stay so, but no file of ours is given their numbers."""
    for descriptor in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  for ever
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what its character set lacks is seen all the same


def say(line: str) -> None:
    """Print a line on standard output, at once.

    Raises:
        AudioFileError: it is closed, or on a full disk.
        BrokenPipeError: who read it is gone.
    """
    if sys.stdout is None:
        raise _closed("standard output", AudioFileError)
    with writing("standard output", AudioFileError):
        print(_printable(line), flush=True)


def flush() -> None:
    """Write what was printed otherwise. Raises as `say`."""
    if sys.stdout is not None:
        with writing("standard output", AudioFileError):
            sys.stdout.flush()


def tell(line: str) -> None:
    """Print a line on standard error; where that cannot be, there is nobody to tell."""
    with suppress(OSError):
        print(_printable(line), file=sys.stderr, flush=True)


def _printable(line: str) -> str:
    """It may hold what stands in a file, or in its name: that must not break the line, nor steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def forget_stdout() -> None:
    """Lose what Python still holds for standard output instead of trying to write it again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.close(nowhere)


class Input:
    """Bytes from a file, a named pipe or standard input.

    Attributes:
        name: how to call it in messages.
        file: it, open, without a buffer.
        waits_on: what to await with `readable` before `read_now`; None for a plain file, which never makes one wait.
    """

    def __init__(self, path: str, error: type[SottovoceError]) -> None:
        """Raises ``error``: there is no such file, it may not be read, or standard input is closed."""
        self.name = "standard input" if path == PIPE else path
        self._error = error
        if path == PIPE and sys.stdin is None:
            raise _closed(self.name, error)
        try:
            self.file = FileIO(_STDIN, closefd=False) if path == PIPE else FileIO(path)
        except OSError as failure:
            reason = {
                FileNotFoundError: "there is no such file; check the name",
                IsADirectoryError: "this is a folder; give the name of a file",
                PermissionError: "reading it is not permitted; change its permissions",
            }.get(type(failure), advice(failure))
            raise error(f"{self.name}: {reason}") from failure
        self.waits_on = self.file.fileno() if _waits(self.file) else None

    def read_now(self, n_bytes: int) -> bytes | None:
        """What is there, at most ``n_bytes``: none at the end, None where a pipe has nothing yet. Raises ``error``."""
        try:
            return self.file.read(n_bytes)
        except OSError as failure:
            raise self._error(f"{self.name} could not be read: {failure.strerror}") from failure

    def read(self, n_bytes: int) -> bytes:
        """``n_bytes``, fewer only at the end. Waits for them: call it only before the event loop runs."""
        parts = []
        while n_bytes and (part := self.read_now(n_bytes)) != b"":
            if part is None:
                select.select([self.file], [], [])
            else:
                parts.append(part)
                n_bytes -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Let go of it; standard input stays open."""
        self.file.close()


class Output:
    """Bytes into a file, a named pipe or standard output; see `output`."""

    def __init__(self, file: FileIO, name: str, error: type[SottovoceError]) -> None:
        self._file = file
        self._name = name
        self._error = error
        self._waits_on = file.fileno() if _waits(file) else None
        self._began_at = file.tell() if self._waits_on is None and not _appends(file) else None

    async def write(self, data: bytes) -> None:
        """Append ``data``, waiting while the reader of a pipe is busy.

        Raises:
            ``error``: a full disk, or whatever else keeps it from being written.
            BrokenPipeError: who read it is gone.
        """
        left = memoryview(data)
        while left:
            if self._waits_on is not None:
                await writable(self._waits_on)
            with writing(self._name, self._error):
                left = left[self._file.write(left[:_PIECE_BYTES]) or 0 :]

    def write_at_once(self, data: bytes) -> None:
        """As `write`, but the event loop stands still meanwhile: call it only before that runs."""
        left = memoryview(data)
        while left:
            with writing(self._name, self._error):
                written = self._file.write(left)
            if written is None:
                select.select([], [self._file], [])
            left = left[written or 0 :]

    def replace_beginning(self, data: bytes) -> None:
        """Write ``data`` over the first bytes that were written, if this is a file and not what others append to.

        Raises ``error`` as `write`.
        """
        if self._began_at is None:
            return
        with writing(self._name, self._error):
            end = self._file.tell()
            self._file.seek(self._began_at)
            self._file.write(data)
            self._file.seek(end)


@contextmanager
def output(path: str, error: type[SottovoceError]) -> Iterator[Output]:
    """``path`` open for writing; a plain file is there when the block ends well, else nothing of it is.

    Raises:
        ``error``: it cannot be opened, written or closed; standard output is closed.
    """
    if path == PIPE:
        if sys.stdout is None:
            raise _closed("standard output", error)
        yield Output(FileIO(_STDOUT, "w", closefd=False), "standard output", error)
        return
    with replacing(Path(path), error) as name:
        with writing(path, error):
            file = FileIO(name, "w")
        try:
            yield Output(file, path, error)
        finally:
            with writing(path, error):
                file.close()


def check_apart(source: str | None, *results: str | Path | None) -> None:
    """Raises UsageError: a result would be written over what is read, or over another. None is no file."""
    files = [_STDIN if source == PIPE else source, *(_STDOUT if result == PIPE else result for result in results)]
    plain = [file for file in files if file is not None and os.path.isfile(file)]
    if any(os.path.samefile(one, other) for one, other in combinations(plain, 2)):
        raise UsageError("two of the files given are the same; give another name for what is written")


def is_file(source: str | None) -> bool:
    """Whether it is all there already: no device, and no pipe that somebody may still write into."""
    return source is not None and os.path.isfile(_STDIN if source == PIPE else source)


async def readable(descriptor: int) -> None:
    """Wait until a pipe has something, so that a slow writer stops neither the pipeline nor Ctrl-C."""
    await _ready(descriptor, to_write=False)


async def writable(descriptor: int) -> None:
    """Wait until a pipe has room for ``_PIECE_BYTES``, so that a slow reader stops nobody either."""
    await _ready(descriptor, to_write=True)


async def _ready(descriptor: int, to_write: bool) -> None:
    from asyncio import get_running_loop  # slow, but for who is here already

    loop = get_running_loop()
    watch, forget = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    ready = loop.create_future()
    try:
        watch(descriptor, lambda: None if ready.done() else ready.set_result(None))
    except (NotImplementedError, PermissionError):  # Windows, or a device that never makes one wait
        return
    try:
        await ready
    finally:
        forget(descriptor)


def _waits(file: FileIO) -> bool:
    """Whether it is a pipe, a socket or a terminal."""
    return file.isatty() or not file.seekable()


def _appends(file: FileIO) -> bool:
    return fcntl is None or bool(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_APPEND)


def _closed(name: str, error: type[SottovoceError]) -> SottovoceError:
    return error(f"{name} is closed; give a file")
