"""How much a client may say."""

from __future__ import annotations


class Allowance:
    """A bucket that fills at ``per_s`` up to two seconds' worth, and says how long to wait when it is empty. Sans I/O."""

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = per_s
        self._left = 2 * per_s
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """One more message came: how long to wait before it is read, >= 0."""
        self._left = min(self._left + (now_s - self._at_s) * self._per_s, 2 * self._per_s) - 1
        self._at_s = now_s
        return max(-self._left / self._per_s, 0.0)
