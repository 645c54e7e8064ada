"""How many frames of a speech are made at once. Sans I/O: the clock's time comes in.

One frame alone is there soonest, four together cost less. So a speech begins with one, and so it goes on behind a gap; then
come the most for which there is time: they are ready, by what steps have taken in their bad moments, while the player has
a frame left to play, even if everybody else's step comes first. And a round of all who are there, with as many frames each,
must end within a frame's length, as admission has it: who comes meanwhile waits for it no longer than for single frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from .admission import CHUNKS, HEARD, MARGIN, SPOKEN, round_s
from .engine import Kind
from .lead import Lead
from .step_times import StepTimes

MOST = max(CHUNKS)


class Pace(Protocol):
    """What an engine takes: `ChunkTimes`."""

    def chunk_s(self, n_frames: int) -> float:
        """From the codes before a chunk to its sound, in a bad moment, if everybody else's step comes first; infinity where
        nothing is known, or where a round of so many frames does not end in time."""
        ...


class ChunkTimes:
    """What chunks take, for all sessions of an engine: hundreds ask between two steps, so it is found once."""

    def __init__(self, times: StepTimes, sessions: Mapping[Kind, int], frame_s: float) -> None:
        """``sessions`` that need each kind, as they change."""
        self._times, self._sessions, self._frame_s = times, sessions, frame_s
        self._found: dict[int, float] = {}

    def changed(self) -> None:
        """Steps were taken, or somebody came or left."""
        self._found.clear()

    def chunk_s(self, n_frames: int) -> float:
        """As `Pace` has it."""
        if n_frames not in self._found:
            self._found[n_frames] = self._find(n_frames)
        return self._found[n_frames]

    def _find(self, n_frames: int) -> float:
        times, sessions = self._times, dict(self._sessions)
        if not sessions.get("talk"):  # who asks speaks, whatever it said that it needs
            sessions |= {kind: max(sessions.get(kind, 0), 1) for kind in SPOKEN}
        if not all(times.knows(kind) for kind in SPOKEN):
            return math.inf
        others_s = round_s(times, sessions, n_frames)
        if others_s > (1 - MARGIN) * self._frame_s:
            return math.inf
        heard_s = sum(times.slow_s(kind, sessions[kind], n_frames) for kind in HEARD)
        return others_s + n_frames * times.slow_s("talk", sessions["talk"]) + heard_s + times.slow_s("read", 1)


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
        return self._pace.chunk_s(n) + self._lead.frame_s < self._lead.left_s(now_s, n)
