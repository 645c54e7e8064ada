"""How many sessions an engine carries: as many as have sound in time, in 99 of 100 streams never more than 100 ms late.

The engine is driven directly, as its loop drives it: the piece that is due first, and with it every other of its kind and
length. Who listens is simulated (``bench_players.py``), time is not. Phases are staggered, as those of strangers are.
"""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sottovoce.stream.admission import CHUNKS, HEARD, SPOKEN
from sottovoce.stream.clock import Clock, monotonic
from sottovoce.stream.continuity import share_within
from sottovoce.stream.engine import Engine, Kind, Work
from sottovoce.stream.ramp import ChunkTimes
from sottovoce.stream.step_times import StepTimes

from .bench_players import Echoing, Player, Speaking, voices
from .bench_steps import StageTimes, percentiles

Mode = Literal["loopback", "speak"]
MODES: tuple[Mode, ...] = ("loopback", "speak")
C100 = 0.99
"""The share of streams that must never be later than 100 ms."""
_VOICES, _VOICE_FRAMES = 8, 25
_BETWEEN_S = {"loopback": 0.001, "speak": 0.01}
"""How far apart sessions begin, besides their phases."""
_TRIAL_S = 5.0
"""Of a search; only what it finds is held for the whole time."""
_PRECISION = 0.05
_JOINING = 20
"""Sessions that begin when half of what the engine carries is there."""
_JOIN_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Played:
    """Some sessions at once, for some time."""

    n: int
    seconds: float
    c50: float
    c100: float
    busy: float
    "Share of the time that the engine worked."
    batch: float
    "Pieces of a step, on average."
    steps: dict[str, StageTimes]

    @property
    def good(self) -> bool:
        """Whether they were all served in time."""
        return self.c100 >= C100


@dataclass(frozen=True, slots=True)
class Sessions:
    """How many of a mode an engine carries."""

    mode: Mode
    most: Played | None
    "The most that were good for the whole time; None: not even one."
    limit: int
    "No more were tried."
    first_ms: dict[str, StageTimes]
    "At half of that: from a session's beginning to its first sound, by kind of work, and what was waiting."


class ProcessorTime:
    """A clock of this process' own processor time, which jumps where it would sleep: what a machine carries that does nothing
    else, measured on one that others share."""

    def __init__(self) -> None:
        self._slept_s = 0.0

    def __call__(self) -> float:
        return time.process_time() + self._slept_s

    def sleep(self, seconds: float) -> None:
        """Takes no time."""
        self._slept_s += seconds


class Crowd:
    """Sessions of one mode on one engine."""

    def __init__(
        self, engine: Engine, mode: Mode, clock: Clock = monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._engine, self._mode, self._clock, self._sleep = engine, mode, clock, sleep
        self._frame_s = engine.descriptor.frame_ms / 1000
        self._voices = voices(engine.descriptor.frame_samples, _VOICE_FRAMES, _VOICES)
        self._begun: dict[int, dict[str, float]] = {}  # by row: the parts of the way to the first sound
        self._times, self._tried = StepTimes(), 0
        self._chunks = self._chunk_times(0)

    def sessions(self, limit: int, seconds: float) -> Sessions:
        """The most, ``limit`` at most, that are good for ``seconds``; found by doubling and halving in short trials."""
        good, bad = 0, limit + 1
        while good < limit and bad > limit:
            n = min(max(2 * good, 1), limit)
            good, bad = (n, bad) if self.play(n, min(_TRIAL_S, seconds)).good else (good, n)
        while bad - good > max(1, _PRECISION * good) and bad <= limit:
            n = (good + bad) // 2
            good, bad = (n, bad) if self.play(n, min(_TRIAL_S, seconds)).good else (good, n)
        most = None
        while good and most is None:
            played = self.play(good, seconds)
            if played.good:
                most = played
            else:
                good = min(good - 1, int(good * (1 - _PRECISION)))
        return Sessions(self._mode, most, limit, self.first_ms(good) if good else {})

    def play(self, n: int, seconds: float) -> Played:
        """``n`` sessions until all have been there for ``seconds``."""
        steps, sizes, busy_s, took_s, players = self._play(self._begins(n), seconds)
        now_s = self._clock()
        worst = [player.worst_underrun_ms(now_s) for player in players]
        return Played(
            n, seconds, share_within(worst, 50.0), share_within(worst, 100.0), busy_s / took_s,
            sum(sizes) / max(len(sizes), 1), {kind: percentiles(times) for kind, times in steps.items()},
        )  # fmt: skip

    def first_ms(self, n: int) -> dict[str, StageTimes]:
        """Of sessions that join one by one, and leave, while half of ``n`` are there."""
        some = self._begins(n // 2)
        joining = min(_JOINING, self._engine.rows - len(some))
        after_s = max(some, default=0.0) + 1.0
        chance = np.random.default_rng(1)
        joins = [after_s + (i + float(chance.random())) * _JOIN_EVERY_S for i in range(joining)]
        *_, players = self._play([*some, *joins], 1.0, staying=len(some))
        parts: dict[str, list[float]] = defaultdict(list)
        for player in players[len(some) :]:
            for part, spent_s in self._begun[player.row].items():
                parts[part].append(spent_s)
        return {part: percentiles(spent) for part, spent in parts.items()}

    def _try(self, rows: Sequence[int]) -> None:
        """Steps of all sizes up to these rows, as a server takes them before anybody comes."""
        while self._mode == "speak" and self._tried < len(rows):
            self._tried = min(max(2 * self._tried, 1), len(rows))
            for chunk in CHUNKS:
                data: list[Any] = [np.zeros((chunk, self._engine.descriptor.books), np.int16)] * self._tried
                for kind in HEARD:
                    began_s = self._clock()
                    data = self._engine.step([Work(row, kind, one, 0.0) for row, one in zip(rows, data, strict=False)])
                    self._times.add(kind, self._tried, self._clock() - began_s, chunk)

    def _chunk_times(self, n: int) -> ChunkTimes:
        return ChunkTimes(self._times, dict.fromkeys(SPOKEN, n), self._frame_s)

    def _begins(self, n: int) -> list[float]:
        """When each begins: one after the other, at random phases of a frame."""
        phases = np.random.default_rng(0).random(n) * self._frame_s
        return [i * _BETWEEN_S[self._mode] + float(phase) for i, phase in enumerate(phases)]

    def _play(
        self, begins: Sequence[float], seconds: float, staying: int | None = None
    ) -> tuple[dict[Kind, list[float]], list[int], float, float, list[Player]]:
        rows = [self._engine.open() for _ in begins]
        self._chunks = self._chunk_times(len(rows))
        self._try(rows)
        origin_s = self._clock()
        players = [self._player(row, origin_s + at, i) for i, (row, at) in enumerate(zip(rows, begins, strict=True))]
        for player in players[len(players) if staying is None else staying :]:
            player.ends_s = player.begins_s + _JOIN_EVERY_S
        self._begun = {player.row: {} for player in players}
        try:
            until_s = max(player.begins_s for player in players) + seconds
            steps: dict[Kind, list[float]] = defaultdict(list)
            sizes: list[int] = []
            for kind, size, spent_s in self._steps(players, until_s):
                steps[kind].append(spent_s)
                sizes.append(size)
            busy_s = sum(sum(times) for times in steps.values())
            return steps, sizes, busy_s, self._clock() - origin_s, players
        finally:
            for player in players:
                self._engine.close(player.row)

    def _player(self, row: int, begins_s: float, i: int) -> Player:
        if self._mode == "speak":
            return Speaking(row, begins_s, self._frame_s, pace=self._chunks)
        return Echoing(row, begins_s, self._frame_s, voice=self._voices[i % _VOICES])

    def _steps(self, players: Sequence[Player], until_s: float) -> Iterator[tuple[Kind, int, float]]:
        """Step what is due first, until ``until_s``: kind, size and seconds of each step."""
        asleep = [(player.next_s(), i) for i, player in enumerate(players)]  # whose next frame is not to be made yet
        heapq.heapify(asleep)
        ready: dict[tuple[Kind, int], list[int]] = {}
        due: dict[tuple[Kind, int], float] = {}

        def wait(i: int, kind: Kind) -> None:
            pieces = kind, players[i].piece_frames(kind)
            ready.setdefault(pieces, []).append(i)
            due[pieces] = min(due.get(pieces, players[i].due_s), players[i].due_s)

        while (now_s := self._clock()) < until_s:
            while asleep and asleep[0][0] <= now_s:
                i = heapq.heappop(asleep)[1]
                wait(i, players[i].begin(now_s))
            if not ready:
                self._sleep(min(asleep[0][0] if asleep else until_s, until_s) - now_s)
                continue
            pieces = min(due, key=due.__getitem__)
            batch, kind = ready.pop(pieces), pieces[0]
            del due[pieces]
            answers = self._engine.step([players[i].work(kind) for i in batch])
            then_s = self._clock()
            self._times.add(kind, len(batch), then_s - now_s, pieces[1])
            self._chunks.changed()
            for i, answer in zip(batch, answers, strict=True):
                player = players[i]
                first = player.n_frames == 0
                following = player.answered(kind, answer, then_s)
                if first:
                    self._note(player, kind, then_s - now_s, then_s if following is None else None)
                if following is not None:
                    wait(i, following)
                elif player.next_s() < player.ends_s:
                    heapq.heappush(asleep, (player.next_s(), i))
            yield kind, len(batch), then_s - now_s

    def _note(self, player: Player, kind: Kind, spent_s: float, ready_s: float | None) -> None:
        """Where the time to the first sound goes."""
        parts = self._begun[player.row]
        parts[kind] = spent_s
        if ready_s is not None:
            waited_s = ready_s - player.begins_s - sum(parts.values())
            parts["queue"] = waited_s
            parts["all"] = ready_s - player.begins_s
