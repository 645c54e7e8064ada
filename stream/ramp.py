"""How many frames of a speech are made at once. Sans I/O: the clock's time comes in.

One frame alone is there soonest, four together cost less. So a speech begins with one, and so it goes on behind a gap; then
come the most for which there is time: they are ready, by what steps have taken in their bad moments, while the player has
a frame left to play, even if everybody else's step comes first. And a round of all who are there, with as many frames each,
must end within a frame's length, as admission has it: who comes meanwhile waits for it no longer than for single frames.
"""

from __future__ import annotations

from typing import Protocol

from .admission import CHUNKS, HEARD, MARGIN
from .engine import Kind
from .lead import Lead

MOST = max(CHUNKS)


class Pace(Protocol):
    """What an engine takes: `loop.Session`."""

    def takes_s(self, kind: Kind, n_frames: int = 1) -> float:
        """A step of ``n_frames`` for all who need that kind, in a bad moment; infinity where nothing is known."""
        ...

    def round_s(self, n_frames: int) -> float:
        """What one step of each kind usually takes, ``n_frames`` where a speech is made sound."""
        ...


class Ramp:
    """Of one speech."""

    def __init__(self, lead: Lead, pace: Pace) -> None:
        self._lead, self._pace = lead, pace

    def n_frames(self, now_s: float, most: int) -> int:
        """How many of at most ``most`` to make next: one of `admission.CHUNKS`.

        There may be no room for so many yet (`Lead.wait_s`): that they will be in time counts that wait.
        """
        return next((n for n in CHUNKS if n <= most and self._in_time(n, now_s)), 1)

    def _in_time(self, n: int, now_s: float) -> bool:
        pace = self._pace
        round_s = pace.round_s(n)
        mine_s = n * pace.takes_s("talk") + sum(pace.takes_s(kind, n) for kind in HEARD) + pace.takes_s("read")
        frame_s = self._lead.frame_s
        return round_s <= (1 - MARGIN) * frame_s and round_s + mine_s + frame_s < self._lead.left_s(now_s, n)
