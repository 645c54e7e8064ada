"""How much the seams of a stream click: the jumps at them beside the jumps elsewhere in the same sound.

A jump is the third difference of the samples, which smooth sound hardly has and a broken joint always does, over what it
usually is within 5 ms around. The score is the chance that a seam jumps more than a place elsewhere does (the area under the
ROC curve, Mann and Whitney 1947): 0.5 where seams are like any other place, 1 where each clicks. It needs no reference, knows
no model, and does not depend on loudness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .frames import Pcm

AROUND_S = 0.005
SILENCE = 0.01
"""Places whose surroundings are weaker than this share of the whole sound are pauses and do not count."""
CERTAINTY = 4.0
"""Standard errors that a score may lie above 0.5 by chance."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """What a sound showed."""

    score: float
    allowed: float
    "What chance alone gives hardly ever."
    jump: float
    "The middle jump at seams over the middle one elsewhere."
    seams: int
    "How many counted."

    @property
    def good(self) -> bool:
        """Whether the seams are like any other place."""
        return self.score <= self.allowed


def clicks(pcm: Pcm, seams: NDArray[np.int64], rate_hz: int) -> Clicks:
    """Judge ``pcm`` [T] whose pieces begin at the samples ``seams``.

    Raises:
        ValueError: fewer than ten seams, or places elsewhere, lie in sound.
    """
    jumps = np.abs(np.diff(pcm.astype(np.float64), 3))  # [T - 3], the number i is of samples i to i + 3
    straddling = np.lib.stride_tricks.sliding_window_view(jumps, 3).max(
        1
    )  # of the joint between samples i + 2 and i + 3
    around = round(AROUND_S * rate_hz)
    mean = np.ones(2 * around + 1) / (2 * around + 1)
    relative = straddling / np.maximum(np.convolve(jumps, mean, "same")[1:-1], 1e-30)
    sounding = np.convolve(np.abs(pcm), mean, "same")[2:-3] > SILENCE * np.abs(pcm).mean()
    sounding[:around] = sounding[-around:] = False
    joints = np.zeros(len(relative), bool)
    joints[(seams - 3)[(seams >= 3) & (seams - 3 < len(relative))]] = True
    near = np.convolve(joints, mean, "same") > 0.5 / len(mean)
    at, elsewhere = relative[joints & sounding], relative[~near & sounding]
    if min(len(at), len(elsewhere)) < 10:
        raise ValueError(f"only {len(at)} seams and {len(elsewhere)} other places lie in sound")
    below = np.searchsorted(np.sort(elsewhere), at) / len(elsewhere)
    chance = CERTAINTY / np.sqrt(12 * len(at))
    jump = float(np.median(at) / np.median(elsewhere))
    return Clicks(float(below.mean()), 0.5 + float(chance), jump, len(at))
