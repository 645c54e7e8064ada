"""One integer per session that tells what is still wanted.

Everything a session makes carries the generation it was made in. Cancelling adds one; whoever then holds
something of an older number drops it. No queue has to be cleared, and nothing old can slip through.
"""

from __future__ import annotations


class Generation:
    """The session's present number; it only grows."""

    __slots__ = ("_current",)

    def __init__(self, current: int = 0) -> None:
        self._current = current

    @property
    def current(self) -> int:
        """The number that new frames carry."""
        return self._current

    def cancel(self) -> int:
        """Make everything that exists stale; returns the new number."""
        self._current += 1
        return self._current

    def is_stale(self, generation: int) -> bool:
        """Whether something of this number must be dropped."""
        return generation < self._current
