"""Sound from a file or a pipe, as blocks of mono float32 at the rate that is asked for.

Any format and rate that libsndfile reads; memory does not grow with the length. A pipe (``-``) gives WAV as it
comes; other formats on a pipe are first spooled to a temporary file, as libsndfile must seek in them.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.stream.errors import AudioFileError
from sottovoce.stream.frames import Pcm

from .mixdown import mix_down
from .pipes import PIPE, raw_stdin
from .resample import Resampler
from .wav import WavFormat, read_header

_BLOCK_S = 0.25
_MOST_BLOCK_BYTES = 1 << 20


class _Source(Protocol):
    """Sound as it lies in the file."""

    rate_hz: int
    channels: int
    n_samples: int | None

    def read(self) -> NDArray[np.float32]:
        """The next block [n, channels]; n = 0 at the end."""
        ...


class AudioInput:
    """Reads one sound. Use it as a context manager.

    Attributes:
        name: how to call it in messages.
        n_samples_in: samples in the file at its own rate, None where only the end will tell.
        n_samples: samples given so far, at ``rate_hz``.
        pipe_fd: file descriptor to wait on before `read`, None for a file (which never makes one wait).
    """

    def __init__(self, path: str, rate_hz: int) -> None:
        """Open ``path`` (``-``: standard input), to be heard at ``rate_hz``.

        Raises:
            AudioFileError: missing, not readable, no sound file, or without a single sample.
        """
        self.name = "standard input" if path == PIPE else path
        self.rate_hz = rate_hz
        self.n_samples = 0
        self.pipe_fd: int | None = None
        self._read_at_source = 0
        self._peak = 0.0
        self._beyond = 0
        self._ended = False
        self._files: list[BinaryIO | soundfile.SoundFile] = []
        try:
            self._source = self._open_pipe() if path == PIPE else self._open_file(Path(path))
            self.source_rate_hz = self._source.rate_hz
            self.channels = self._source.channels
            self.n_samples_in = self._source.n_samples
            if self.n_samples_in == 0:
                raise self._empty()
            try:
                self._resampler = Resampler(self.source_rate_hz, rate_hz)
            except ValueError as error:
                raise AudioFileError(f"{self.name}: {error}; convert it to 24000 Hz first") from error
        except BaseException:
            self.close()
            raise

    @property
    def duration_s(self) -> float | None:
        """Length of the whole sound, None where only the end will tell."""
        return None if self.n_samples_in is None else self.n_samples_in / self.source_rate_hz

    def read(self) -> Pcm | None:
        """The next block, float32 [n] in [-1, 1] with n >= 0; None at the end.

        Raises:
            AudioFileError: the file is damaged, holds NaN or infinity, or turned out to be empty.
        """
        if self._ended:
            return None
        try:
            block = self._source.read()
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioFileError(
                f"{self.name} is damaged after {self._seconds():.2f} s: {_reason(error)}; repair or replace it"
            ) from error
        if len(block):
            mono = self._resampler.push(self._checked(mix_down(block)))
            self._read_at_source += len(block)
        else:
            if not self._read_at_source:
                raise self._empty()
            self._ended = True
            mono = self._resampler.finish()
        self.n_samples += len(mono)
        return np.clip(mono, -1, 1)

    def remarks(self) -> list[str]:
        """What the user should know of a sound that was read to its end: one line each, none if all is well."""
        found = []
        if self._peak == 0:
            found.append(f"{self.name} is silent: every sample is zero; check that the right file was given")
        if self._beyond:
            share = self._beyond / self._read_at_source
            found.append(f"{self.name}: {share:.1%} of the samples were beyond full scale and are clipped; "
                         "lower its level first")  # fmt: skip
        return found

    def close(self) -> None:
        """Let go of the file. Closing twice is fine."""
        while self._files:
            self._files.pop().close()

    def __enter__(self) -> AudioInput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, mono: Pcm) -> Pcm:
        magnitude = np.abs(mono)
        peak = float(magnitude.max())  # NaN where any sample is NaN
        if not np.isfinite(peak):
            first = self._read_at_source + int(np.argmin(np.isfinite(mono)))
            raise AudioFileError(
                f"{self.name}: sample {first} (at {first / self.source_rate_hz:.3f} s) is not a number; "
                "export the sound again"
            )
        self._peak = max(self._peak, peak)
        if peak > 1:
            self._beyond += int((magnitude > 1).sum())
        return mono

    def _seconds(self) -> float:
        return self._read_at_source / self.source_rate_hz

    def _empty(self) -> AudioFileError:
        return AudioFileError(f"{self.name} is empty: it holds no samples; record it again")

    def _open_file(self, path: Path) -> _Source:
        try:
            file = path.open("rb")
        except OSError as error:
            reason = {
                FileNotFoundError: "there is no such file; check the name",
                IsADirectoryError: "this is a folder; give the name of a sound file",
                PermissionError: "reading it is not permitted; change its permissions",
            }.get(type(error), error.strerror)
            raise AudioFileError(f"{self.name}: {reason}") from error
        self._files.append(file)
        return self._open_sound(file)

    def _open_sound(self, file: BinaryIO) -> _Source:
        if file.seekable() and not file.seek(0, os.SEEK_END):
            raise self._empty()
        file.seek(0)
        try:
            sound = _Forward(file.fileno(), closefd=False)
        except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
            raise AudioFileError(
                f"{self.name} is not a sound file that can be read ({_reason(error)}); "
                "give WAV, FLAC, Ogg, Opus, MP3 or AIFF"
            ) from error
        self._files.append(sound)
        return _Sound(sound)

    def _open_pipe(self) -> _Source:
        pipe, descriptor = raw_stdin()
        self._files.append(pipe)
        if descriptor is None:
            return self._open_sound(pipe)
        consumed = bytearray()

        def read(n_bytes: int) -> bytes:
            at = len(consumed)
            while (missing := at + n_bytes - len(consumed)) > 0 and (more := pipe.read(missing)):
                consumed.extend(more)
            return bytes(consumed[at:])

        wav = read_header(read)
        if wav is not None:
            self.pipe_fd = descriptor
            return _WavPipe(pipe, wav)
        spool = tempfile.TemporaryFile()  # noqa: SIM115  closed with the others
        self._files.append(spool)
        try:
            spool.write(consumed)
            while more := pipe.read(_MOST_BLOCK_BYTES):
                spool.write(more)
            spool.flush()
        except OSError as error:
            raise AudioFileError(f"{self.name} could not be spooled: {error.strerror}; give a file") from error
        return self._open_sound(spool)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Reads on without seeking. The base class seeks after every block, which breaks what MP3 carries over."""

    def seekable(self) -> bool:
        return False


class _Sound:
    """A file that libsndfile reads."""

    def __init__(self, sound: soundfile.SoundFile) -> None:
        self._sound = sound
        self.rate_hz = int(sound.samplerate)
        self.channels = int(sound.channels)
        # libsndfile gives its largest number where the format does not tell the length
        self.n_samples = int(sound.frames) if sound.frames < 1 << 62 else None
        self._block = max(1, min(int(self.rate_hz * _BLOCK_S), _MOST_BLOCK_BYTES // (4 * self.channels)))

    def read(self) -> NDArray[np.float32]:
        return np.asarray(self._sound.read(self._block, dtype="float32", always_2d=True))


class _WavPipe:
    """The samples behind a WAV header, as they come: a block is what is there."""

    def __init__(self, pipe: BinaryIO, wav: WavFormat) -> None:
        self._pipe = pipe
        self._wav = wav
        self.rate_hz = wav.rate_hz
        self.channels = wav.channels
        self.n_samples = None if wav.data_bytes is None else wav.data_bytes // wav.frame_bytes
        self._left = wav.data_bytes
        self._rest = b""  # of a sample that has not come whole

    def read(self) -> NDArray[np.float32]:
        while True:
            wanted = _MOST_BLOCK_BYTES if self._left is None else min(_MOST_BLOCK_BYTES, self._left)
            raw = self._pipe.read(wanted) if wanted else b""
            if not raw:
                return np.zeros((0, self.channels), np.float32)
            if self._left is not None:
                self._left -= len(raw)
            raw = self._rest + raw
            whole = len(raw) - len(raw) % self._wav.frame_bytes
            self._rest = raw[whole:]
            if whole:
                return self._wav.decode(raw[:whole])


def _reason(error: BaseException) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return str(text).strip().rstrip(".")
