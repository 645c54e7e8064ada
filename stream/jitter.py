"""The places of a talker's frames: what has come for each, and what has become of it. Sans I/O.

A ring over frame indices (frame numbers without the wrap), of a fixed size whatever arrives. When a frame is played is not
decided here but in ``timeline.py``, and how long frames wait in ``playout_delay.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PLACES = 1024
"""Remembered at once: forty seconds of ``base``, past and coming together."""
MOST_AHEAD = PLACES // 2
"""How far beyond the next place a frame may wait."""
_NOBODY = -1 << 62

# What is known of a frame: nothing; its coarsest book, from a later packet; all of it; and once its place is over: it
# was played as far as it was repaired; it came, and was played or dropped. Numbers rather than an Enum, which costs
# more than all the rest.
_EMPTY, _REPAIR, _WAITING, _REPAIRED, _DONE = range(5)


class Verdict(NamedTuple):
    """What became of the frames of a packet that do not wait: how many were dropped for what reason."""

    duplicate: int
    late: int
    overrun: int


class JitterBuffer:
    """Frames by index. Indices may be any integers; those that are `PLACES` apart forget one another.

    Attributes:
        waiting: received frames that are not played yet.
        first: a lower bound of everything that waits or is repaired, None where nothing does.
    """

    def __init__(self, books: int) -> None:
        self._codes = np.full((PLACES, books), -1, np.int16)
        self._index = np.full(PLACES, _NOBODY, np.int64)  # whose place it is
        self._place = np.zeros(PLACES, np.int8)
        self._beyond = 0  # the highest index that waits or is repaired, and one
        self.waiting = 0
        self.first: int | None = None

    def clear(self) -> int:
        """Forgets everything; returns how many received frames were waiting."""
        dropped, self.waiting = self.waiting, 0
        self._place[:] = _EMPTY
        self._index[:] = _NOBODY
        self.first = None
        return dropped

    # ---- in ----------------------------------------------------------------------------------------------------

    def put(self, index: int, codes: NDArray[np.uint16], next_place: int) -> Verdict:
        """The frames from ``index`` on have come.

        Args:
            index: of the first.
            codes: [n, 1 ... books], n at most `PLACES`.
            next_place: what is before it is over.
        """
        at, known = self._known(index, len(codes))
        indices = np.arange(index, index + len(codes))
        twice = (known == _WAITING) | (known == _DONE)
        late = ~twice & (indices < next_place)
        overrun = ~twice & (indices >= next_place + MOST_AHEAD)
        waits = ~(twice | late | overrun)
        self._write(at[waits], indices[waits], codes[waits], _WAITING)
        self._write(at[late], indices[late], codes[late], _DONE)
        self.waiting += int(waits.sum())
        if waits.any():
            self._span(int(indices[waits][0]), int(indices[waits][-1]) + 1)
        return Verdict(int(twice.sum()), int(late.sum()), int(overrun.sum()))

    def missing(self, newest: int, n: int, floor: int) -> list[int]:
        """Of the ``n`` frames down from ``newest``, those from ``floor`` on of which nothing is known, newest first."""
        n = min(n, newest - floor + 1)
        if n <= 0:
            return []
        _, known = self._known(newest - n + 1, n)
        return [newest - i for i, place in enumerate(known[::-1]) if place == _EMPTY]

    def repair(self, index: int, coarsest: int) -> None:
        """The coarsest book of a frame has come of which nothing is known."""
        at = index % PLACES
        self._index[at], self._place[at] = index, _REPAIR
        self._codes[at, 0], self._codes[at, 1:] = coarsest, -1
        self._span(index, index + 1)

    def pass_over(self, index: int, codes: NDArray[np.uint16]) -> None:
        """Frames [n, books] have come that are of no use: they need no repair, and may come twice."""
        at, known = self._known(index, len(codes))
        indices = np.arange(index, index + len(codes))
        free = (known == _EMPTY) & (self._index[at] <= indices) & ~np.isin(self._place[at], (_REPAIR, _WAITING))
        self._write(at[free], indices[free], codes[free], _DONE)

    def holds(self, index: int, codes: NDArray[np.uint16]) -> bool:
        """Whether just these codes [n, books] have come before, for these frames."""
        at, known = self._known(index, len(codes))
        if not ((known == _WAITING) | (known == _DONE)).all():
            return False
        books = codes.shape[1]
        return bool((self._codes[at, :books] == codes).all() and (self._codes[at, books:] < 0).all())

    # ---- out ---------------------------------------------------------------------------------------------------

    def is_filled(self, index: int) -> bool:
        """Whether a frame can be played, be it of a repair."""
        at = index % PLACES
        return bool(self._index[at] == index and (self._place[at] == _WAITING or self._place[at] == _REPAIR))

    def is_whole(self, index: int) -> bool:
        """Whether a frame can be played as it came."""
        at = index % PLACES
        return bool(self._index[at] == index and self._place[at] == _WAITING)

    def take(self, index: int) -> NDArray[np.int16]:
        """The codes [books] of a filled frame; its place is over, and so are those before it."""
        at = index % PLACES
        if self._place[at] == _WAITING:
            self.waiting -= 1
            self._place[at] = _DONE
        else:
            self._place[at] = _REPAIRED
        self.first = index + 1 if index + 1 < self._beyond else None
        codes: NDArray[np.int16] = self._codes[at].copy()
        return codes

    def drop_before(self, index: int) -> int:
        """Everything below ``index`` is given up; returns how many received frames that were."""
        if self.first is None or self.first >= index:
            return 0
        at, known = self._known(self.first, min(index, self._beyond) - self.first)
        dropped = int((known == _WAITING).sum())
        self._place[at[known == _WAITING]] = _DONE
        self._place[at[known == _REPAIR]] = _EMPTY
        self.waiting -= dropped
        self.first = index if index < self._beyond else None
        return dropped

    def next_filled(self, index: int) -> int | None:
        """The first frame from ``index`` on that can be played, None where there is none."""
        if self.first is None:
            return None
        begin = max(index, self.first)
        _, known = self._known(begin, max(self._beyond - begin, 0))
        filled = np.flatnonzero((known == _WAITING) | (known == _REPAIR))
        return begin + int(filled[0]) if len(filled) else None

    # ---- the ring ----------------------------------------------------------------------------------------------

    def _known(self, index: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Where ``n`` frames from ``index`` on are, and what is known of them."""
        indices = np.arange(index, index + n)
        at = indices % PLACES
        return at, np.where(self._index[at] == indices, self._place[at], np.int8(_EMPTY))

    def _write(self, at: NDArray[np.int64], indices: NDArray[np.int64], codes: NDArray[np.uint16], place: int) -> None:
        self._index[at] = indices
        self._place[at] = place
        self._codes[at, : codes.shape[1]] = codes
        self._codes[at, codes.shape[1] :] = -1

    def _span(self, first: int, beyond: int) -> None:
        """Something waits from ``first`` on, before ``beyond``."""
        self._beyond = beyond if self.first is None else max(self._beyond, beyond)
        self.first = first if self.first is None else min(self.first, first)
