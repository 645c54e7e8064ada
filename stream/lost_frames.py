"""How many frames of a microphone were lost before they could be encoded. No clock: times come in.

Some have numbers that are missing: they gave way to newer ones, as the engine did not keep up. Others nobody has counted: a
card that ran over, a program that was stopped for a while. Those show in the time alone, as all that follows stays as late as
they were long. A computer that sleeps is no such case where its monotonic clock sleeps with it, as on Linux and macOS: neither
the frames nor the time know of it.
"""

from __future__ import annotations

_LEAST_S = 0.5
"""So much must be gone: less is a busy machine."""
_DRIFT = 2e-3
"""Cards run apart by less; what is late more than that is late for another reason."""
_WINDOW_FRAMES = 50
"""The quickest of so many tells how late all of them are: a stall that was caught up is none."""
_SHRINKS_S = 0.05
"""From one window to the next: a backlog that is longer than a window shrinks by more, what is lost does not shrink."""


class LostFrames:
    """Of one microphone."""

    def __init__(self, frame_s: float) -> None:
        self._frame_s = frame_s
        self._next = 0
        self._uncounted = 0
        self._base_s: float | None = None  # how late the quickest frames were
        self._late_s: float | None = None  # those of the window before, if that was too late
        self._least_s = float("inf")  # of this window
        self._n = 0

    def before(self, seq: int, born_s: float) -> int:
        """How many are lost right before the frame ``seq``, which was captured at ``born_s``. Call it for every frame."""
        lost, self._next = seq - self._next, seq + 1
        self._least_s = min(self._least_s, born_s - (seq + self._uncounted) * self._frame_s)
        self._n += 1
        if self._n == _WINDOW_FRAMES:
            lost += self._close()
        return lost

    def _close(self) -> int:
        """The end of a window: frames that are gone without a number."""
        least_s, self._least_s, self._n = self._least_s, float("inf"), 0
        before_s, self._late_s = self._late_s, None
        if self._base_s is None:
            self._base_s = least_s
        elif least_s - self._base_s < _LEAST_S:
            self._base_s = min(least_s, self._base_s + _DRIFT * _WINDOW_FRAMES * self._frame_s)
        elif before_s is None or before_s - least_s > _SHRINKS_S:
            self._late_s = least_s
        else:
            gone = round((min(least_s, before_s) - self._base_s) / self._frame_s)
            self._uncounted += gone
            return gone
        return 0
