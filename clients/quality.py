"""How much of a voice came through: two figures over the first minute, so that memory does not grow.

ESTOI (Jensen and Taal, 2016): intelligibility, 0 ... 1. Log-mel distance: root mean square difference over the
bands of each frame in dB, averaged over the frames.
"""

from __future__ import annotations

import importlib
import math
import warnings
from dataclasses import dataclass

import numpy as np

from sottovoce.stream.clock import monotonic
from sottovoce.stream.frames import Pcm
from sottovoce.stream.loop import Session

EXCERPT_S = 60.0
_SHORTEST_ESTOI_S = 0.5  # ESTOI looks at stretches of 384 ms
_DB = 20 / math.log(10)
_CHUNK_FRAMES = 25


class Excerpt:
    """The beginning of a stream, up to ``EXCERPT_S``."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._parts: list[Pcm] = []
        self._room = int(EXCERPT_S * rate_hz)

    def add(self, pcm: Pcm) -> None:
        """Keep as much of ``pcm`` as still belongs to it."""
        if self._room > 0:
            self._parts.append(pcm[: self._room].copy())
            self._room -= len(self._parts[-1])

    def joined(self) -> Pcm:
        """All of it, float32 [n]."""
        return np.concatenate(self._parts) if self._parts else np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Quality:
    """What a listener would notice; None where it cannot be measured."""

    seconds: float
    "Length of what was compared."
    estoi: float | None
    mel_distance_db: float | None


async def compare(original: Excerpt, decoded: Excerpt, session: Session) -> Quality:
    """The figures of ``decoded`` against ``original``, which it must be aligned with.

    Uses the session's mel, of which there is only one definition; its pipelines must have ended.
    """
    ours, theirs = original.joined(), decoded.joined()
    n = min(len(ours), len(theirs))
    seconds = n / original.rate_hz
    return Quality(
        seconds,
        estoi(ours[:n], theirs[:n], original.rate_hz),
        await mel_distance_db(ours[:n], theirs[:n], session),
    )


def estoi(original: Pcm, decoded: Pcm, rate_hz: int) -> float | None:
    """ESTOI of ``decoded`` [n]; None for silence, for less than half a second, or where pystoi is missing."""
    if len(original) < _SHORTEST_ESTOI_S * rate_hz or not original.any() or not decoded.any():
        return None
    try:
        pystoi = importlib.import_module("pystoi")
    except ImportError:
        return None
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        value = float(pystoi.stoi(original, decoded, rate_hz, extended=True))
    too_little = any("Not enough STFT frames" in str(complaint.message) for complaint in complaints)
    return None if too_little or not math.isfinite(value) else value


async def mel_distance_db(original: Pcm, decoded: Pcm, session: Session) -> float | None:
    """The distance of two aligned sounds [n]; None where there is not one whole frame."""
    frame_samples = session.descriptor.frame_samples
    n = len(original) // frame_samples * frame_samples
    if not n:
        return None
    mels = []
    for sound in (original, decoded):
        parts = []
        for at in range(0, n, _CHUNK_FRAMES * frame_samples):
            chunk = sound[at : min(at + _CHUNK_FRAMES * frame_samples, n)]
            parts.append(await session.step("mel", chunk, monotonic(), fresh=at == 0))
        mels.append(np.concatenate(parts))
    rms = np.sqrt(np.mean((mels[0] - mels[1]) ** 2, axis=1))  # [n_mel_frames]
    return float(rms.mean()) * _DB
