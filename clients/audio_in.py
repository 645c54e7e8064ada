"""Sound from a file or a pipe, as blocks of mono float32 at the rate that is asked for.

Any format and rate that libsndfile reads; memory does not grow with the length. A pipe (``-``) gives WAV as it
comes; other formats on a pipe are first spooled to a temporary file, as libsndfile must seek in them.
"""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import IO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.stream.errors import AudioFileError
from sottovoce.stream.frames import Pcm
from sottovoce.stream.resample import Resampler

from .cut_off import is_cut_off
from .mixdown import mix_down
from .pipes import Input
from .wav import WavFormat, read_header

_BLOCK_S = 0.25
_MOST_BLOCK_BYTES = 1 << 20


class _Source(Protocol):
    """Sound as it lies in the file."""

    rate_hz: int
    n_samples: int | None

    @property
    def cut_off(self) -> bool:
        """At the end: whether it came before the header says."""
        ...

    @property
    def waits_on(self) -> int | None:
        """As `AudioInput.waits_on`."""
        ...

    def read(self) -> NDArray[np.float32] | None:
        """The next block [n, channels], n >= 0; None at the end."""
        ...


class AudioInput:
    """Reads one sound. Use it as a context manager.

    Attributes:
        name: how to call it in messages.
        n_samples_in: samples in the file at its own rate, None where only the end will tell.
        n_samples: samples given so far, at ``rate_hz``.
    """

    def __init__(self, path: str, rate_hz: int) -> None:
        """Open ``path`` (``-``: standard input), to be heard at ``rate_hz``. Waits for the beginning of a pipe.

        Raises:
            AudioFileError: missing, not readable, no sound file, or without a single sample.
        """
        self.rate_hz = rate_hz
        self.n_samples = 0
        self._read_at_source = 0
        self._peak = 0.0
        self._beyond = 0
        self._ended = False
        file = Input(path, AudioFileError)
        self.name = file.name
        self._files: list[Input | IO[bytes] | soundfile.SoundFile] = [file]
        try:
            self._source = self._open_sound(file.file) if file.waits_on is None else self._open_pipe(file)
            self.source_rate_hz = self._source.rate_hz
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

    @property
    def waits_on(self) -> int | None:
        """What to await with `pipes.readable` before the next `read`; None for what never makes one wait."""
        return None if self._ended else self._source.waits_on

    def read(self) -> Pcm | None:
        """The next block, float32 [n] in [-1, 1] with n >= 0; None at the end.

        Raises:
            AudioFileError: the file is damaged, holds NaN or infinity, turned out to be empty, or is
                too short for a single sample at ``rate_hz``.
        """
        if self._ended:
            return None
        try:
            block = self._source.read()
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioFileError(
                f"{self.name} is damaged after {self._seconds():.2f} s: {_reason(error)}; repair or replace it"
            ) from error
        if block is None:
            if not self._read_at_source:
                raise self._empty()
            mono = self._resampler.finish()
            if not self.n_samples + len(mono):
                raise AudioFileError(
                    f"{self.name} is too short: nothing is left of it at {self.rate_hz} Hz; record more"
                )
            self._ended = True
        elif not len(block):
            return block[:, 0]
        else:
            mono = self._resampler.push(self._checked(mix_down(block)))
            self._read_at_source += len(block)
        self.n_samples += len(mono)
        return np.clip(mono, -1, 1)

    def remarks(self) -> list[str]:
        """What the user should know of what was read: one line each, none if all is well."""
        found = []
        if self._ended and self._peak == 0:
            found.append(f"{self.name} is silent: every sample is zero; check that the right file was given")
        if self._ended and self._source.cut_off:
            found.append(f"{self.name} is cut off: it ends after {self._seconds():.2f} s, before its header says; "
                         "get the file again for the rest")  # fmt: skip
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

    def _open_sound(self, file: IO[bytes]) -> _Source:
        if not file.seek(0, os.SEEK_END):
            raise self._empty()
        cut_off = is_cut_off(file)
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # file.seek() may go back no further than a buffer
        try:
            sound = _Forward(file.fileno(), closefd=False)
        except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
            raise AudioFileError(
                f"{self.name} is not a sound file that can be read ({_reason(error)}); "
                "give WAV, FLAC, Ogg, Opus, MP3 or AIFF"
            ) from error
        self._files.append(sound)
        return _Sound(sound, cut_off)

    def _open_pipe(self, pipe: Input) -> _Source:
        consumed = bytearray()

        def read(n_bytes: int) -> bytes:
            more = pipe.read(n_bytes)
            consumed.extend(more)
            return more

        wav = read_header(read)
        if wav is not None:
            return _WavPipe(pipe, wav)
        try:
            spool = tempfile.TemporaryFile()  # noqa: SIM115  closed with the others
            self._files.append(spool)
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

    waits_on = None

    def __init__(self, sound: soundfile.SoundFile, cut_off: bool) -> None:
        self._sound = sound
        self.cut_off = cut_off
        self.rate_hz = int(sound.samplerate)
        # libsndfile gives its largest number where the format does not tell the length
        self.n_samples = int(sound.frames) if sound.frames < 1 << 62 else None
        self._block = max(1, min(int(self.rate_hz * _BLOCK_S), _MOST_BLOCK_BYTES // (4 * int(sound.channels))))

    def read(self) -> NDArray[np.float32] | None:
        block = np.asarray(self._sound.read(self._block, dtype="float32", always_2d=True))
        return block if len(block) else None


class _WavPipe:
    """The samples behind a WAV header, as they come: a block is what is there."""

    def __init__(self, pipe: Input, wav: WavFormat) -> None:
        self._pipe = pipe
        self._wav = wav
        self.rate_hz = wav.rate_hz
        self.n_samples = None if wav.data_bytes is None else wav.data_bytes // wav.frame_bytes
        self._left = wav.data_bytes
        self._rest = b""  # of a sample that has not come whole

    @property
    def cut_off(self) -> bool:
        return bool(self._left)

    @property
    def waits_on(self) -> int | None:
        return None if self._left == 0 else self._pipe.waits_on

    def read(self) -> NDArray[np.float32] | None:
        raw = self._pipe.read_now(_MOST_BLOCK_BYTES if self._left is None else min(_MOST_BLOCK_BYTES, self._left))
        if raw == b"":
            return None
        if raw and self._left is not None:
            self._left -= len(raw)
        raw = self._rest + (raw or b"")
        n_whole = len(raw) - len(raw) % self._wav.frame_bytes
        self._rest = raw[n_whole:]
        return self._wav.decode(raw[:n_whole])


def _reason(error: BaseException) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return str(text).strip().rstrip(".")
