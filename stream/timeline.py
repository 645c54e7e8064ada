"""When the frames of one remote talker are played: one place for every pull. Sans I/O: the time comes in.

Frame i of the sender is due at ``i * frame_s`` plus an offset. Every pull moves on by one place, whatever has come; a
frame whose place is over is not played, so that nothing stale is heard and no stall of the line leaves a lag. The
offset aims at the target of ``playout_delay.py``. It grows at once, by staying at a place that is missing. It shrinks
where that costs nothing: in silence, and over places that are missing; else by playing a little faster (`trim_ppm`),
and by dropping single frames only where it is far too long. What is missing in a talk is the last frame again, fading
to comfort noise (as in ``conceal.py``).
"""

from __future__ import annotations

import math

import numpy as np

from .comfort_noise import ComfortNoise
from .conceal import SHORT_MS, SILENT_AFTER_MS, SILENT_DB
from .descriptor import Descriptor
from .jitter import JitterBuffer
from .play_frame import PlayFrame
from .playout_delay import PlayoutDelay
from .receiver_statistics import ReceiverStatistics

DEAD_S = 1.0
"""After so much concealment nobody is speaking any more."""
ONSET_S = 0.5
"""A talk may begin with so much delay more than is needed: its first frames were sent late, to lose no onset."""
OVERRUN_S = 0.6
"""With more than that too much, the delay is put right at once."""
SHRINK_FRAMES = 5.0
"""From so much too much on, more than an onset brings, a frame in a second is dropped within a talk."""
TRIM_PPM = 10_000.0
"""Most that a talk is played faster or slower to put the delay right: a sixth of a semitone."""
_TRIM_PPM_PER_FRAME = 5000.0
_SMOOTH = 1 / 16
_JUMP_S = 0.25
"""Pulls that are so far off are no jitter: the machine slept."""
_ENDS = 16
"""Ends of talks that are remembered."""


class Timeline:
    """The places of one talker, from `begin` on.

    Attributes:
        next: the place that the next pull plays; None before `begin`.
        floor: nothing before this place can be played any more.
        talking: whether a talk is being played, its gaps included.
        offset_s: due time of a frame, less its media time.
        background: what frames carry as such; its owner sets it.
    """

    def __init__(
        self, descriptor: Descriptor, buffer: JitterBuffer, delay: PlayoutDelay, statistics: ReceiverStatistics
    ) -> None:
        self._frame_ms = descriptor.frame_ms
        self._frame_s = descriptor.frame_ms / 1000
        self._silence = np.full(descriptor.books, -1, np.int16)
        self._silence.flags.writeable = False
        self._buffer = buffer
        self._delay = delay
        self._statistics = statistics
        self.background: ComfortNoise | None = None
        self._due_s: float | None = None  # when the next pull is to be expected
        self._run = 0  # concealed frames in a row
        self._shrunk_at = 0  # pulls when a frame was last dropped, or a talk began
        self.restart()

    def restart(self) -> None:
        """Forget all places; the buffer is its owner's to clear."""
        if self._run:
            self._end_run()
        self.next: int | None = None
        self.floor = 0
        self.talking = False
        self.offset_s = 0.0
        self._ended = True  # no talk is going on, nor did one break off
        self._fresh = True  # the next codes come after silence
        self._unsettled = 0  # missing places since the last frame played
        self._last = self._silence
        self._ends: list[int] = []

    def begin(self, first: int, now_s: float) -> None:
        """Frame ``first`` has come: it will be due when the target says."""
        due_s = now_s if self._due_s is None else max(self._due_s, now_s)
        self.offset_s = self._delay.target_s
        early_s = first * self._frame_s + self.offset_s - due_s
        self.floor = first
        self.next = first - max(math.ceil(early_s / self._frame_s), 0)

    def step_back(self, first: int) -> int:
        """Make a place for frame ``first``, which comes late, if the delay shall grow and nothing after it was played.

        Returns the next place.
        """
        assert self.next is not None
        room = 1 - self.excess_frames + (ONSET_S / self._frame_s if self._ended else 0)
        back = min(self.next - max(first, self.floor), int(room))
        if back > 0:
            if self.talking:
                self._statistics.inserted += back
            self._move(-back)
            self._settle(self.next)
        return self.next

    def note_end(self, end: int) -> None:
        """A talk ended before frame ``end``: what is missing from there on is silence."""
        if end not in self._ends:
            self._ends = sorted([*self._ends, end])[-_ENDS:]

    @property
    def excess_frames(self) -> float:
        """By how much the delay is longer than the target."""
        return (self.offset_s - self._delay.target_s) / self._frame_s

    @property
    def trim_ppm(self) -> float:
        """How much faster to play, to put the delay right within a talk."""
        if not self.talking:
            return 0.0
        excess = self.excess_frames
        away = max(excess - 1.0, 0.0) + min(excess + 0.5, 0.0)
        return min(max(_TRIM_PPM_PER_FRAME * away, -TRIM_PPM), TRIM_PPM)

    def pull(self, now_s: float) -> PlayFrame:
        """What to play next."""
        self._statistics.pulls += 1
        self._due_s = now_s + self._frame_s
        if self.next is None:
            return self._silent()
        away_s = now_s - self.next * self._frame_s - self.offset_s
        self.offset_s += away_s if abs(away_s) > _JUMP_S else _SMOOTH * away_s
        self._catch_up()
        self._end_talk()
        frame = self._speak() if self.talking else self._pause()
        self.next += 1
        return frame

    def _speak(self) -> PlayFrame:
        """The next frame of a talk."""
        assert self.next is not None
        excess = self.excess_frames
        if self._buffer.is_filled(self.next):
            if excess > SHRINK_FRAMES and self._may_shrink():
                self._statistics.dropped["shrink"] += 1
                self._buffer.take(self.next)
                self._move(1)
                self._shrunk_at = self._statistics.pulls
            return self._play()
        if excess > 1 and (ahead := self._buffer.next_filled(self.next)) is not None:
            skipped = min(int(excess), ahead - self.next)
            self._miss(skipped)
            self._move(skipped)
            if self._buffer.is_filled(self.next):
                return self._play()
        if excess < -0.5:
            self._statistics.inserted += 1
            self._move(-1)
        else:
            self._miss(1)
        return self._conceal()

    def _pause(self) -> PlayFrame:
        """Nobody speaks: the delay may be put right at no cost, until the next talk is due."""
        assert self.next is not None
        self._delay.settle()
        excess = self.excess_frames
        if excess > 1:
            ahead = self._buffer.next_filled(self.next)
            skipped = int(excess) if ahead is None else min(int(excess), ahead - self.next)
            self._move(skipped)
            excess -= skipped
        if excess < -0.5:
            self._move(-1)
        elif self._buffer.is_filled(self.next):
            self.talking = True
            self._ended = False
            self._statistics.talks += 1
            self._shrunk_at = self._statistics.pulls  # an onset least of all
            return self._play()
        return self._silent()

    def _play(self) -> PlayFrame:
        assert self.next is not None
        repaired = not self._buffer.is_whole(self.next)
        codes = self._buffer.take(self.next)
        if repaired:
            self._statistics.repaired += 1
        else:
            self._statistics.played += 1
        self._end_run()
        self.floor = self.next + 1
        self._unsettled = 0
        self._last = codes
        fresh, self._fresh = self._fresh, False
        return PlayFrame("codes", codes, 0.0, False, repaired, fresh, self.background)

    def _conceal(self) -> PlayFrame:
        """The last codes again, fading ever faster; then comfort noise; then the talk is over."""
        self._run += 1
        self._statistics.concealed += 1
        share = self._run * self._frame_ms / SILENT_AFTER_MS
        if self._run * self._frame_s >= DEAD_S:
            self.talking = False
            self._end_run()
        if share >= 1:
            self._fresh = True
            return PlayFrame("silence", self._silence, SILENT_DB, True, False, False, self.background)
        return PlayFrame("codes", self._last, SILENT_DB * share**2, True, False, False, self.background)

    def _silent(self) -> PlayFrame:
        self._fresh = True
        self._statistics.silent += 1
        return PlayFrame("silence", self._silence, SILENT_DB, False, False, False, self.background)

    def _move(self, frames: int) -> None:
        """Give places up, or take them back: the delay shrinks or grows."""
        assert self.next is not None
        self.next += frames
        self.offset_s -= frames * self._frame_s

    def _catch_up(self) -> None:
        """So much waits that it would stay behind for long: what is too old is dropped."""
        assert self.next is not None
        excess = self.excess_frames
        if excess * self._frame_s <= OVERRUN_S or self._buffer.first is None:
            return
        if self.talking:
            places = range(self.next, self.next + min(int(excess), round(DEAD_S / self._frame_s)))
            self._statistics.missing += sum(not self._buffer.is_filled(place) for place in places)
            self._unsettled = 0
        self._move(int(excess))
        self._statistics.dropped["overrun"] += self._buffer.drop_before(self.next)
        self.floor = self.next

    def _end_talk(self) -> None:
        assert self.next is not None
        while self._ends and self._ends[0] <= self.next:
            end = self._ends.pop(0)
            if end >= self.floor:
                self._settle(end)
                self._unsettled = 0
                self.floor = end
                self._end_run()
                self.talking = False
                self._ended = True

    def _miss(self, places: int) -> None:
        self._statistics.missing += places
        self._unsettled += places

    def _settle(self, end: int) -> None:
        """Of the places that were passed since the last frame played, only those before ``end`` are missing."""
        keep = min(self._unsettled, max(end - self.floor, 0))
        self._statistics.missing -= self._unsettled - keep
        self._unsettled = keep

    def _may_shrink(self) -> bool:
        """Not more than one frame in a second is given up."""
        assert self.next is not None
        rested = (self._statistics.pulls - self._shrunk_at) * self._frame_s >= DEAD_S
        return rested and self._buffer.is_whole(self.next) and self._buffer.is_filled(self.next + 1)

    def _end_run(self) -> None:
        if self._run * self._frame_ms > SHORT_MS:
            self._statistics.long_runs += 1
        elif self._run:
            self._statistics.short_runs += 1
        self._run = 0
