"""How long an engine's steps take, as far as it was seen. Sans I/O.

Large batches may not come for hours, and what was seen of the last may be a machine that had stalled. What is known of sizes
that do not come any more is therefore how long they took at first, when all sizes were tried, at the pace of those that come;
and so it is with kinds of steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from operator import attrgetter
from statistics import median_low
from typing import Literal, NamedTuple

from .engine import Kind

RECENT = 32
"""Steps of a size, of which one stands for all."""
STALE = 2 * RECENT
"""Steps of a kind, none of which was of that size."""
GONE = 16 * STALE
"""Steps of all kinds, none of which was of that kind."""

Moment = Literal["usual", "slow"]
_RANK: dict[Moment, float] = {"usual": 0.5, "slow": 0.95}


class _Step(NamedTuple):
    seconds: float
    rows: int


class _Size:
    """Steps of as many frames, and of rows between two powers of two.

    Attributes:
        step: which of the newest stands for all.
        told: the same, or what is made of `first` where none came of late.
        first: the quickest of the first, which no stall has slowed.
        at: how many steps of the kind there were when its newest came.
    """

    def __init__(self) -> None:
        self.step: dict[Moment, _Step] = {}
        self.told: dict[Moment, _Step] = {}
        self.first, self.at = _Step(0.0, 0), 0
        self._newest: deque[_Step] = deque(maxlen=RECENT)
        self._n = 0

    def add(self, step: _Step, at: int) -> None:
        self._newest.append(step)
        ranked = sorted(self._newest)
        self.step = {moment: ranked[round(rank * (len(ranked) - 1) - 0.25)] for moment, rank in _RANK.items()}
        self.told = self.step
        if self._n < RECENT:
            self.first = ranked[0]
        self._n, self.at = self._n + 1, at


class _Sizes:
    """Of one kind of step.

    Attributes:
        known: what stands for each size, by moment and frames, fewest rows first. Lists are replaced as a whole: others read
            them in another thread.
        firsts: the same of the first steps, by frames.
        pace: how many times as long as at first steps take that come, by moment.
        at: how many steps of all kinds there were when its newest came.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[Moment, int], Sequence[_Step]] = {}
        self.firsts: dict[int, Sequence[_Step]] = {}
        self.pace: dict[Moment, float] = dict.fromkeys(_RANK, 1.0)
        self.at = 0
        self._sizes: dict[tuple[int, int], _Size] = {}  # by frames and the power of two, in the order of their first
        self._n = 0

    def add(self, step: _Step, n_frames: int, at: int) -> None:
        self._n, self.at = self._n + 1, at
        self._sizes.setdefault((n_frames, (step.rows - 1).bit_length()), _Size()).add(step, self._n)
        if self._n % RECENT:
            self._tell(n_frames)
            return
        for size in self._sizes.values():
            if not self._comes(size):
                paces = {moment: self._pace(moment, before=size) for moment in _RANK}
                size.told = {
                    moment: size.step[moment] if pace is None else _Step(size.first.seconds * pace, size.first.rows)
                    for moment, pace in paces.items()
                }
        self.pace = {moment: self._pace(moment) or 1.0 for moment in _RANK}
        for frames in {frames for frames, _ in self._sizes}:
            self._tell(frames)

    def _tell(self, frames: int) -> None:
        sizes = [size for (of, _), size in self._sizes.items() if of == frames]
        for moment in _RANK:
            self.known[moment, frames] = sorted((size.told[moment] for size in sizes), key=_rows)
        self.firsts[frames] = sorted((size.first for size in sizes), key=_rows)

    def _comes(self, size: _Size) -> bool:
        return self._n - size.at < STALE

    def _pace(self, moment: Moment, before: _Size | None = None) -> float | None:
        """How many times as long as at first those take that come, and were known ``before`` one; None where none are."""
        paces = [
            size.step[moment].seconds / size.first.seconds
            for size in takewhile(lambda size: size is not before, self._sizes.values())
            if self._comes(size) and size.first.seconds > 0
        ]
        return median_low(paces) if paces else None


_rows = attrgetter("rows")


class StepTimes:
    """By kind, number of rows and number of frames."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, _Sizes] = {}
        self._n = 0

    def add(self, kind: Kind, rows: int, seconds: float, n_frames: int = 1) -> None:
        """A step was taken. Of those between two powers of two rows one stands for all, with its own rows."""
        self._n += 1
        if kind not in self._kinds:
            self._kinds = {**self._kinds, kind: _Sizes()}
        self._kinds[kind].add(_Step(seconds, rows), n_frames, self._n)

    def knows(self, kind: Kind) -> bool:
        """Whether there was one."""
        return kind in self._kinds

    def seconds(self, kind: Kind, rows: int, n_frames: int = 1) -> float:
        """What a step usually takes, the middle one of the newest.

        Between rows that are known, and beyond them as what is known goes on; 0 where nothing is known. Frames of which nothing
        is known take as long as one after the other.
        """
        return self._seconds("usual", kind, rows, n_frames)

    def slow_s(self, kind: Kind, rows: int, n_frames: int = 1) -> float:
        """What a step takes in a bad moment: of twenty the slowest but one."""
        return self._seconds("slow", kind, rows, n_frames)

    def _seconds(self, moment: Moment, kind: Kind, rows: int, n_frames: int) -> float:
        sizes = self._kinds.get(kind)
        if sizes is None:
            return 0.0
        if self._comes(sizes):
            steps, one, pace = sizes.known.get((moment, n_frames)), sizes.known.get((moment, 1)), 1.0
        else:  # nobody needs it: it is not to be held against who comes next what its last steps took
            paces = [other.pace[moment] for other in self._kinds.values() if self._comes(other)]
            steps, one, pace = sizes.firsts.get(n_frames), sizes.firsts.get(1), median_low(paces)
        if steps:
            return pace * _between(steps, rows)
        return pace * n_frames * _between(one, rows) if one else 0.0

    def _comes(self, sizes: _Sizes) -> bool:
        return self._n - sizes.at < GONE


def _between(known: Sequence[_Step], rows: int) -> float:
    if rows <= known[0].rows:
        return known[0].seconds
    below = known[0]
    for above in known[1:]:
        if rows <= above.rows:
            return _line(below, above, rows)
        below = above
    if len(known) == 1:
        return below.seconds * rows / below.rows
    return max(_line(known[-2], below, rows), below.seconds)


def _line(a: _Step, b: _Step, rows: int) -> float:
    return a.seconds + (b.seconds - a.seconds) * (rows - a.rows) / (b.rows - a.rows)
