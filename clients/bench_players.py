"""Players for a bench: streams whose frames are due on clocks of their own, and who give an engine its next piece.

`Echoing` is a microphone that brings a frame every frame's length and hears it back; `Speaking` has a text spoken, as far ahead
of its playing as a server would make it and as many frames at once. Sans I/O: the time comes in, pieces of work go out, answers
come in.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sottovoce.stream.admission import HEARD
from sottovoce.stream.continuity import Playout
from sottovoce.stream.engine import KINDS, Kind, Work
from sottovoce.stream.frames import Pcm
from sottovoce.stream.lead import Lead
from sottovoce.stream.ramp import MOST, Pace, Ramp
from sottovoce.stream.speech import LEAD_MS
from sottovoce.stream.talk_work import Manner, Moment, Reading, Score

from .bench_steps import CLAUSE


@dataclass(slots=True)
class Player(ABC):
    """One stream in a row of an engine: at most one piece of it is under way."""

    row: int
    begins_s: float
    frame_s: float
    ends_s: float = math.inf
    playout: Playout = field(default_factory=Playout)
    n_frames: int = 0
    "That are ready."
    due_s: float = 0.0
    "Of the piece that waits."

    def worst_underrun_ms(self, now_s: float) -> float:
        """Until now, with the frame that should be there and is not."""
        if self.n_frames == 0:
            return max(1000 * (now_s - self.begins_s - self.frame_s), 0.0)
        self.playout.add(now_s, self.n_frames * self.frame_s)
        return self.playout.worst_underrun_ms

    @abstractmethod
    def next_s(self) -> float:
        """When there is something to do, once nothing is under way."""

    @abstractmethod
    def begin(self, now_s: float) -> Kind:
        """The next frame is to be made: its first kind of work; ``due_s`` is set."""

    def piece_frames(self, kind: Kind) -> int:
        """Of the piece of that kind that waits."""
        return 1

    @abstractmethod
    def work(self, kind: Kind) -> Work:
        """The piece of that kind."""

    @abstractmethod
    def answered(self, kind: Kind, answer: Any, now_s: float) -> Kind | None:
        """What follows; None: the frame is ready."""


@dataclass(slots=True)
class Echoing(Player):
    """Loopback of a live voice."""

    voice: Sequence[Pcm] = ()
    "Frames, again and again."
    data: Any = None

    def next_s(self) -> float:
        return self.begins_s + self.n_frames * self.frame_s

    def begin(self, now_s: float) -> Kind:
        self.data = self.voice[self.n_frames % len(self.voice)]
        self.due_s = self.next_s() + self.frame_s
        return "mel"

    def work(self, kind: Kind) -> Work:
        return Work(self.row, kind, self.data, self.due_s, self.n_frames == 0)

    def answered(self, kind: Kind, answer: Any, now_s: float) -> Kind | None:
        self.data = answer
        place = KINDS.index(kind) + 1
        if place < len(KINDS):
            return KINDS[place]
        self.playout.add(now_s, self.n_frames * self.frame_s)
        self.n_frames += 1
        return None


@dataclass(slots=True)
class Speaking(Player):
    """A clause spoken, again and again, with a lead."""

    pace: Pace = field(kw_only=True)
    lead: Lead = field(init=False)
    ramp: Ramp = field(init=False)
    score: Score | None = None
    at: int = 0
    "The frame of the score."
    chunk: int = 1
    "Frames to be made together."
    codes: list[Any] = field(default_factory=list)
    "Of those that are written."
    data: Any = None

    def __post_init__(self) -> None:
        self.lead = Lead(self.frame_s, LEAD_MS / 1000)
        self.ramp = Ramp(self.lead, self.pace)

    def next_s(self) -> float:
        played_s = self.lead.played_s
        return self.begins_s if played_s is None else played_s + self.chunk * self.frame_s - LEAD_MS / 1000

    def begin(self, now_s: float) -> Kind:
        self.due_s = self.lead.due_s(now_s)
        self.chunk = self.ramp.n_frames(now_s, self.chunk)
        if self.score is not None and self.at < self.score.n_frames:
            return "talk"
        self.at = 0
        return "read"

    def piece_frames(self, kind: Kind) -> int:
        return self.chunk if kind in HEARD else 1

    def work(self, kind: Kind) -> Work:
        data = self.data
        if kind == "read":
            data = Reading(CLAUSE, Manner(seed=self.row))
        elif kind == "talk":
            assert self.score is not None
            data = Moment(self.score, self.at + len(self.codes))
        return Work(self.row, kind, data, self.due_s, kind != "read" and self.n_frames == 0)

    def answered(self, kind: Kind, answer: Any, now_s: float) -> Kind | None:
        if kind == "read":
            self.score = answer
            return "talk"
        if kind == "talk":
            self.codes.append(answer)
            if len(self.codes) < self.chunk:
                return "talk"
            self.data = np.concatenate(self.codes)
            self.codes.clear()
            return "decode"
        if kind == "decode":
            self.data = answer
            return "vocode"
        for _ in range(self.chunk):
            self.playout.add(now_s, self.n_frames * self.frame_s)
            self.lead.wrote(now_s)
            self.n_frames += 1
            self.at += 1
        assert self.score is not None
        self.chunk = self.ramp.n_frames(now_s, (self.score.n_frames - self.at) or MOST)
        return None


def voices(frame_samples: int, n_frames: int, count: int) -> list[list[Pcm]]:
    """``count`` made-up sounds in frames."""
    chance = np.random.default_rng(0)
    return [list(0.1 * chance.standard_normal((n_frames, frame_samples), np.float32)) for _ in range(count)]
