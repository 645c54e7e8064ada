"""What a bench measures: steps of an engine, one stage after the other, for a number of streams in one batch."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sottovoce.stream.engine import KINDS, Engine, Kind, Work
from sottovoce.stream.talk_work import Manner, Moment, Reading, Score

CLAUSE = "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ðə lˈAzi dˈɔɡ, ænd ðə dˈɔɡ slˈips ˈɔn."
TRACED_STEPS = 10


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Percentiles of one stage's steps, in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Some streams in one batch. One step is one code frame of every stream, or several."""

    rows: int
    stages: dict[str, StageTimes]
    "``all`` is the others after each other."
    rtf: float
    "Time that the steps took over the length of the sound, of one stream."
    core_percent: float
    "Processor time, of all threads, over the length of the sound, of one stream."
    first_ms: float
    "The very first step."
    allocated_bytes: int
    "At most at once in a step, by Python and numpy, answers included."
    kept_bytes: float
    "Of these, what a step leaves behind."
    frames: int = 1
    "Code frames of a stream in a step."


class Chain(Protocol):
    """What is stepped."""

    kinds: Sequence[Kind]
    frames: int
    "Code frames in a step."

    def step(self, kind: Kind, data: Sequence[Any]) -> Sequence[Any]:
        """One kind of work for all rows, on what the kind before it gave."""
        ...

    def next(self) -> Sequence[Any]:
        """For the first kind."""
        ...

    def close(self) -> None:
        """Give the rows back."""
        ...


class Codec:
    """Samples to samples, on seeded noise. Raises NoSlot: the engine has fewer rows."""

    kinds: Sequence[Kind] = KINDS
    frames = 1

    def __init__(self, engine: Engine, rows: int) -> None:
        self._engine, self._rows = engine, [engine.open() for _ in range(rows)]
        self._chance = np.random.default_rng(0)

    def next(self) -> Sequence[Any]:
        shape = len(self._rows), self._engine.descriptor.frame_samples
        return list(0.1 * self._chance.standard_normal(shape, np.float32))

    def step(self, kind: Kind, data: Sequence[Any]) -> Sequence[Any]:
        return self._engine.step([Work(row, kind, one, 0.0) for row, one in zip(self._rows, data, strict=True)])

    def close(self) -> None:
        for row in self._rows:
            self._engine.close(row)


class Pieces(Codec):
    """Codes to samples, several frames in a step: what a server does that is ahead of the playing, or a file."""

    kinds: Sequence[Kind] = ("decode", "vocode")

    def __init__(self, engine: Engine, rows: int, frames: int) -> None:
        super().__init__(engine, rows)
        self.frames = frames

    def next(self) -> Sequence[Any]:
        shape = self._engine.descriptor
        size = len(self._rows), self.frames, shape.books
        return list(self._chance.integers(0, shape.book_size, size, np.int16))


class Speech(Codec):
    """A clause to samples, again and again."""

    kinds: Sequence[Kind] = ("talk", "decode", "vocode")

    def __init__(self, engine: Engine, rows: int) -> None:
        super().__init__(engine, rows)
        self._scores = [self._read(row, Manner(seed=row)) for row in self._rows]
        self._frame = 0

    def _read(self, row: int, manner: Manner) -> Score:
        score: Any = self._engine.step([Work(row, "read", Reading(CLAUSE, manner), 0.0)])[0]
        assert isinstance(score, Score)
        return score

    def read_ms(self, n: int) -> float:
        """The middle one of ``n`` readings of the clause, which is done once before its first frame."""
        taken = []
        for seed in range(n):
            began_s = time.perf_counter()
            self._read(self._rows[0], Manner(seed=seed))
            taken.append(time.perf_counter() - began_s)
        return 1000 * float(np.median(taken))

    def next(self) -> Sequence[Any]:
        moments = [Moment(score, self._frame % score.n_frames) for score in self._scores]
        self._frame += 1
        return moments


def measure(chain: Chain, rows: int, frame_ms: float, n_steps: int, warm_up: int) -> Measured:
    """Step ``chain`` as fast as it goes: once, ``warm_up`` times, and ``n_steps`` times that count."""
    first_ms = 1000 * sum(_step(chain)[0])
    for _ in range(warm_up):
        _step(chain)
    steps = [_step(chain) for _ in range(n_steps)]
    allocated, kept = _traced(lambda: _step(chain))
    by_kind = np.array([taken for taken, _ in steps])
    whole = by_kind.sum(1)
    sound_s = n_steps * rows * chain.frames * frame_ms / 1000
    return Measured(
        rows=rows,
        stages={
            **{kind: percentiles(by_kind[:, i]) for i, kind in enumerate(chain.kinds)},
            "all": percentiles(whole),
        },
        rtf=float(whole.sum()) / sound_s,
        core_percent=100 * sum(cpu_s for _, cpu_s in steps) / sound_s,
        first_ms=first_ms,
        allocated_bytes=allocated,
        kept_bytes=kept,
        frames=chain.frames,
    )


def percentiles(seconds: Sequence[float] | NDArray[np.float64]) -> StageTimes:
    """Of how long steps took."""
    p50, p95, p99 = (1000 * float(value) for value in np.percentile(seconds, (50, 95, 99)))
    return StageTimes(p50, p95, p99)


def _step(chain: Chain) -> tuple[list[float], float]:
    """Seconds of each kind, and of the processor for all."""
    data, taken_s = chain.next(), []
    cpu_began_s = time.process_time()
    for kind in chain.kinds:
        began_s = time.perf_counter()
        data = chain.step(kind, data)
        taken_s.append(time.perf_counter() - began_s)
    return taken_s, time.process_time() - cpu_began_s


def _traced(step: Callable[[], Any]) -> tuple[int, float]:
    """Bytes allocated at once at most in a step, and left behind by one on average."""
    tracemalloc.start()
    try:
        step()
        before, most = tracemalloc.get_traced_memory()[0], 0
        for _ in range(TRACED_STEPS):
            now = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            step()
            most = max(most, tracemalloc.get_traced_memory()[1] - now)
        return most, (tracemalloc.get_traced_memory()[0] - before) / TRACED_STEPS
    finally:
        tracemalloc.stop()
