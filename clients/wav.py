"""WAV as it goes through a pipe: headers read and written in one pass, without seeking.

For files libsndfile is the reader; here is only what a pipe needs and libsndfile cannot do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.stream.frames import Pcm

HEADER_BYTES = 44
UNKNOWN = 0xFFFFFFFF
"""In place of a size: the writer did not know it, read to the end."""
_MOST_CHUNK_BYTES = 1 << 24
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_READABLE = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}

Read = Callable[[int], bytes]
"""Exactly as many bytes as asked for, fewer only at the end."""


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What a WAV header says of the samples behind it."""

    rate_hz: int
    channels: int
    bits: int
    is_float: bool
    data_bytes: int | None
    "Bytes of sound; None where the stream goes on until it ends."

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * self.bits // 8

    def decode(self, raw: bytes) -> NDArray[np.float32]:
        """Whole frames of bytes as float32 [n, channels] in [-1, 1]."""
        flat: Pcm
        if self.is_float:
            flat = np.frombuffer(raw, f"<f{self.bits // 8}").astype(np.float32)
        elif self.bits == 8:  # the only unsigned one
            flat = (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / np.float32(128)
        elif self.bits == 24:
            wide = np.zeros((len(raw) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
            flat = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
        else:
            flat = np.frombuffer(raw, f"<i{self.bits // 8}").astype(np.float32) / np.float32(2 ** (self.bits - 1))
        return flat.reshape(-1, self.channels)


def read_header(read: Read) -> WavFormat | None:
    """Read up to the first sample.

    Returns:
        None where this is no WAV stream, or one whose samples cannot be taken as they come: compressed ones, or behind
        more than anybody would hold in memory.
    """
    riff = read(12)
    if len(riff) < 12 or riff[:4] not in (b"RIFF", b"RF64") or riff[8:] != b"WAVE":
        return None
    fields = b""
    while len(head := read(8)) == 8:
        n_bytes = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            return _format(fields, n_bytes)
        if n_bytes > _MOST_CHUNK_BYTES:
            return None
        body = read(n_bytes + n_bytes % 2)  # chunks are padded to an even length
        if head[:4] == b"fmt ":
            fields = body
    return None


def _format(fields: bytes, n_bytes: int) -> WavFormat | None:
    if len(fields) < 16:
        return None
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", fields)
    if tag == _EXTENSIBLE and len(fields) >= 26:
        tag = int.from_bytes(fields[24:26], "little")
    if (tag, bits) not in _READABLE or not channels or not rate_hz:
        return None
    # Streaming writers leave 0 or about the largest number: ffmpeg without a sign, sox and arecord with one.
    known = 0 < n_bytes < UNKNOWN - 256 and not 0x7FFFF000 <= n_bytes <= 0x80000000
    return WavFormat(rate_hz, channels, bits, tag == _FLOAT, n_bytes if known else None)


def header(rate_hz: int, n_samples: int | None = None) -> bytes:
    """The 44 bytes before mono 16-bit samples; ``n_samples`` is None, or too many, where the size is not known."""
    n_bytes = UNKNOWN if n_samples is None or 2 * n_samples + 36 >= UNKNOWN else 2 * n_samples
    riff_bytes = UNKNOWN if n_bytes == UNKNOWN else n_bytes + 36
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", riff_bytes, b"WAVE",
        b"fmt ", 16, _PCM, 1, rate_hz, 2 * rate_hz, 2, 16,
        b"data", n_bytes,
    )  # fmt: skip


def to_int16(pcm: Pcm) -> NDArray[np.int16]:
    """Float32 in [-1, 1] to 16 bits, rounded to the nearest; beyond the range it clips."""
    return np.rint(np.clip(pcm, -1, 1) * 32767).astype("<i2")
