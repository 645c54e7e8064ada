"""What goes to and fro between the stage `talk` and the engine that does its work. Plain values, no models.

========  ==============================  =======================================
kind      in                              out
========  ==============================  =======================================
read      `Reading`, phonemes             `Score`, with the time of every symbol
talk      `Moment`, a frame of a score    codes int16 [1, books]
========  ==============================  =======================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

SLOWEST, FASTEST = 0.25, 4.0
HOTTEST = 2.0
MOST_SEED = (1 << 63) - 1
TAIL_S = 0.5
"""How long the last symbol of a score can be made to go on."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a text is spoken. Raises UsageError: out of range."""

    voice: int = 0
    "Number of the voice."
    speed: float = 1.0
    "Times the pace."
    temperature: float = 0.8
    "0: always the likeliest code."
    top_k: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if not SLOWEST <= self.speed <= FASTEST:
            raise UsageError(f"a speed is a number from {SLOWEST:g} to {FASTEST:g}, not {self.speed:g}")
        if not 0 <= self.temperature <= HOTTEST:
            raise UsageError(f"a temperature is a number from 0 to {HOTTEST:g}, not {self.temperature:g}")
        if self.top_k < 1:
            raise UsageError(f"top-k is a whole number from 1, not {self.top_k}")
        if not 0 <= self.seed <= MOST_SEED:
            raise UsageError(f"a seed is a whole number from 0 below 2**63, not {self.seed}")


@dataclass(frozen=True, slots=True)
class Reading:
    """A clause to be read."""

    phonemes: str
    "In the talker's alphabet, without the pauses at both ends."
    manner: Manner
    least_pause_s: float = 0.0
    "Of the silence after it, at any speed."


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A clause whose times are settled. P symbols, T frames of S slots each and some more for a tail.

    A slot is the unit of durations, one mel frame.
    """

    manner: Manner
    n_frames: int
    ends: NDArray[np.int64]
    "[P], the slot at which each symbol has ended; the first and the last symbol are pauses."
    slot_s: float
    first_slot_s: float
    "When slot 0 begins to be heard, from the beginning of its frame in the sound that comes out of the codec."
    encodings: NDArray[np.float32]
    "[P, D]."
    spoken: NDArray[np.int64]
    "[T, S], the symbol of each slot."
    progress: NDArray[np.float32]
    "[T, S, 2]."

    def begins_s(self, symbol: int) -> float:
        """When a symbol begins, from the beginning of the clause's first frame in the sound; never before that."""
        slot = int(self.ends[symbol - 1]) if symbol else 0
        return max(self.first_slot_s + slot * self.slot_s, 0.0)

    def condition(self, frame: int) -> NDArray[np.float32]:
        """What a frame is told, [S, D + 2]."""
        return np.concatenate([self.encodings[self.spoken[frame]], self.progress[frame]], -1)

    def frames_short_of(self, pause_s: float) -> int:
        """How many frames more the last pause must go on to last ``pause_s``, at most `TAIL_S`."""
        slots_per_frame: int = self.spoken.shape[1]
        last = int(self.ends[-1] - self.ends[-2]) * self.slot_s
        missing = math.ceil((pause_s - last) / (slots_per_frame * self.slot_s) - 1e-9)
        return min(max(missing, 0), len(self.spoken) - self.n_frames)


@dataclass(frozen=True, slots=True)
class Moment:
    """The next frame of a row."""

    score: Score
    frame: int


@dataclass(frozen=True, slots=True)
class Voice:
    """Who can speak; its place in the list is its number."""

    name: str
    sex: str
    language: str
    licence: str


def voice_number(voices: tuple[Voice, ...], name: str | None) -> int:
    """The number of the voice ``name``; None is the first one. Raises UsageError: there is none of that name."""
    names = [voice.name for voice in voices]
    if name is None:
        return 0
    if name not in names:
        raise UsageError(f"there is no voice {name!r}; choose one of {', '.join(names)}")
    return names.index(name)
