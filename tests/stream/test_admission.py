"""Who may come: by what steps have really taken, and never more than are served in time. Time is made up."""

import asyncio
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from sottovoce.clients.bench_sessions import Crowd
from sottovoce.stream.admission import SPOKEN, Admission, StepTimes
from sottovoce.stream.engine import ECHO, KINDS, EchoEngine, Kind
from sottovoce.stream.errors import EngineBusy, NoSlot
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.server import warm_up
from support import tiny_talk
from support.timed import FakeClock, TimedEngine

FRAME_S = ECHO.frame_ms / 1000
RESERVE_MS = 1000 * FRAME_S + 10
"""What a player keeps (the page's, see README)."""


def admission(cost_s: Callable[[str, int], float], rows: int, kinds: tuple[str, ...] = KINDS) -> Admission:
    """That has seen every size of step."""
    found = Admission(FRAME_S)
    for kind in kinds:
        for size in (1 << i for i in range(rows.bit_length() + 1)):
            found.times.add(kind, size, cost_s(kind, size))  # type: ignore[arg-type]
    return found


def loopbacks(n: int) -> dict[Kind, int]:
    return dict.fromkeys(KINDS, n)


def most(found: Admission, limit: int, kinds: tuple[Kind, ...] = KINDS) -> int:
    return next((n - 1 for n in range(1, limit + 2) if not found.fits(dict.fromkeys(kinds, n))), limit)


def test_times_are_those_of_the_steps_between_and_beyond_them() -> None:
    times = StepTimes()
    assert times.seconds("mel", 5) == 0
    times.add("mel", 1, 0.010)
    assert times.seconds("mel", 1) == 0.010
    assert times.seconds("mel", 4) == 0.040  # nothing else is known
    times.add("mel", 4, 0.016)
    assert times.seconds("mel", 3) == pytest.approx(0.014)
    assert times.seconds("mel", 8) == pytest.approx(0.024)
    times.add("mel", 3, 0.012)  # of the same kind as four, but three it was
    assert times.seconds("mel", 3) == 0.012
    assert times.seconds("mel", 4) == pytest.approx(0.013)
    for _ in range(100):
        times.add("mel", 4, 0.002)
    assert times.seconds("mel", 4) == 0.002  # what was long ago is forgotten
    assert times.seconds("mel", 8) == 0.002  # never less than what is known
    times.add("mel", 4, 1.0)
    assert times.seconds("mel", 4) == 0.002  # one stall is no rule


@pytest.mark.parametrize(
    ("step_ms", "piece_ms"), [(0.0, 0.4), (0.3, 0.3), (1.0, 0.2), (4.0, 0.05), (0.05, 1.0)], ids=str
)
def test_who_is_let_in_is_served_in_time_and_few_others_would_be(step_ms: float, piece_ms: float) -> None:
    """Against a simulation: all that are admitted hear every frame within a player's reserve; not so many that need all of
    the engine's time and some more."""

    def cost_s(kind: str, n: int) -> float:
        return (step_ms + piece_ms * n) / 1000

    limit = 60
    found = admission(cost_s, 2 * limit)
    n = most(found, limit)
    assert 4 <= n < limit
    assert _worst_ms(cost_s, n) <= RESERVE_MS
    more = next(more for more in range(n, 4 * limit) if found.busy(loopbacks(more)) > 1.15)
    assert _worst_ms(cost_s, more) > RESERVE_MS


def _worst_ms(cost_s: Callable[[str, int], float], n: int) -> float:
    clock = FakeClock()
    crowd = Crowd(TimedEngine(EchoEngine(n), clock, cost_s), "loopback", clock, clock.sleep)
    *_, players = crowd._play(crowd._begins(n), 1.5)
    return max(player.worst_underrun_ms(clock()) for player in players)


def test_speakers_who_are_let_in_never_wait_for_their_second_frame() -> None:
    """The first frame is played at once: what is admitted has the second ready before it has ended, or within the reserve."""

    def cost_s(kind: str, n: int) -> float:
        return 0.0005 if kind == "read" else 0.002 + 0.0015 * n

    found = admission(cost_s, 8, (*KINDS, "talk"))
    n = min(most(found, 8, SPOKEN), 5)
    assert n >= 2
    clock = FakeClock()
    crowd = Crowd(TimedEngine(tiny_talk.engine(n), clock, cost_s), "speak", clock, clock.sleep)
    *_, players = crowd._play(crowd._begins(n), 1.0)
    assert max(player.worst_underrun_ms(clock()) for player in players) <= RESERVE_MS
    assert min(player.n_frames for player in players) > 10


def test_each_session_counts_with_what_it_needs() -> None:
    """Steps of 1 ms for any rows, but 10 ms of the talker for each."""
    found = admission(lambda kind, n: 0.001, 4)
    found.times.add("talk", 1, 0.010)
    assert found.busy(loopbacks(4)) == pytest.approx(0.004 / FRAME_S)
    assert found.busy(dict.fromkeys(SPOKEN, 1)) == pytest.approx(0.012 / FRAME_S)
    both: dict[Kind, int] = {"mel": 2, "encode": 2, "decode": 3, "vocode": 3, "talk": 1}
    assert found.busy(both) == pytest.approx(0.014 / FRAME_S)


def test_the_size_of_batch_that_is_best_counts() -> None:
    """Eight in one batch take twice as long as twice four."""
    found = Admission(FRAME_S)
    for kind in KINDS:
        for size, seconds in ((1, 0.001), (4, 0.001), (8, 0.004)):
            found.times.add(kind, size, seconds)
    assert found.busy(loopbacks(8)) == pytest.approx(2 * 0.004 / FRAME_S)


def test_one_is_always_let_in() -> None:
    found = admission(lambda kind, n: 1.0, 4)
    assert found.fits(loopbacks(1))
    assert not found.fits(loopbacks(2))
    assert Admission(FRAME_S).fits(loopbacks(1000))  # nothing is known


def test_a_loop_refuses_whom_it_could_not_serve_and_takes_them_later() -> None:
    """Steps of 7 ms a piece: two loopbacks fill a frame of 32 ms. Once they take 1 ms, all rows can be had."""
    clock, cost_ms = FakeClock(), itertools.chain(itertools.repeat(7.0))
    engine = TimedEngine(EchoEngine(4), clock, lambda kind, n: next(cost_ms) * n / 1000)

    async def main() -> None:
        nonlocal cost_ms
        async with EngineLoop(engine, clock, Admission(FRAME_S)) as loop:
            await warm_up(loop)
            assert loop.rows_taken == 0
            first = loop.open()
            with pytest.raises(
                EngineBusy, match="busy with 1 sessions: with one more, sound would come too late"
            ) as told:
                loop.open()
            assert isinstance(told.value, NoSlot)
            assert told.value.exit_code == 7
            cost_ms = itertools.chain(itertools.repeat(0.2))
            for _ in range(200):
                for kind in KINDS:
                    await first.step(kind, _silence(kind), 0.0)
            others = [loop.open() for _ in range(3)]
            with pytest.raises(NoSlot, match="all 4 rows"):
                loop.open()
            for session in (first, *others):
                session.close()

    asyncio.run(main())


def _silence(kind: str) -> np.ndarray:
    if kind == "decode":
        return np.zeros((1, ECHO.books), np.int16)
    if kind == "mel":
        return np.zeros(ECHO.frame_samples, np.float32)
    return np.zeros((ECHO.mels_per_frame, ECHO.n_mels), np.float32)


def test_warming_up_steps_every_size_of_batch() -> None:
    clock = FakeClock()
    engine = TimedEngine(EchoEngine(5), clock, lambda kind, n: 0.0001)

    async def main() -> None:
        async with EngineLoop(engine, clock, Admission(FRAME_S)) as loop:
            await warm_up(loop)

    asyncio.run(main())
    assert {(kind, n) for kind, n in engine.steps} == {(kind, n) for kind in KINDS for n in (1, 2, 4, 5)}


@pytest.mark.parametrize("sizes", [(5,), (5, 6, 7, 8), (3, 4, 5, 6), (9,)])
def test_batches_of_any_size_are_taken_for_what_they_are(sizes: tuple[int, ...]) -> None:
    def step_s(rows: int) -> float:
        return 0.000_05 + 0.001 * rows

    found = Admission(FRAME_S)
    for i in range(64):
        for kind in KINDS:
            found.times.add(kind, 1, step_s(1))
            found.times.add(kind, sizes[i % len(sizes)], step_s(sizes[i % len(sizes)]))
    admitted = next(n for n in range(1, 100) if not found.fits(loopbacks(n + 1)))
    assert 4 * step_s(admitted) <= FRAME_S
