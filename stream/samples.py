"""Sound as bytes of a wire, and as float32."""

from __future__ import annotations

import numpy as np

from .client_messages import SampleFormat
from .errors import ProtocolError
from .frames import Pcm

RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000)
"""What sound cards run at."""
FORMATS: tuple[SampleFormat, ...] = ("s16le", "f32le")
_S16_SCALE = np.float32(32768)  # a plain number would be converted anew for every block


def from_bytes(data: bytes, form: SampleFormat) -> Pcm:
    """Samples in [-1, 1], clipped where they lie beyond; float32 [n]. Raises ProtocolError: a sample is no number."""
    if form == "s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / _S16_SCALE
    pcm = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(pcm).all():
        raise ProtocolError("bad_message", "a sample is not a finite number")
    return np.clip(pcm, -1, 1)


def to_bytes(pcm: Pcm, form: SampleFormat) -> bytes:
    """The samples as they go over a wire; s16le is rounded and clipped."""
    if form == "s16le":
        scaled = pcm * _S16_SCALE
        np.rint(scaled, out=scaled)
        return scaled.clip(-_S16_SCALE, _S16_SCALE - 1, out=scaled).astype("<i2").tobytes()
    return pcm.astype("<f4").tobytes()
