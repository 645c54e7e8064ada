"""Whether one session more would still have its sound in time, by what steps have really taken. Sans I/O.

Work comes at the pace of sound, and waits while the engine is busy; the more waits, the larger the next batch, and the less a
row of it costs. So an engine keeps up with n sessions where batches of some b of them, every kind of step n / b times, take at
most a frame's length, less a margin. Who comes during one such cycle is served by the next: two cycles pass at most, and there
is time for two frames, the one that is being made and the one that every player keeps in reserve. The first frame of a speech
is played at once, and the second is there before it has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from .engine import Kind

SPOKEN: tuple[Kind, ...] = ("talk", "decode", "vocode")
"""What a frame of speech goes through, as one of a loopback goes through `engine.KINDS`."""
MARGIN = 0.2
_RECENT = 32
_QUANTILE = 0.5


class StepTimes:
    """How long steps take, by kind and number of rows."""

    def __init__(self) -> None:
        self._recent: dict[tuple[Kind, int], deque[tuple[float, int]]] = {}
        self._usual: dict[Kind, dict[int, tuple[int, float]]] = {}
        self._known: dict[Kind, tuple[tuple[int, float], ...]] = {}  # rows and seconds, fewest rows first

    def add(self, kind: Kind, rows: int, seconds: float) -> None:
        """A step was taken. Of those between two powers of two the middle one, by time, stands for all, with its own rows."""
        size = 1 << (rows - 1).bit_length()
        recent = self._recent.setdefault((kind, size), deque(maxlen=_RECENT))
        recent.append((seconds, rows))
        usual_s, usual_rows = sorted(recent)[int(_QUANTILE * (len(recent) - 1))]
        usual = self._usual.setdefault(kind, {})
        usual[size] = usual_rows, usual_s
        self._known[kind] = tuple(sorted(usual.values()))  # replaced as a whole: others read it in another thread

    def seconds(self, kind: Kind, rows: int) -> float:
        """Of a step of ``rows``: between what is known, beyond it as what is known goes on; 0 where nothing is known."""
        known = self._known.get(kind, ())
        if not known:
            return 0.0
        if rows <= known[0][0]:
            return known[0][1]
        below = known[0]
        for above in known[1:]:
            if rows <= above[0]:
                return _line(below, above, rows)
            below = above
        if len(known) == 1:
            return below[1] * rows / below[0]
        return max(_line(known[-2], below, rows), below[1])


def _line(a: tuple[int, float], b: tuple[int, float], at: int) -> float:
    return a[1] + (b[1] - a[1]) * (at - a[0]) / (b[0] - a[0])


class Admission:
    """Who may come. Steps are told in the engine's thread, everything else is asked in another."""

    def __init__(self, frame_s: float, margin: float = MARGIN) -> None:
        """``frame_s``: how long a frame sounds; ``margin``: the share of it that is kept free."""
        self.times = StepTimes()
        self._frame_s, self._margin = frame_s, margin

    def fits(self, sessions: Mapping[Kind, int]) -> bool:
        """Whether so many, that need each kind of work, are served in time. One always is let in: nobody else would suffer."""
        return max(sessions.values(), default=0) <= 1 or self.busy(sessions) <= 1 - self._margin

    def busy(self, sessions: Mapping[Kind, int]) -> float:
        """The share of the engine's time that so many need, in batches of the size that is best."""
        return sum(self._each_s(kind, n) * n for kind, n in sessions.items() if n) / self._frame_s

    def _each_s(self, kind: Kind, n: int) -> float:
        """What each of ``n`` costs in a batch of the best size up to all of them."""
        sizes = [1 << i for i in range((n - 1).bit_length())]
        return min(self.times.seconds(kind, size) / size for size in (*sizes, n))
