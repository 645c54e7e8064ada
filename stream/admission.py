"""Whether one session more would still have its sound in time, by what steps have really taken. Sans I/O.

Work comes at the pace of sound, and waits while the engine is busy; the more waits, the larger the next batch, and the less a
row of it costs. So an engine keeps up with n sessions where batches of some b of them, every kind of step n / b times, take at
most a frame's length, less a margin. Who comes during one such cycle is served by the next: two cycles pass at most, and there
is time for two frames, the one that is being made and the one that every player keeps in reserve. The first frame of a speech
is played at once, and the second is there before it has ended. What is spoken is made several frames at a time where a cycle
of all sessions leaves room for it (``ramp.py``), and then costs what such steps cost.
"""

from __future__ import annotations

from collections.abc import Mapping

from .engine import KINDS, Kind
from .step_times import StepTimes

HEARD: tuple[Kind, Kind] = ("decode", "vocode")
"""What makes sound of codes."""
SPOKEN: tuple[Kind, ...] = ("talk", *HEARD)
"""What a frame of speech goes through, as one of a loopback goes through `engine.KINDS`."""
CHUNKS = (4, 2, 1)
"""Frames of codes that are made sound in one step, most first."""
MARGIN = 0.2
ROUNDS = (4, 3, 2)
"""In a frame's length, in which what many clients say is taken together."""
_CALM = 0.5
"""The share of the engine's time above which fewer rounds are better than an early answer."""


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
        chunk, speakers, busy_s = self.chunk(sessions), sessions.get("talk", 0), 0.0
        for kind, n in sessions.items():
            spoken = min(speakers, n) if kind in HEARD and chunk > 1 else 0
            busy_s += self._each_s(kind, n - spoken) * (n - spoken) + self._each_s(kind, spoken, chunk) * spoken / chunk
        return busy_s / self._frame_s

    def chunk(self, sessions: Mapping[Kind, int]) -> int:
        """Of `CHUNKS`, the most frames for which `round_s` is within a frame's length, less the margin; else 1."""
        most_s = (1 - self._margin) * self._frame_s
        return next((chunk for chunk in CHUNKS if round_s(self.times, sessions, chunk) <= most_s), 1)

    def pace_s(self, sessions: Mapping[Kind, int]) -> float:
        """How far apart the rounds shall be: as near as leaves the engine half of its time, as a larger batch costs less a row.

        An engine without a rest takes what comes one by one, and is late with all of it when the machine is.
        """
        for rounds in ROUNDS:
            some = {kind: -(-n // rounds) for kind, n in sessions.items()}
            if rounds * round_s(self.times, some, 1) <= _CALM * self._frame_s:
                break
        return self._frame_s / rounds

    def _each_s(self, kind: Kind, n: int, n_frames: int = 1) -> float:
        """What each of ``n`` costs in a batch of the best size up to all of them."""
        sizes = [1 << i for i in range((n - 1).bit_length())] if n else []
        return min((self.times.seconds(kind, size, n_frames) / size for size in (*sizes, n) if size), default=0.0)


def round_s(times: StepTimes, sessions: Mapping[Kind, int], n_frames: int) -> float:
    """What one step of every kind usually takes, of all who need it: ``n_frames`` of what is spoken, and one of the rest."""
    speakers, found_s = sessions.get("talk", 0), 0.0
    for kind in (*KINDS, *SPOKEN[:1]):
        n = sessions.get(kind, 0)
        spoken = min(speakers, n) if kind in HEARD and n_frames > 1 else 0
        if spoken:
            found_s += times.seconds(kind, spoken, n_frames)
        if n > spoken:
            found_s += times.seconds(kind, n - spoken, 1)
    return found_s
