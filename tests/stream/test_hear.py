"""Codes to sound, several frames at once where they wait: the same samples, frame by frame, with their times and pictures."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.stream.align import Trim
from sottovoce.stream.channel import Channel
from sottovoce.stream.frames import Codes, Frame, Mel, Pcm
from sottovoce.stream.generation import Generation
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.stages import Line, hear
from sottovoce.stream.statistics import Statistics
from support import tiny_talk, virtual_time
from support.priced import PricedEngine

ENGINE = tiny_talk.engine(rows=1)
SHAPE = ENGINE.descriptor
STEP_S = 0.005


@dataclass
class Heard:
    """What came out."""

    frames: list[Frame[Pcm]] = field(default_factory=list)
    mels: list[Frame[Mel]] = field(default_factory=list)
    statistics: Statistics = field(default_factory=lambda: Statistics(SHAPE))
    given: int = 0
    chunks: list[int] = field(default_factory=list)

    @property
    def pcm(self) -> Pcm:
        return np.concatenate([frame.data for frame in self.frames])


def codes_of(n: int, seed: int = 0) -> list[Frame[Codes]]:
    """Frames, of which some have fewer books and one in nine is faded."""
    chance = np.random.default_rng(seed)
    frames = []
    for i in range(n):
        codes = chance.integers(0, SHAPE.book_size, (1, SHAPE.books)).astype(np.int16)
        codes[:, chance.integers(1, SHAPE.books + 1) :] = -1
        made_up = chance.random() < 1 / 9
        frames.append(Frame(codes, i, 0, 0.04 * i, 0.04 * i, concealed=made_up, attenuation_db=6.0 * made_up))
    return frames


def heard(
    frames: Sequence[Frame[Codes]],
    bursts: Sequence[int],
    capacity: int = 4,
    trim: bool = False,
    cancel_s: float | None = None,
    repeatable: bool = False,
) -> Heard:
    """``frames``, sent so many at once every frame's length."""
    found = Heard()

    async def main() -> None:
        clock, generation = asyncio.get_running_loop(), Generation()
        engine = PricedEngine(ENGINE, lambda s: virtual_time.spend(clock, s), lambda kind, rows, n: STEP_S * n)
        channel: Channel[Frame[Codes]] = Channel(capacity, name="codes")

        async def send() -> None:
            async with channel:
                at = 0
                for burst in bursts:
                    for frame in frames[at : at + burst]:
                        await channel.send(frame)
                    at += burst
                    await asyncio.sleep(0.04)

        async def sink(frame: Frame[Pcm]) -> None:
            assert not generation.is_stale(frame.generation)
            found.frames.append(frame)

        async with EngineLoop(engine, clock.time) as loop:
            virtual_time.hold_for(lambda: loop.waiting > 0)
            with loop.open() as session:
                line = Line(generation, clock.time, found.statistics)
                if cancel_s is not None:
                    clock.call_later(cancel_s, generation.cancel)
                cut = Trim(SHAPE.delay_samples, SHAPE.frame_samples) if trim else None
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(send())
                    found.given = await hear(
                        channel, sink, line, session, found.mels.append, cut, repeatable=repeatable
                    )
            virtual_time.hold_for(lambda: True)  # the thread is about to end
        found.chunks = engine.chunks()

    virtual_time.run(main())
    return found


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 6), st.booleans(), st.integers(0, 3))
def test_what_waits_together_sounds_as_it_does_one_by_one(
    bursts: list[int], capacity: int, trim: bool, seed: int
) -> None:
    frames = codes_of(sum(bursts), seed)
    some, alone = heard(frames, bursts, capacity, trim), heard(frames, [1] * len(frames), 1, trim)
    assert alone.chunks == [1] * len(frames)
    assert sum(some.chunks) == len(frames)
    assert some.given == alone.given == len(some.pcm)
    assert np.abs(some.pcm - alone.pcm).max(initial=0) <= 1e-5
    for a, b in zip(some.mels, alone.mels, strict=True):
        assert (a.seq, a.concealed, a.books, a.attenuation_db) == (b.seq, b.concealed, b.books, b.attenuation_db)
        assert a.data.shape == (SHAPE.mels_per_frame, SHAPE.n_mels)
        assert np.abs(a.data - b.data).max() <= 1e-5
    assert [len(frame.data) for frame in some.frames] == [len(frame.data) for frame in alone.frames]
    assert [frame.seq for frame in some.frames] == [frame.seq for frame in alone.frames]
    for name in ("decode", "vocode", "play"):
        assert some.statistics.stages[name].summary().n == len(frames)
    assert some.statistics.age.summary().n == len(frames)
    assert some.statistics.level_out.rms_dbfs == pytest.approx(alone.statistics.level_out.rms_dbfs, abs=1e-3)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 6), st.integers(0, 3))
def test_a_file_sounds_the_same_every_time_to_the_bit(bursts: list[int], capacity: int, seed: int) -> None:
    frames = codes_of(sum(bursts), seed)
    some, others = heard(frames, bursts, capacity, repeatable=True), heard(frames, [len(frames)], 4, repeatable=True)
    assert some.chunks == others.chunks
    assert np.array_equal(some.pcm, others.pcm)
    plain = heard([frame._replace(attenuation_db=0.0) for frame in frames], bursts, capacity, repeatable=True)
    assert plain.chunks == [*[4] * (len(frames) // 4), *[len(frames) % 4][: len(frames) % 4]]


def test_live_frames_are_each_heard_when_they_come_and_a_backlog_is_caught_up() -> None:
    frames = [frame._replace(attenuation_db=0.0) for frame in codes_of(20)]
    assert heard(frames, [1] * 20).chunks == [1] * 20
    assert heard(frames, [1, 1, 9, *[1] * 9]).chunks[:5] == [1, 1, 4, 4, 1]
    assert heard(frames, [3, 1, 2], capacity=4).chunks == [2, 1, 1, 2]  # a power of two at once
    assert heard(frames, [8, 12], capacity=1).chunks[:3] == [1, 1, 1]


def test_a_made_up_frame_goes_alone() -> None:
    frames = [frame._replace(attenuation_db=6.0 * (i == 2)) for i, frame in enumerate(codes_of(8))]
    assert heard(frames, [8], capacity=8).chunks == [2, 1, 4, 1]


def test_another_generation_is_not_mixed_with_the_one_before() -> None:
    frames = [frame._replace(attenuation_db=0.0, generation=int(i >= 3)) for i, frame in enumerate(codes_of(8))]
    found = heard(frames, [8], capacity=8)
    assert found.chunks == [3, 4, 1]
    fresh = heard([frame._replace(generation=0) for frame in frames[3:]], [1] * 5, 1)
    assert np.abs(np.concatenate([frame.data for frame in found.frames[3:]]) - fresh.pcm).max() <= 1e-5


def test_of_a_chunk_that_is_cancelled_while_it_is_made_nothing_is_heard() -> None:
    frames = [frame._replace(attenuation_db=0.0) for frame in codes_of(8)]
    found = heard(frames, [4, 4], cancel_s=2 * STEP_S)
    assert found.frames == []
    assert found.statistics.dropped == {"vocoded.stale": 4, "codes.stale": 4}
    assert len(found.mels) == 4


def test_stages_know_how_long_each_frame_was_under_way() -> None:
    frames = [frame._replace(attenuation_db=0.0, born_s=0.0, left_s=0.0) for frame in codes_of(4)]
    stages = heard(frames, [4]).statistics.stages
    assert stages["decode"].summary().p50_ms == pytest.approx(1000 * 4 * STEP_S)
    assert stages["vocode"].summary().p50_ms == pytest.approx(1000 * 4 * STEP_S)
