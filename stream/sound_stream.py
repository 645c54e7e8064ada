"""Sound as the bytes of a file that is read while it is written: its length is not known when it begins.

All but the plain ones are libsndfile's, through soundfile, which the package needs anyway. A frame of Opus takes it
milliseconds, in which an event loop has other things to do.
"""

from __future__ import annotations

import asyncio
import io
import struct
from typing import Protocol

import numpy as np
import soundfile

from .frames import Pcm
from .resample import Resampler
from .samples import to_bytes

CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "ulaw": "audio/basic",
    "alaw": "audio/x-alaw-basic",
}
"""What there is, and what HTTP calls it."""
MP3_KBPS = 96
"""Where nobody says another."""
PAGE_MS = 80.0
"""How much sound one page of Ogg holds: what a listener to Opus waits for."""
_CODED = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
    "ulaw": ("RAW", "ULAW"),
    "alaw": ("RAW", "ALAW"),
}
_MP3_KBPS = (
    ((32_000, 44_100, 48_000), range(32, 321)),
    ((16_000, 22_050, 24_000), range(8, 161)),
    ((8_000, 11_025, 12_000), range(8, 65)),
)
"""Rates of the three generations of MPEG, and what each takes."""
_SET_OGG_PAGE_LATENCY_MS = 0x1302  # libsndfile's SFC_SET_OGG_PAGE_LATENCY_MS
_UNKNOWN = 0xFFFFFFFF
_MP3_SYNC, _MP3_HEADER_BYTES = 0xFF, 4


class _File(Protocol):
    def write(self, pcm: Pcm) -> bytes: ...

    def close(self) -> bytes: ...


class SoundStream:
    """Sound in at one rate, bytes of a file out at another. What takes time is done in a thread, in order."""

    def __init__(self, form: str, in_hz: int, out_hz: int, kbps: int = MP3_KBPS) -> None:
        """``form`` is a key of `CONTENT_TYPES`; ``kbps``: of mp3. Raises ValueError: soxr cannot convert between the rates."""
        self._resampler = Resampler(in_hz, out_hz, "live")
        self._in_thread = form in _CODED
        self._file: _File = _Coded(*_CODED[form], out_hz, kbps) if form in _CODED else _Plain(form, out_hz)

    async def push(self, pcm: Pcm) -> bytes:
        """The bytes that follow, for float32 [n] more of sound; often none. Await it before anything else is pushed."""
        return await asyncio.to_thread(self._push, pcm) if self._in_thread else self._push(pcm)

    async def finish(self) -> bytes:
        """The rest. Push nothing after it."""
        return await asyncio.to_thread(self._finish) if self._in_thread else self._finish()

    def _push(self, pcm: Pcm) -> bytes:
        return self._file.write(self._resampler.push(pcm))

    def _finish(self) -> bytes:
        return self._file.write(self._resampler.finish()) + self._file.close()


def wav_header(rate_hz: int) -> bytes:
    """Of mono 16-bit sound of unknown length: readers take it to last as long as something comes."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE") + b"fmt " + form + struct.pack("<4sI", b"data", _UNKNOWN)


class _Plain:
    """16-bit samples, with a WAV header before them or without."""

    def __init__(self, form: str, rate_hz: int) -> None:
        self._header = wav_header(rate_hz) if form == "wav" else b""

    def write(self, pcm: Pcm) -> bytes:
        data, self._header = self._header + to_bytes(pcm, "s16le"), b""
        return data

    def close(self) -> bytes:
        data, self._header = self._header, b""
        return data


class _Coded:
    """A file of libsndfile's, taken from its hands as it grows."""

    def __init__(self, form: str, coding: str, rate_hz: int, kbps: int) -> None:
        self._tape = _Tape()
        self._begins = form == "MP3"
        how = {"bitrate_mode": "CONSTANT", "compression_level": _compression(rate_hz, kbps)} if form == "MP3" else {}
        self._file = soundfile.SoundFile(self._tape, "w", rate_hz, 1, coding, format=form, **how)
        if form == "OGG":  # by default a page is a second long; soundfile has no public name for this
            page_ms = soundfile._ffi.new("double *", PAGE_MS)
            soundfile._snd.sf_command(self._file._file, _SET_OGG_PAGE_LATENCY_MS, page_ms, 8)

    def write(self, pcm: Pcm) -> bytes:
        self._file.write(np.clip(pcm, -1, 1))
        return self._taken()

    def close(self) -> bytes:
        self._file.close()
        return self._taken()

    def _taken(self) -> bytes:
        """An MP3 mostly begins with a frame of zeros behind a header, to be written over with a table of contents when all is
        known: that would be heard as silence, so it stays here."""
        data = self._tape.take()
        if self._begins and data:
            self._begins = False
            after = data.find(_MP3_SYNC, _MP3_HEADER_BYTES)
            first = data[:after] if after > 0 else data
            if not any(first[_MP3_HEADER_BYTES:]):
                return data[len(first) :]
        return data


def mp3_kbps(rate_hz: int) -> range:
    """What an MP3 of this rate may take; nothing where there is none."""
    return next((kbps for rates_hz, kbps in _MP3_KBPS if rate_hz in rates_hz), range(0))


def _compression(rate_hz: int, kbps: int) -> float:
    """libsndfile's name for ``kbps``: 0 is the most, 1 the least, which itself it refuses."""
    allowed = mp3_kbps(rate_hz)
    return min((allowed[-1] - kbps) / (allowed[-1] - allowed[0]), 0.9999)


class _Tape(io.RawIOBase):
    """A file that can only grow: what libsndfile goes back to, to put lengths and sums into a header, has been sent."""

    def __init__(self) -> None:
        super().__init__()
        self._new = bytearray()
        self._at = self._end = 0

    def take(self) -> bytes:
        """What was written since."""
        data = bytes(self._new)
        self._new.clear()
        return data

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self._at == self._end:
            self._new += data
            self._end += len(data)
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True
