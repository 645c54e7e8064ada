"""Who may come: by what steps have really taken, and never more than are served in time. Time is made up."""

import asyncio
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from sottovoce.clients.bench_sessions import Crowd
from sottovoce.models.config import TINY
from sottovoce.stream.admission import CHUNKS, HEARD, SPOKEN, Admission
from sottovoce.stream.engine import ECHO, KINDS, EchoEngine, Kind
from sottovoce.stream.errors import EngineBusy, NoSlot
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.server import warm_up
from sottovoce.stream.step_times import GONE, StepTimes
from support import tiny_talk
from support.priced import PricedEngine
from support.timed import FakeClock, TimedEngine

FRAME_S = ECHO.frame_ms / 1000
TALKING_FRAME_S = TINY.frame_samples / TINY.rate_hz
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


def test_rounds_are_as_near_as_leaves_the_engine_half_of_its_time() -> None:
    cheap = admission(lambda kind, rows: 1e-5, 16)
    assert cheap.pace_s(loopbacks(16)) == FRAME_S / 4
    dear = admission(lambda kind, rows: FRAME_S / 40 * (1 + rows / 8), 16)  # four kinds, so a tenth of a frame and more
    assert dear.pace_s({}) == FRAME_S / 4
    assert dear.pace_s(loopbacks(1)) == FRAME_S / 4
    assert dear.pace_s(loopbacks(10)) == FRAME_S / 3
    assert dear.pace_s(loopbacks(16)) == FRAME_S / 2
    hopeless = admission(lambda kind, rows: FRAME_S, 16)
    assert hopeless.pace_s(loopbacks(16)) == FRAME_S / 2


def test_a_loop_has_the_pace_of_the_sessions_it_has() -> None:
    found = admission(lambda kind, rows: FRAME_S / 40 * (1 + rows / 8), 16)

    async def main() -> None:
        clock = FakeClock()
        async with EngineLoop(EchoEngine(rows=16), clock, found) as loop:
            sessions = [loop.open() for _ in range(16)]
            assert loop.pace_s == FRAME_S / 2
            for session in sessions[1:]:
                session.close()
            assert loop.pace_s == FRAME_S / 2  # for a second
            clock.now_s += 1
            assert loop.pace_s == FRAME_S / 4

    asyncio.run(main())


def test_a_slow_spell_is_not_held_against_a_kind_that_has_gone_since() -> None:
    found, talking = Admission(FRAME_S), {**loopbacks(3), "talk": 1}
    for kind in (*KINDS, "talk"):
        for _ in range(40):
            found.times.add(kind, 1, FRAME_S / 40)  # type: ignore[arg-type]
    assert found.fits(talking)  # type: ignore[arg-type]
    for _ in range(32):
        found.times.add("talk", 1, FRAME_S)
    assert not found.fits(talking)  # type: ignore[arg-type]
    for _ in range(GONE):
        for kind in KINDS:
            found.times.add(kind, 1, FRAME_S / 40)
    assert found.fits(talking)  # type: ignore[arg-type]
    for _ in range(GONE):
        for kind in KINDS:
            found.times.add(kind, 1, FRAME_S / 4)  # the whole machine is slower now
    assert not found.fits(talking)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    ("talk_ms", "step_ms", "row_ms", "frame_ms"),
    [(0.2, 0.5, 0.1, 0.4), (0.5, 4.0, 0.0, 0.2), (0.3, 1.0, 1.0, 0.05), (1.0, 0.2, 0.1, 2.0)],
)
def test_speakers_in_chunks_who_are_let_in_hear_every_frame_in_time(
    talk_ms: float, step_ms: float, row_ms: float, frame_ms: float
) -> None:
    """And are not fewer than if each frame were made sound by itself."""

    def price_s(kind: str, rows: int, n_frames: int) -> float:
        some_ms = {"read": 0.5, "talk": step_ms / 4 + talk_ms * rows}
        return some_ms.get(kind, (step_ms + (row_ms + frame_ms * n_frames) * rows) / 2) / 1000

    limit, frame_s = 24, TALKING_FRAME_S
    known: dict[bool, Admission] = {}
    for chunks in (True, False):
        found = known[chunks] = Admission(frame_s)
        for kind in SPOKEN:
            for size in (1 << i for i in range(6)):
                for n_frames in CHUNKS if chunks and kind in HEARD else (1,):
                    found.times.add(kind, size, price_s(kind, size, n_frames), n_frames)
    n, fewer = (most(known[chunks], limit, SPOKEN) for chunks in (True, False))
    assert 2 <= fewer <= n
    clock = FakeClock()
    engine = PricedEngine(tiny_talk.engine(n), clock.sleep, price_s)
    crowd = Crowd(engine, "speak", clock, clock.sleep)
    *_, players = crowd._play(crowd._begins(n), 1.5)
    assert max(player.worst_underrun_ms(clock()) for player in players) <= 1000 * frame_s + 10
    assert min(player.n_frames for player in players) > 30
    assert known[True].chunk(dict.fromkeys(SPOKEN, n)) in engine.chunks()


def test_chunks_are_as_long_as_a_round_of_all_sessions_leaves_room_for() -> None:
    found = Admission(0.04)
    for kind, ms in (("mel", 1.0), ("encode", 1.0), ("talk", 2.0), ("decode", 3.0), ("vocode", 3.0)):
        for size in (1, 2, 4, 8):
            for n_frames in CHUNKS if kind in HEARD else (1,):
                found.times.add(kind, size, ms * size * n_frames / 1000, n_frames)  # type: ignore[arg-type]
    assert found.chunk(dict.fromkeys(SPOKEN, 1)) == 4  # 2 + 24 ms of 32
    assert found.chunk(dict.fromkeys(SPOKEN, 2)) == 2
    assert found.chunk(dict.fromkeys(SPOKEN, 4)) == 1
    assert found.chunk(loopbacks(1)) == 4  # nothing of theirs goes in chunks
    beside: dict[Kind, int] = {"mel": 1, "encode": 1, "decode": 2, "vocode": 2, "talk": 1}
    assert found.chunk(beside) == 2  # 2 for one frame of the loopback, 2 of the talker, 6 + 12 ms


def test_each_session_counts_with_what_it_needs() -> None:
    """Steps of 1 ms for any rows, but 10 ms of the talker for each."""
    found = admission(lambda kind, n: 0.001, 4)
    found.times.add("talk", 1, 0.010)
    assert found.busy(loopbacks(4)) == pytest.approx(0.004 / FRAME_S)
    assert found.busy(dict.fromkeys(SPOKEN, 1)) == pytest.approx(0.012 / FRAME_S)
    both: dict[Kind, int] = {"mel": 2, "encode": 2, "decode": 3, "vocode": 3, "talk": 1}
    assert found.busy(both) == pytest.approx(0.016 / FRAME_S)  # what is spoken goes in batches of its own


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


def test_warming_up_one_that_talks_steps_every_chunk_of_every_size_of_batch() -> None:
    clock = FakeClock()
    engine = PricedEngine(tiny_talk.engine(3), clock.sleep, lambda kind, rows, n_frames: 0.0001)

    async def main() -> None:
        async with EngineLoop(engine, clock, Admission(FRAME_S)) as loop:
            await warm_up(loop, talks=True)

    asyncio.run(main())
    assert {step for step in engine.steps if step[0] == "vocode"} == {
        ("vocode", rows, n_frames) for rows in (1, 2, 3) for n_frames in CHUNKS
    }


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
