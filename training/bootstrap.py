"""Means with intervals: how sure a figure over some clips is, and how sure a difference of two.

The percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): draw the clips again and
again with replacement. A figure is a ratio of sums over clips, which holds means (every clip counts one) as well as error
rates (every clip counts its words).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 2000
PERCENTILES = (2.5, 97.5)

Tallies = NDArray[np.float64]
"""[clips, 2]: what a clip adds to the sum, and how much it counts; 0 and 0 where it could not be measured."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float
    clips: int
    "How many went into it."
    count: float
    "What they counted together: clips, or words."


def estimate(tallies: Tallies, seed: int = 0) -> Estimate:
    """The ratio of the sums of ``tallies``, drawn over clips.

    Raises:
        ValueError: no clip counts.
    """
    tallies = tallies[tallies[:, 1] > 0]
    drawn = _ratios(tallies, _picks(len(tallies), seed))
    total = tallies.sum(0)
    return Estimate(float(total[0] / total[1]), *_interval(drawn), len(tallies), float(total[1]))


def difference(ours: Tallies, theirs: Tallies, seed: int = 0) -> Estimate:
    """Ours minus theirs over the same clips in the same order, each draw taking the same clips of both.

    Pairing takes out that some clips are harder than others for everyone. Clips that either side lacks do not count.

    Raises:
        ValueError: not the same number of clips, or none that both have.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"{len(ours)} clips cannot be paired with {len(theirs)}")
    both = (ours[:, 1] > 0) & (theirs[:, 1] > 0)
    ours, theirs = ours[both], theirs[both]
    picks = _picks(len(ours), seed)
    drawn = _ratios(ours, picks) - _ratios(theirs, picks)
    mine, other = ours.sum(0), theirs.sum(0)
    value = float(mine[0] / mine[1] - other[0] / other[1])
    return Estimate(value, *_interval(drawn), len(ours), float(mine[1]))


def _picks(n_clips: int, seed: int) -> NDArray[np.int64]:
    if not n_clips:
        raise ValueError("no clip that counts")
    return np.random.default_rng(seed).integers(0, n_clips, (ROUNDS, n_clips))


def _ratios(tallies: Tallies, picks: NDArray[np.int64]) -> NDArray[np.float64]:
    sums = tallies[picks].sum(1)
    ratios: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    return ratios


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(drawn, PERCENTILES)
    return float(low), float(high)
