"""Which numbers of a sender have come already: a sliding window, as IPsec and SRTP have it (RFC 4303, appendix A)."""

from __future__ import annotations

WINDOW = 128
"""How far behind the highest number another may still come."""


class ReplayWindow:
    """Takes every number once; numbers far behind never."""

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0
        "Bit i: ``highest - i`` has come."

    def take(self, number: int) -> bool:
        """Whether ``number`` >= 0 is new. Only ask for what has proved authentic: it moves the window."""
        if number > self._highest:
            self._seen = (self._seen << min(number - self._highest, WINDOW) | 1) & ((1 << WINDOW) - 1)
            self._highest = number
            return True
        behind = self._highest - number
        if behind >= WINDOW or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True
