"""Sound into a file or a pipe: mono, 16 bits, there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

import soundfile

from sottovoce.stream.errors import AudioFileError
from sottovoce.stream.frames import Pcm

from .atomic import advice, replacing, writing
from .pipes import PIPE, Output, output
from .wav import header, to_int16

_COMPRESSED = {
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


class AudioOutput(Protocol):
    """What takes the sound."""

    async def write(self, pcm: Pcm) -> None:
        """Append float32 [n] in [-1, 1]. Raises AudioFileError: it cannot be written."""
        ...


def check_output(path: str) -> None:
    """Raises AudioFileError: the ending of ``path`` names no format that can be written."""
    suffix = Path(path).suffix.lower()
    if not _is_special(path) and suffix != ".wav" and suffix not in _COMPRESSED:
        known = ", ".join([".wav", *_COMPRESSED])
        raise AudioFileError(f"{path}: the ending {suffix!r} names no format to write; use one of {known}")


@contextmanager
def audio_output(path: str, rate_hz: int) -> Iterator[AudioOutput]:
    """Open ``path`` for writing; its ending names the format, a pipe or device gets WAV.

    When the block ends well the file is there, else nothing of it is. A pipe may make opening wait: call it only
    before the event loop runs.

    Raises:
        AudioFileError: unknown ending, a folder that is not there, no permission, a full disk.
        BrokenPipeError: who read the pipe is gone.
    """
    check_output(path)
    known = _COMPRESSED.get(Path(path).suffix.lower())
    if known and not _is_special(path):
        with replacing(Path(path), AudioFileError) as name:
            yield from _compressed(path, name, rate_hz, *known)
        return
    with output(path, AudioFileError) as file:
        file.write_at_once(header(rate_hz))
        wav = _Wav(file)
        yield wav
        file.replace_beginning(header(rate_hz, wav.n_samples))


def _is_special(path: str) -> bool:
    """Whether it is a pipe or a device, or a folder, which will be told later."""
    return path == PIPE or (os.path.exists(path) and not os.path.isfile(path))


def _compressed(path: str, name: Path, rate_hz: int, kind: str, subtype: str) -> Iterator[AudioOutput]:
    with writing(path, AudioFileError):
        file = _Remembering(name)
    with file:
        with file.blamed(path):
            sound = soundfile.SoundFile(file, "w", rate_hz, 1, subtype, format=kind)
        try:
            yield _Compressed(sound, file, path)
        finally:
            with file.blamed(path):
                sound.close()  # writes the rest


class _Wav:
    """16-bit samples behind a header that is already written."""

    def __init__(self, file: Output) -> None:
        self._file = file
        self.n_samples = 0

    async def write(self, pcm: Pcm) -> None:
        await self._file.write(to_int16(pcm).tobytes())
        self.n_samples += len(pcm)


class _Compressed:
    """A format that libsndfile writes."""

    def __init__(self, sound: soundfile.SoundFile, file: _Remembering, path: str) -> None:
        self._sound = sound
        self._file = file
        self._path = path

    async def write(self, pcm: Pcm) -> None:
        with self._file.blamed(self._path):
            self._sound.write(to_int16(pcm))


class _Remembering(FileIO):
    """A file that keeps its first failure, as libsndfile tells neither which it was nor, while closing, that it was."""

    def __init__(self, name: Path) -> None:
        super().__init__(name, "w")
        self._failure: OSError | None = None

    def write(self, data: bytes) -> int:  # type: ignore[override]
        left = memoryview(data)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as failure:
            self._failure = self._failure or failure
        return len(data) - len(left)

    @contextmanager
    def blamed(self, path: str) -> Iterator[None]:
        """Around one call of libsndfile. Raises AudioFileError: what that wrote could not be written."""
        try:
            yield
        except (soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts that everything was written
            if not self._failure:
                raise AudioFileError(f"{path} could not be written: {error}") from error
        if self._failure:
            raise AudioFileError(f"{path} could not be written: {advice(self._failure)}") from self._failure
