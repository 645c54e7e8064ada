"""The engine's thread: batches, order, errors, closing while it works. Threads are real, no sleeps."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sottovoce.stream.admission import SPOKEN
from sottovoce.stream.engine import ECHO, EchoEngine, Work
from sottovoce.stream.errors import EngineStopped, NoSlot
from sottovoce.stream.loop import EngineLoop, Session

PCM = np.zeros(ECHO.frame_samples, np.float32)
MEL = np.zeros((ECHO.mels_per_frame, ECHO.n_mels), np.float32)


class GatedEngine(EchoEngine):
    """Works only when the test lets it, and remembers what it did."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.began = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.did: list[list[tuple[int, str]]] = []
        self.closed: list[int] = []
        self.error: Exception | None = None
        self.inside = 0

    def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
        self.inside += 1
        assert self.inside == 1, "an engine is not thread-safe"
        self.did.append([(piece.row, piece.kind) for piece in work])
        self.began.release()
        assert self.gate.acquire(timeout=30)
        self.inside -= 1
        if self.error:
            raise self.error
        return super().step(work)

    def close(self, row: int) -> None:
        assert self.inside == 0
        self.closed.append(row)
        super().close(row)

    async def working(self) -> None:
        """Until a step has begun."""
        assert await asyncio.to_thread(self.began.acquire, timeout=30)


def ask(session: Session, kind: str = "mel", due_s: float = 0.0) -> asyncio.Task[NDArray[Any]]:
    return asyncio.create_task(session.step(kind, PCM if kind == "mel" else MEL, due_s))  # type: ignore[arg-type]


async def settled() -> None:
    """Until tasks just made have handed in their work."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_what_waits_is_batched_by_kind_and_served_by_slack() -> None:
    async def main() -> None:
        engine = GatedEngine(3)
        async with EngineLoop(engine) as loop:
            a, b, c = (loop.open() for _ in range(3))
            first = ask(a)
            await engine.working()
            later = [ask(b, "mel", 5.0), ask(c, "vocode", 1.0), ask(a, "mel", 9.0), ask(b, "vocode", 7.0)]
            await settled()
            assert loop.waiting == 5
            for _ in range(3):
                engine.gate.release()
            await asyncio.gather(first, *later)
        rows = {session: row for row, session in enumerate((a, c, b))}  # taken at the first step
        assert engine.did[0] == [(rows[a], "mel")]
        assert engine.did[1] == [(rows[c], "vocode"), (rows[b], "vocode")]  # the most urgent decides the kind
        assert engine.did[2] == [(rows[b], "mel"), (rows[a], "mel")]  # its like come along, by slack

    asyncio.run(main())


def test_pieces_of_other_lengths_are_other_batches() -> None:
    async def main() -> None:
        engine = GatedEngine(4)
        async with EngineLoop(engine) as loop:
            sessions = [loop.open() for _ in range(4)]
            first = ask(sessions[0])
            await engine.working()
            lengths, dues_s = (4, 1, 4, 1), (3.0, 1.0, 2.0, 4.0)
            later = [
                asyncio.create_task(session.step("vocode", np.tile(MEL, (n, 1)), due_s))
                for session, n, due_s in zip(sessions, lengths, dues_s, strict=True)
            ]
            await settled()
            for _ in range(3):
                engine.gate.release()
            answers = await asyncio.gather(first, *later)
            assert [len(answer) // ECHO.frame_samples for answer in answers[1:]] == [4, 1, 4, 1]
            times = loop.times
            assert times.knows("vocode")
            assert times.seconds("vocode", 2, 4) == loop.step_latency["vocode"].total_s - times.seconds("vocode", 2)
        assert [len(batch) for batch in engine.did] == [1, 2, 2]
        assert [kind for _, kind in engine.did[1]] == ["vocode"] * 2

    asyncio.run(main())


def test_a_session_knows_what_a_chunk_takes_beside_all_that_are_there() -> None:
    async def main() -> None:
        async with EngineLoop(EchoEngine(4)) as loop:
            a = loop.open()
            assert a.chunks.chunk_s(1) == np.inf  # nothing is known
            for kind, ms in (("talk", 2), ("decode", 3), ("vocode", 4), ("mel", 1)):
                for rows in (1, 2, 4):
                    loop.times.add(kind, rows, ms * rows / 1000)  # type: ignore[arg-type]
            loop.times.add("vocode", 1, 0.006, 2)
            a.chunks.changed()
            assert a.chunks.chunk_s(1) == pytest.approx(
                0.001 + 2 * (0.002 + 0.007)
            )  # a round first; it speaks, whatever it came for
            with loop.open(SPOKEN):
                assert a.chunks.chunk_s(1) == pytest.approx(0.001 + 2 * (0.002 + 2 * 0.007))
                assert a.chunks.chunk_s(2) < 2 * a.chunks.chunk_s(1)
                assert a.chunks.chunk_s(4) == np.inf  # a round of all would last too long
            loop.times.add("talk", 1, 0.1)
            with loop.open():
                assert a.chunks.chunk_s(1) > 0.1  # it is found anew

    asyncio.run(main())


def test_answers_are_those_of_the_engine() -> None:
    async def main() -> None:
        pcm = np.sin(np.arange(ECHO.frame_samples, dtype=np.float32) / 7).astype(np.float32)
        engine = EchoEngine()
        row = engine.open()
        expected = engine.step([Work(row, "mel", pcm, 0.0)])[0]
        async with EngineLoop(EchoEngine()) as loop:
            with loop.open() as session:
                assert np.array_equal(await session.step("mel", pcm, 0.0), expected)
                assert loop.step_latency["mel"].summary().n == 1

    asyncio.run(main())


def test_a_full_engine_refuses_at_once_and_a_closed_row_is_free_at_once() -> None:
    async def main() -> None:
        engine = GatedEngine(1)
        async with EngineLoop(engine) as loop:
            session = loop.open()
            with pytest.raises(NoSlot):
                loop.open()
            step = ask(session)
            await engine.working()
            session.close()
            session.close()
            with pytest.raises(EngineStopped, match="closed"):
                await step  # at once, though the engine is still at work
            with pytest.raises(EngineStopped, match="closed"):
                await session.step("mel", PCM, 0.0)
            other = loop.open()
            step = ask(other)
            engine.gate.release()
            await engine.working()
            engine.gate.release()
            await step
            assert engine.closed == [0]

    asyncio.run(main())


def test_a_session_that_never_stepped_closes_too() -> None:
    async def main() -> None:
        async with EngineLoop(EchoEngine(1)) as loop:
            for _ in range(5):
                loop.open().close()
            with loop.open() as session:
                await session.step("mel", PCM, 0.0)

    asyncio.run(main())


def test_a_cancelled_step_is_taken_back_if_it_has_not_begun() -> None:
    async def main() -> None:
        engine = GatedEngine(2)
        async with EngineLoop(engine) as loop:
            a, b = loop.open(), loop.open()
            begun = ask(a)
            await engine.working()
            waiting = ask(b)
            await settled()
            waiting.cancel()
            begun.cancel()
            await asyncio.gather(waiting, begun, return_exceptions=True)
            assert loop.waiting == 0
            after = ask(a)
            await settled()
            engine.gate.release(2)
            await after
        assert engine.did == [[(0, "mel")], [(0, "mel")]]  # b's never ran

    asyncio.run(main())


def test_two_steps_of_a_kind_in_one_session_are_a_mistake() -> None:
    async def main() -> None:
        engine = GatedEngine(2)
        async with EngineLoop(engine) as loop:
            a, b = loop.open(), loop.open()
            begun = ask(b)
            await engine.working()
            waiting = ask(a)
            await settled()
            with pytest.raises(RuntimeError, match="already waiting"):
                await a.step("mel", PCM, 0.0)
            engine.gate.release(2)
            await asyncio.gather(begun, waiting)

    asyncio.run(main())


def test_an_error_in_the_engine_reaches_everybody() -> None:
    async def main() -> None:
        engine = GatedEngine(2)
        async with EngineLoop(engine) as loop:
            a, b = loop.open(), loop.open()
            tasks = [ask(a)]
            await engine.working()
            tasks += [ask(b), ask(b, "vocode")]
            await settled()
            engine.error = ZeroDivisionError("boom")
            engine.gate.release()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            for end in ends:
                assert isinstance(end, EngineStopped)
                assert "ZeroDivisionError: boom" in str(end)
                assert end.__cause__ is engine.error
            assert len({id(end) for end in ends}) == 3
            with pytest.raises(EngineStopped, match="boom"):
                await a.step("mel", PCM, 0.0)
            with pytest.raises(EngineStopped, match="boom"):
                loop.open()
            a.close()

    asyncio.run(main())


def test_stopping_tells_who_waits() -> None:
    async def main() -> None:
        engine = GatedEngine(2)
        loop = EngineLoop(engine)
        async with loop:
            a, b = loop.open(), loop.open()
            begun = ask(a)
            await engine.working()
            waiting = ask(b)
            await settled()
            stopping = asyncio.create_task(loop.__aexit__(None, None, None))
            await settled()
            engine.gate.release()
            await stopping
            assert isinstance(await begun, np.ndarray)  # the batch in hand is finished
            with pytest.raises(EngineStopped, match="stopped"):
                await waiting
        with pytest.raises(EngineStopped, match="not running"):
            loop.open()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("mel", PCM[:-1]),
        ("mel", PCM[:0]),
        ("mel", PCM.astype(np.float64)),
        ("mel", np.full_like(PCM, np.nan)),
        ("encode", MEL[:, :-1]),
        ("vocode", MEL[:-1]),
        ("decode", np.full((1, ECHO.books), ECHO.book_size, np.int16)),
        ("decode", np.full((1, ECHO.books), -2, np.int16)),
        ("decode", np.array([[-1] + [0] * (ECHO.books - 1)], np.int16)),
        ("sing", PCM),
    ],
)
def test_bad_input_hurts_only_who_gave_it(kind: str, data: NDArray[Any]) -> None:
    async def main() -> None:
        async with EngineLoop(EchoEngine()) as loop:
            with loop.open() as session:
                with pytest.raises(ValueError):
                    await session.step(kind, data, 0.0)  # type: ignore[arg-type]
                await session.step("mel", PCM, 0.0)

    asyncio.run(main())


def test_several_kinds_in_one_visit_are_the_steps_one_by_one() -> None:
    async def main() -> None:
        pcm = np.random.default_rng(3).normal(0, 0.1, 2 * ECHO.frame_samples).astype(np.float32)
        async with EngineLoop(EchoEngine(2)) as loop:
            with loop.open() as alone, loop.open() as fused:
                mel = await alone.step("mel", pcm, 0.0)
                codes = await alone.step("encode", mel, 0.0)
                for fresh in (False, True, False):
                    known = await alone.step("decode", codes, 0.0, fresh=fresh)
                    heard = await alone.step("vocode", known, 0.0, fresh=fresh)
                    visit = await fused.visit(("decode", "vocode"), codes, 0.0, fresh=fresh)
                    assert all(np.array_equal(a, b) for a, b in zip(visit.answers, (known, heard), strict=True))
                visit = await fused.visit(("mel", "encode"), pcm, 0.0)
                assert all(np.array_equal(a, b) for a, b in zip(visit.answers, (mel, codes), strict=True))
                assert visit.last_s > 0
                assert loop.step_latency["encode"].summary().n == 2

    asyncio.run(main())


def test_a_visit_makes_room_between_its_kinds_and_ends_where_nobody_waits_for_it() -> None:
    async def main() -> None:
        engine = GatedEngine(3)
        async with EngineLoop(engine) as loop:
            a, b, c = (loop.open() for _ in range(3))
            visits = [asyncio.create_task(session.visit(("mel", "encode"), PCM, 5.0)) for session in (a, b)]
            await engine.working()
            urgent = ask(c, "vocode", 1.0)
            await settled()
            visits[1].cancel()
            await settled()
            for _ in range(3):
                engine.gate.release()
            await asyncio.gather(visits[0], urgent)
        # What is asked for at once is one batch; the urgent piece goes before the second half; b's second half never runs.
        assert engine.did == [[(0, "mel"), (1, "mel")], [(2, "vocode")], [(0, "encode")]]

    asyncio.run(main())
