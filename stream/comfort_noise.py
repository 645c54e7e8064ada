"""The background of a voice in eleven bytes: measured while nobody speaks, sent when a talk ends, played in the pauses.

After the silence insertion descriptor of RFC 3389, but with levels in bands, which a receiver shapes noise with at once.
Making sound of it is ``comfort_sound.py``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import PacketError
from .frames import Pcm

VERSION = 2
BANDS = 8
LEAST_DB = -127.5
"""What a byte 0 says: nothing."""
_HEAD = struct.Struct("<BH")
COMFORT_NOISE_BYTES = _HEAD.size + BANDS
_STEPS_PER_DB = 2
_FALL_S, _RISE_S = 0.1, 0.5
"""A background seems loud while a voice dies away; it falls at once and rises slowly."""


@dataclass(frozen=True, slots=True)
class ComfortNoise:
    """A payload of slot a: the talk is over, and this is how its silence sounds."""

    preset_id: int
    "As in code packets."
    seq: int
    "The first frame that is not spoken, 0 ... 65535: what was spoken ended before it, also if its last packet was lost."
    levels_db: tuple[float, ...]
    "[`BANDS`], lowest first: powers in dB of full scale (mean square 1), -127.5 ... 0 in steps of 0.5; they add up."

    def pack(self) -> bytes:
        """Eleven bytes; levels are rounded and stop at the ends of their range."""
        if len(self.levels_db) != BANDS or not 0 <= self.preset_id <= 15 or not 0 <= self.seq <= 0xFFFF:
            raise PacketError(f"comfort noise has {BANDS} bands, a preset of 4 and a number of 16 bits")
        steps = [round(_STEPS_PER_DB * (min(max(db, LEAST_DB), 0.0) - LEAST_DB)) for db in self.levels_db]
        return _HEAD.pack(VERSION << 4 | self.preset_id, self.seq) + bytes(steps)


def unpack(packed: bytes) -> ComfortNoise:
    """Raises PacketError: it has another version or length."""
    if len(packed) != COMFORT_NOISE_BYTES or packed[0] >> 4 != VERSION:
        raise PacketError(f"comfort noise has {COMFORT_NOISE_BYTES} bytes and version {VERSION}")
    first, seq = _HEAD.unpack_from(packed)
    return ComfortNoise(first & 15, seq, tuple(LEAST_DB + step / _STEPS_PER_DB for step in packed[_HEAD.size :]))


def band_edges_hz(rate_hz: int) -> NDArray[np.float64]:
    """[BANDS + 1] from 0 to half of ``rate_hz``, of equal width in mel (O'Shaughnessy 1987: 2595 log10(1 + f / 700))."""
    most_mel = 2595 * np.log10(1 + rate_hz / 2 / 700)
    return 700 * (10 ** (np.linspace(0, most_mel, BANDS + 1) / 2595) - 1)


class Background:
    """Follows the levels of the background through the frames in which nobody speaks."""

    def __init__(self, rate_hz: int, frame_samples: int) -> None:
        self._frame_samples = frame_samples
        frequencies_hz = np.fft.rfftfreq(frame_samples, 1 / rate_hz)
        self._band = np.clip(np.searchsorted(band_edges_hz(rate_hz), frequencies_hz, "right") - 1, 0, BANDS - 1)
        self._window = np.hanning(frame_samples)
        # Parseval: these weights make the bands of white noise add up to its mean square.
        self._weight = np.where((frequencies_hz == 0) | (frequencies_hz == rate_hz / 2), 1.0, 2.0)
        self._weight /= frame_samples * float(np.sum(self._window**2))
        frame_s = frame_samples / rate_hz
        self._fall, self._rise = (1 - np.exp(-frame_s / s) for s in (_FALL_S, _RISE_S))
        self._powers: NDArray[np.float64] | None = None

    def add(self, frame: Pcm) -> None:
        """One frame [frame_samples] without speech."""
        spectrum = np.abs(np.fft.rfft(frame * self._window)) ** 2 * self._weight
        powers = np.asarray(np.bincount(self._band, spectrum, BANDS), np.float64)
        if self._powers is None:
            self._powers = powers
        else:
            self._powers += np.where(powers < self._powers, self._fall, self._rise) * (powers - self._powers)

    @property
    def levels_db(self) -> tuple[float, ...] | None:
        """As `ComfortNoise` has them, not rounded; None before the first frame."""
        if self._powers is None:
            return None
        return tuple(float(db) for db in np.maximum(10 * np.log10(self._powers + 1e-20), LEAST_DB))
