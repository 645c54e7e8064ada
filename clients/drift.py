"""How fast a sound card's clock runs beside this computer's: no two quartzes agree, by tens of parts in a million."""

from __future__ import annotations

import numpy as np

_MOST = 512
_LEAST_S = 10.0
"""Over a shorter time the jitter of a card's word for the time is larger than any drift."""


class Drift:
    """Watches one side of a card, from its own thread, in memory of a fixed size however long it runs.

    Samples of a card that is fast come ever earlier than their number says. The slope of that over the time is told
    by medians of the first and the last third (Tukey's resistant line, 1970): single blocks may be far off.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._kept = np.zeros((2, _MOST))  # when a block was at the card; how much later than its number says
        self.restart()

    def restart(self) -> None:
        """Forget everything: the card has lost or put in samples, which only looks like drift."""
        self._n_kept = 0
        self._n_blocks = 0
        self._every = 1  # of so many blocks one is kept
        self._n_samples = 0

    def add(self, n_samples: int, at_s: float) -> None:
        """Note that the next ``n_samples`` began to pass the card at ``at_s``."""
        if self._n_blocks % self._every == 0:
            if self._n_kept == _MOST:
                self._kept[:, : _MOST // 2] = self._kept[:, ::2]
                self._n_kept //= 2
                self._every *= 2
            self._kept[0, self._n_kept] = at_s
            self._kept[1, self._n_kept] = at_s - self._n_samples / self._rate_hz
            self._n_kept += 1
        self._n_blocks += 1
        self._n_samples += n_samples

    @property
    def ppm(self) -> float | None:
        """Parts in a million that the card is faster than this computer, negative where it is slower.

        None for less than ten seconds without a loss.
        """
        at_s, late_s = self._kept[:, : self._n_kept]
        if not len(at_s) or at_s[-1] - at_s[0] < _LEAST_S:
            return None
        third = -(-len(at_s) // 3)
        took_s = np.median(at_s[-third:]) - np.median(at_s[:third])
        return float(-1e6 * (np.median(late_s[-third:]) - np.median(late_s[:third])) / took_s)
