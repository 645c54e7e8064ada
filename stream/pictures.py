"""Frames for the eye as bytes: a log-mel in half decibels, a byte for each band, and codes as they are."""

from __future__ import annotations

import math

import numpy as np

from .frames import MEL_FLOOR, Codes, Mel

HALF_DB = 40 / math.log(10)
"""Half decibels in one unit of a log-mel: 20 / ln(10) dB."""


def mel_bytes(mel: Mel) -> bytes:
    """``mel`` [t, n_mels], time-major; 0 is the floor of -100 dB, each step half a decibel, 255 is +27.5 dB and more."""
    steps = np.clip(np.rint((mel - MEL_FLOOR) * HALF_DB), 0, 255)
    return bytes(steps.astype(np.uint8).tobytes())


def codes_bytes(codes: Codes) -> bytes:
    """``codes`` [n, books] as little-endian i16, frame-major; -1 where a book is absent."""
    return codes.astype("<i2").tobytes()
