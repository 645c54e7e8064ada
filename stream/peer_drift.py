"""How fast a peer's clock runs beside ours, from when its packets come, and the resampling that makes up for it.

Every pair of sound cards disagrees, by tens of parts in a million: ten minutes of talk would gather a tenth of a
second of lag, or of gaps. No clock, no I/O.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from .frames import Pcm

SPAN_S = 10.0
"""Of the packets of so long a time the quickest quarter makes one point of the envelope."""
_LEAST_PACKETS, _MOST_PACKETS = 8, 1024
_POINTS = 64
"""Newest points that the line goes through: ten minutes."""
STEP_S = 0.02
"""Between two points no clock drifts that far: the route has changed, and the line goes on at another height."""
_LEAST_POINTS = 15
SURE_PPM = 10.0
"""Standard error from which on an estimate is believed."""
MOST_PPM = 500.0
"""No two clocks disagree more; a delay that changes faster is a queue that fills."""


class PeerDrift:
    """Estimates the drift from the least delays: a packet may be held up, but never comes too early.

    The slope of that envelope is the median of the slopes between its points, each weighted with its length (Theil
    1950, Sen 1968).
    """

    def __init__(self) -> None:
        self._points: deque[tuple[float, float, int]] = deque(maxlen=_POINTS)  # (when, delay, which height)
        self._delays: list[float] = []  # of the span that is going on
        self._began_s = 0.0
        self._height = 0
        self._ppm: float | None = None

    def restart(self) -> None:
        """The numbers jumped: what comes from now on has another origin. What is known of the drift is kept."""
        self._delays.clear()
        self._height += 1

    def add(self, media_s: float, arrived_s: float) -> None:
        """Note that the sound up to ``media_s`` of the peer's time had come at ``arrived_s`` of ours."""
        if not self._delays:
            self._began_s = arrived_s
        if len(self._delays) < _MOST_PACKETS:
            self._delays.append(arrived_s - media_s)
        if arrived_s - self._began_s >= SPAN_S and len(self._delays) >= _LEAST_PACKETS:
            quickest = np.sort(self._delays)[: len(self._delays) // 4]
            self._point((self._began_s + arrived_s) / 2, float(quickest.mean()))
            self._delays.clear()

    @property
    def ppm(self) -> float | None:
        """Parts in a million that the peer is faster than us; None as long as too little is known."""
        return self._ppm

    def _point(self, when_s: float, delay_s: float) -> None:
        if self._points and self._points[-1][2] == self._height and abs(delay_s - self._points[-1][1]) > self._step_s():
            self._height += 1
        self._points.append((when_s, delay_s, self._height))
        slope, error = _line(np.array(self._points))
        if abs(slope) <= MOST_PPM * 1e-6 and error <= SURE_PPM * 1e-6:
            self._ppm = -1e6 * slope
        elif abs(slope) > MOST_PPM * 1e-6:
            self._ppm = None

    def _step_s(self) -> float:
        """What is no jitter of the points themselves."""
        points = np.array(self._points)
        moved = np.abs(np.diff(points[:, 1]))[np.diff(points[:, 2]) == 0]
        return max(STEP_S, 6 * median(moved)) if len(moved) else STEP_S * 3


def _line(points: NDArray[np.float64]) -> tuple[float, float]:
    """Slope of lines of one slope through points [n, (x, y, which line)], and its standard error; infinite where unknown."""
    x, y, height = points.T
    i, j = np.triu_indices(len(x), 1)
    same = height[i] == height[j]
    i, j = i[same], j[same]
    if len(x) < _LEAST_POINTS or len(i) < _LEAST_POINTS:
        return 0.0, float("inf")
    length = x[j] - x[i]
    slopes = (y[j] - y[i]) / length
    order = np.argsort(slopes)
    below = np.cumsum(length[order])
    slope = float(slopes[order][np.searchsorted(below, below[-1] / 2)])
    which = np.unique(height, return_inverse=True)[1]
    n = np.bincount(which)
    level = y - slope * x
    rest = level - (np.bincount(which, level) / n)[which]
    away = x - (np.bincount(which, x) / n)[which]
    spread = 1.4826 * median(np.abs(rest[n[which] > 1]))
    return slope, spread / float(np.sqrt((away**2).sum()))


class DriftCorrection:
    """Sound at the peer's rate in, at ours out: soxr's resampler of variable rate. One for each peer, behind its vocoder."""

    MOST_PPM = 10_000.0

    def __init__(self, rate_hz: int) -> None:
        """Raises ValueError: ``rate_hz`` is not positive."""
        if rate_hz < 1:
            raise ValueError(f"the sample rate must be positive, not {rate_hz}")
        most = 1 + 2e-6 * self.MOST_PPM
        self._soxr: Any = soxr.ResampleStream(most * rate_hz, rate_hz, 1, dtype="float32", quality="HQ", vr=True)
        self._soxr.set_io_ratio(1.0, 1.0)
        self._slew_samples = rate_hz // 50
        self._ppm = 0.0

    @property
    def ppm(self) -> float:
        """Faster by so much, within ``MOST_PPM``: set it to `RoomReceiver.playout_ppm` before every frame.

        May be changed at any time: it gets there in 20 ms, without a click.
        """
        return self._ppm

    @ppm.setter
    def ppm(self, ppm: float) -> None:
        ppm = min(max(ppm, -self.MOST_PPM), self.MOST_PPM)
        if ppm != self._ppm:
            self._ppm = ppm
            self._soxr.set_io_ratio(1 + 1e-6 * ppm, 1.0, self._slew_samples)

    def process(self, pcm: Pcm) -> Pcm:
        """float32 [n] in, about as many out: n / (1 + ppm / 1e6), ten milliseconds later.

        Keep what comes in a FIFO and pull the next frame from the receiver whenever it holds less than the speaker wants.
        """
        return np.asarray(self._soxr.resample_chunk(np.ascontiguousarray(pcm, np.float32)), np.float32)
