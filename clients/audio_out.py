"""Sound into a file or a pipe: mono, 16 bits, there whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import soundfile

from sottovoce.stream.errors import AudioFileError
from sottovoce.stream.frames import Pcm

from .atomic import replacing
from .pipes import PIPE
from .wav import header, to_int16

_COMPRESSED = {
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


class AudioOutput(Protocol):
    """What takes the sound."""

    def write(self, pcm: Pcm) -> None:
        """Append float32 [n] in [-1, 1]. Raises AudioFileError: it cannot be written."""
        ...


def check_output(path: str) -> None:
    """Raises AudioFileError: the ending of ``path`` names no format that can be written."""
    suffix = Path(path).suffix.lower()
    special = path == PIPE or (Path(path).exists() and not Path(path).is_file())
    if not special and suffix != ".wav" and suffix not in _COMPRESSED:
        known = ", ".join([".wav", *_COMPRESSED])
        raise AudioFileError(f"{path}: the ending {suffix!r} names no format to write; use one of {known}")


@contextmanager
def audio_output(path: str, rate_hz: int) -> Iterator[AudioOutput]:
    """Open ``path`` for writing; its ending names the format, ``-`` is WAV on standard output.

    When the block ends well the file is there, else nothing of it is.

    Raises:
        AudioFileError: unknown ending, a folder that is not there, no permission, a full disk.
        BrokenPipeError: who read standard output is gone.
    """
    check_output(path)
    if path == PIPE:
        sys.stdout.buffer.write(header(rate_hz))
        yield _WavPipe(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with replacing(Path(path), AudioFileError) as name:
        if name == Path(path):  # a device or named pipe: nothing to go back to
            with name.open("wb") as file:
                file.write(header(rate_hz))
                yield _WavPipe(file)
        elif (known := _COMPRESSED.get(Path(path).suffix.lower())) is None:
            with name.open("wb") as file:
                file.write(header(rate_hz))
                wav = _WavPipe(file)
                yield wav
                file.seek(0)
                file.write(header(rate_hz, wav.n_samples))
        else:
            yield from _compressed(path, name, rate_hz, *known)


def _compressed(path: str, name: Path, rate_hz: int, kind: str, subtype: str) -> Iterator[AudioOutput]:
    try:
        with soundfile.SoundFile(name, "w", rate_hz, 1, subtype, format=kind) as sound:
            yield _Compressed(sound)
    except (soundfile.LibsndfileError, AssertionError) as error:
        # libsndfile does not tell which system error it met; soundfile asserts that everything was written
        raise AudioFileError(f"{path} could not be written to its end; is the disk full?") from error


class _WavPipe:
    """16-bit samples behind a header that is already written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.n_samples = 0

    def write(self, pcm: Pcm) -> None:
        self._file.write(to_int16(pcm).tobytes())
        self._file.flush()
        self.n_samples += len(pcm)


class _Compressed:
    """A format that libsndfile writes."""

    def __init__(self, sound: soundfile.SoundFile) -> None:
        self._sound = sound

    def write(self, pcm: Pcm) -> None:
        self._sound.write(to_int16(pcm))
