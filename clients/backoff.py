"""How long to wait before a server is asked again. No clock and no sleep."""

from __future__ import annotations

import random

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
SPREAD = 0.25
"""Of a pause, to either side: the many clients of a server that died must not come back at once."""
LONG_LINE_S = 2.0
"""A line that was there for so long was a success: who lets everybody in and hangs up is asked ever more rarely."""


class Backoff:
    """Pauses, each twice as long as the one before."""

    def __init__(self) -> None:
        self._pause_s = FIRST_PAUSE_S

    def next_s(self) -> float:
        """The pause before the next attempt."""
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s * random.uniform(1 - SPREAD, 1 + SPREAD)

    def lasted(self, line_s: float) -> None:
        """A line is gone that was there for so long; after a long one the pauses begin anew."""
        if line_s >= LONG_LINE_S:
            self._pause_s = FIRST_PAUSE_S
