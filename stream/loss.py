"""A wire that loses packets in bursts, as real ones do: two states, good and bad, after Gilbert (1960).

In the bad state every packet is lost. Seeded, so that a run can be repeated.
"""

from __future__ import annotations

import random

DEFAULT_BURST = 3.0
"""Packets in a row that a mean burst loses."""


class GilbertLoss:
    """Decides packet by packet."""

    def __init__(self, rate: float, burst: float | None = None, seed: int = 0) -> None:
        """
        Args:
            rate: share of packets lost in the long run, 0 ... 1.
            burst: mean length of a run of losses in packets, >= 1; by default 3, or more where
                ``rate`` needs it.

        Raises:
            ValueError: out of range, or so many losses do not come in bursts so short.
        """
        self._random = random.Random(seed)
        self.turn(rate, burst)
        self._bad = self._random.random() < rate  # begin as if it had run for ever

    def turn(self, rate: float, burst: float | None = None) -> None:
        """Lose another share of what is still to come. Raises ValueError as the constructor."""
        if not 0 <= rate <= 1:
            raise ValueError(f"the loss rate must be 0 to 1, not {rate}")
        shortest = rate / (1 - rate) if rate < 1 else float("inf")
        if burst is None:
            burst = max(DEFAULT_BURST, shortest)
        if burst < max(1.0, shortest):
            raise ValueError(f"bursts must be at least {max(1.0, shortest):.2f} packets long at a loss of {rate}")
        self._stay_bad = 1 - 1 / burst
        self._turn_bad = 1.0 if rate == 1 else rate / ((1 - rate) * burst)

    def lost(self) -> bool:
        """Whether the next packet is lost."""
        lost = self._bad
        self._bad = self._random.random() < (self._stay_bad if self._bad else self._turn_bad)
        return lost
