"""A talk for a room: clips one after the other with pauses between, and how to find each again in what was heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .lag import aligned, lag_samples
from .metrics import RATE_HZ
from .recordings import Pcm, Recording, resampled

PAUSE_S = 1.0
LATEST_S = 12.0
"""How late a clip may be heard: the longest buffer, and what a link holds up."""
_NOISE = 10 ** (-65 / 20)
"""Of the pauses: a quiet room. No microphone gives zeros."""


class Talk:
    """Clips as one sound at ``rate_hz``.

    Attributes:
        pcm: [T] the whole.
        recordings: the clips.
    """

    def __init__(self, recordings: Sequence[Recording], rate_hz: int) -> None:
        self.recordings = list(recordings)
        self.rate_hz = rate_hz
        pause = np.zeros(round(PAUSE_S * rate_hz), np.float32)
        parts: list[Pcm] = [pause]
        self._starts_s: list[float] = []
        for recording in self.recordings:
            self._starts_s.append(sum(map(len, parts)) / rate_hz)
            parts += [recording.at(rate_hz), pause]
        noise = np.random.default_rng(0).normal(0, _NOISE, sum(map(len, parts))).astype(np.float32)
        self.pcm: Pcm = np.clip(np.concatenate(parts) + noise, -1, 1)

    def found(self, heard: Pcm, rate_hz: int) -> tuple[list[Pcm], list[float]]:
        """Every clip in what a listener heard, whose time began with the talk's, within a second.

        Returns:
            The clips at `metrics.RATE_HZ`, each as long as its original, silence where nothing was heard; and by how many
            seconds each came late.
        """
        unsure = round(PAUSE_S * RATE_HZ)
        heard = np.pad(resampled(heard, rate_hz, RATE_HZ), (unsure, 0))
        clips, late_s = [], []
        for recording, start_s in zip(self.recordings, self._starts_s, strict=True):
            original = recording.at(RATE_HZ)
            begin = round(start_s * RATE_HZ)
            part = heard[begin : begin + unsure + len(original) + round(LATEST_S * RATE_HZ)]
            lag = lag_samples(original, part, RATE_HZ, PAUSE_S + LATEST_S) if part.any() else 0
            clips.append(aligned(part, lag, len(original)))
            late_s.append((lag - unsure) / RATE_HZ)
        return clips, late_s
