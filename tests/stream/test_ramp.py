"""Speech in chunks: the first frame alone, then as many at once as come in time, and nothing of it is heard in the sound."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.models.config import TINY
from sottovoce.stream.admission import CHUNKS
from sottovoce.stream.frames import Codes, Frame, Pcm
from sottovoce.stream.generation import Generation
from sottovoce.stream.lead import Lead
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.ramp import Ramp
from sottovoce.stream.session_events import TextArrived
from sottovoce.stream.speech import Context, Speech, speak
from sottovoce.stream.statistics import Statistics
from sottovoce.stream.talk import PassageBegan, PassageEnded, TalkEvent
from sottovoce.stream.talk_work import Manner
from support import tiny_talk, virtual_time
from support.priced import Price, PricedEngine
from support.tiny_talk import Speller, pieces

FRAME_S = TINY.frame_samples / TINY.rate_hz
TEXT = "Good day, dear friend. It has left, and now, old friends of all the wide sea, it is gone!"
ENGINE = tiny_talk.engine(rows=2)


class Steady:
    """A pace of ``talk_s`` and ``hear_s`` a frame, whatever else goes on."""

    def __init__(self, talk_s: float, hear_s: float) -> None:
        self.talk_s, self.hear_s = talk_s, hear_s

    def chunk_s(self, n_frames: int) -> float:
        others_s = self.talk_s + self.hear_s * n_frames
        return others_s + (self.talk_s + self.hear_s) * n_frames if others_s <= 0.8 * 0.04 else math.inf


def chunks_of(ramp: Ramp, lead: Lead, n: int, take_s: Callable[[int], float], most: int = 100) -> list[int]:
    """The first ``n`` of a speech that goes on as soon as it may, where a chunk takes ``take_s``."""
    now_s, found = 0.0, []
    for _ in range(n):
        chunk = ramp.n_frames(now_s, most)
        now_s += lead.wait_s(now_s, chunk) + take_s(chunk)
        for _ in range(chunk):
            lead.wrote(now_s)
        found.append(chunk)
    return found


def test_it_begins_with_one_and_goes_up_as_fast_as_there_is_time() -> None:
    def ramped(talk_ms: float, hear_ms: float, lead_ms: float = 300.0) -> list[int]:
        lead, pace = Lead(0.04, lead_ms / 1000), Steady(talk_ms / 1000, hear_ms / 1000)
        return chunks_of(Ramp(lead, pace), lead, 12, lambda n: n * pace.talk_s + n * pace.hear_s)

    assert ramped(0.5, 1.0) == [1, 1] + [4] * 10  # four take 6 ms, and one is in reserve
    assert ramped(2.0, 4.0)[:5] == [1, 1, 2, 4, 4]
    assert set(ramped(2.0, 4.0)[5:]) == {4}
    assert set(ramped(5.0, 10.0)) == {1, 2}  # four of all who are there do not fit into a frame's time
    assert ramped(6.0, 20.0) == [1] * 12
    assert ramped(0.5, 1.0, lead_ms=80.0) == [1] * 12  # the player has one frame while the next is made
    assert ramped(0.5, 1.0, lead_ms=120.0) == [1] * 12
    assert ramped(0.5, 1.0, lead_ms=160.0)[2:] == [2] * 10
    assert ramped(2.0, 4.0, lead_ms=math.inf)[-1] == 4


def test_behind_a_gap_it_begins_anew() -> None:
    lead = Lead(0.04, 0.3)
    ramp = Ramp(lead, Steady(0.001, 0.001))
    assert chunks_of(ramp, lead, 4, lambda n: 0.001) == [1, 1, 4, 4]
    lead.resume(10.0)
    assert ramp.n_frames(10.0, 100) == 1
    lead.wrote(10.0)
    assert ramp.n_frames(10.0, 100) == 1
    lead.wrote(10.0)
    assert ramp.n_frames(10.0, 100) == 4
    assert [ramp.n_frames(10.0, most) for most in (1, 2, 3)] == [1, 2, 2]  # no more than there are
    assert ramp.n_frames(10.031, 100) == 2  # it was late
    lead.restart()
    assert ramp.n_frames(10.0, 100) == 1


def test_a_wait_for_several_is_longer() -> None:
    lead = Lead(0.04, 0.2)
    assert lead.left_s(1.0) == 0
    assert lead.wait_s(1.0, 4) == 0
    for _ in range(4):
        lead.wrote(1.0)
    assert lead.wait_s(1.0) == pytest.approx(0)
    assert lead.wait_s(1.0, 2) == pytest.approx(0.04)
    assert lead.wait_s(1.0, 4) == pytest.approx(0.12)
    assert lead.left_s(1.0, 1) == pytest.approx(0.16)
    assert lead.left_s(1.0, 4) == pytest.approx(0.04)  # when there is room for them
    assert lead.left_s(1.15, 1) == pytest.approx(0.01)


# ---- a whole speech, with an engine whose steps take their time -------------------------------------------------


class Heard:
    """What a speech was, frame by frame."""

    def __init__(self) -> None:
        self.at_s: list[float] = []
        self.frames: list[Frame[Pcm]] = []
        self.events: list[tuple[int, TalkEvent]] = []
        self.codes: list[Frame[Codes]] = []
        self.chunks: list[int] = []
        self.statistics = Statistics(ENGINE.descriptor)

    @property
    def pcm(self) -> Pcm:
        return np.concatenate([frame.data for frame in self.frames])

    def worst_late_s(self) -> float:
        """Of a player that begins with the first frame and has no reserve."""
        played_s = self.at_s[0] + FRAME_S * np.arange(len(self.at_s))
        return float((np.array(self.at_s) - played_s).max())


def spoken(
    texts: AsyncIterator[TextArrived],
    price_s: Price,
    lead_ms: float | None = 300.0,
    cancel_s: float | None = None,
    take_s: float = 0.0,
) -> Heard:
    """``texts`` as they are heard in virtual time, cancelled at ``cancel_s``, by who takes ``take_s`` for each frame."""
    heard = Heard()

    async def main() -> None:
        clock, generation = asyncio.get_running_loop(), Generation()
        engine = PricedEngine(ENGINE, lambda seconds: virtual_time.spend(clock, seconds), price_s)

        async def sink(frame: Frame[Pcm]) -> None:
            assert not generation.is_stale(frame.generation)
            await asyncio.sleep(take_s)
            heard.at_s.append(clock.time())
            heard.frames.append(frame)

        def told(event: TalkEvent) -> None:
            heard.events.append((len(heard.frames), event))

        async with EngineLoop(engine, clock.time) as loop:
            virtual_time.hold_for(lambda: loop.waiting > 0)
            with loop.open() as session:
                context = Context(session, Speller(), heard.statistics, generation, clock.time)
                if cancel_s is not None:
                    clock.call_later(cancel_s, generation.cancel)
                await speak(texts, sink, Speech(Manner(seed=3), lead_ms), context, told)
            virtual_time.hold_for(lambda: True)  # the thread is about to end
        heard.chunks = engine.chunks()

    virtual_time.run(main())
    return heard


def linear(talk_ms: float, step_ms: float, frame_ms: float) -> Price:
    """Steps that make sound take ``step_ms`` and ``frame_ms`` for each frame, both kinds together."""

    def price_s(kind: str, rows: int, n_frames: int) -> float:
        return {"talk": talk_ms, "read": 0.0}.get(kind, (step_ms + frame_ms * n_frames) / 2) / 1000

    return price_s


ALONE = spoken(pieces(TEXT), linear(0, 0, 0), lead_ms=80.0)
"""In chunks of one."""


@settings(max_examples=25)
@given(
    talk_ms=st.floats(0.2, 12.0),
    step_ms=st.floats(0.0, 8.0),
    frame_ms=st.floats(0.2, 12.0),
    lead_ms=st.sampled_from([80.0, 160.0, 300.0, 1000.0, math.inf, None]),
)
def test_whatever_steps_take_every_frame_comes_in_time(
    talk_ms: float, step_ms: float, frame_ms: float, lead_ms: float | None
) -> None:
    heard = spoken(pieces(TEXT), linear(talk_ms, step_ms, frame_ms), lead_ms)
    assert heard.chunks[0] == 1
    assert set(heard.chunks) <= set(CHUNKS)
    assert heard.worst_late_s() <= 1e-9
    assert len(heard.pcm) == len(ALONE.pcm)
    assert np.abs(heard.pcm - ALONE.pcm).max() <= 1e-5


def test_a_fast_engine_reaches_four_and_a_slow_one_stays_at_one() -> None:
    fast, slow = (spoken(pieces(TEXT), price) for price in (linear(1, 2, 1), linear(8, 1, 20)))
    assert ALONE.chunks == [1] * len(ALONE.frames)
    assert slow.chunks == ALONE.chunks
    assert fast.chunks[:4] == [1, 1, 4, 4]  # when the second is begun nobody knows yet what the first will take
    assert fast.chunks.count(4) > len(fast.chunks) / 2
    assert sum(fast.chunks) == len(fast.frames) == len(slow.frames)
    assert fast.at_s[0] <= 1e-3 + 3e-3 + 1e-3 + 1e-9  # talk and sound; the next frame may be talked between them
    assert slow.worst_late_s() <= 1e-9


def test_a_machine_that_slows_down_is_believed() -> None:
    """At once steps take seven times as long: chunks become smaller, and nothing comes late."""
    n = 0

    def price_s(kind: str, rows: int, n_frames: int) -> float:
        nonlocal n
        n += kind == "talk"
        return linear(1, 1, 1)(kind, rows, n_frames) * (7 if n > 40 else 1)

    heard = spoken(pieces(TEXT * 3), price_s)
    third = len(heard.chunks) // 3
    assert 4 in heard.chunks[:third]
    assert 4 not in heard.chunks[2 * third :]
    assert heard.worst_late_s() <= 1e-9


def test_words_are_told_before_their_first_frame_and_ends_after_the_last_was_written() -> None:
    heard = spoken(pieces(TEXT), linear(1, 2, 1))
    for n_before, event in heard.events:
        if isinstance(event, PassageBegan):
            assert n_before * 1000 * FRAME_S <= event.start_ms
        else:
            assert n_before * 1000 * FRAME_S <= event.end_ms
    assert [event for _, event in heard.events] == [event for _, event in ALONE.events]


def test_what_waits_for_words_holds_nothing_back() -> None:
    """A clause is written, and the next words come a minute later."""

    async def slowly() -> AsyncIterator[TextArrived]:
        yield TextArrived("Good day, dear friend and", 0)
        yield TextArrived(None, 0)
        await asyncio.sleep(60)
        yield TextArrived(" more.", 0, end=True)

    heard = spoken(slowly(), linear(1, 2, 1))
    first = next(event for _, event in heard.events if isinstance(event, PassageEnded))
    assert sum(at_s < 30 for at_s in heard.at_s) == round(first.end_ms / 1000 / FRAME_S)
    assert (sum(at_s < 30 for at_s in heard.at_s) - 1) % 4  # it did not come out even
    again = heard.chunks[np.searchsorted(np.cumsum(heard.chunks), sum(at_s < 30 for at_s in heard.at_s)) + 1]
    assert again == 1  # and begins with one frame


@settings(max_examples=15)
@given(cancel_s=st.floats(0.0, 2.0))
def test_a_cancel_leaves_nothing_old(cancel_s: float) -> None:
    async def texts() -> AsyncIterator[TextArrived]:
        yield TextArrived(TEXT, 0)
        await asyncio.sleep(cancel_s)
        yield TextArrived("Oh, I see.", 1, end=True)

    heard = spoken(texts(), linear(2, 3, 1), cancel_s=cancel_s, take_s=0.001)
    other = spoken(pieces("Oh, I see.", generation=1), linear(2, 3, 1), lead_ms=80.0)
    new = [frame for frame in heard.frames if frame.generation == 1]
    old = [at_s for frame, at_s in zip(heard.frames, heard.at_s, strict=True) if frame.generation == 0]
    assert max(old, default=0.0) <= cancel_s + 0.05  # of the step that was under way nothing is handed over
    assert np.abs(np.concatenate([frame.data for frame in new]) - other.pcm).max() <= 1e-5


def test_ages_are_those_of_what_is_late() -> None:
    """A frame that is made with three others ahead of its time is new."""
    for price in (linear(1, 2, 1), linear(8, 1, 20)):
        heard = spoken(pieces(TEXT), price)
        ages = heard.statistics.age.summary()
        assert ages.n == len(heard.frames)
        assert ages.p95_ms <= 1e-6
        assert heard.statistics.stages["vocode"].summary().n == len(heard.frames)
        assert heard.statistics.stages["talk"].summary().n == len(heard.frames)
        assert all(frame.born_s <= at_s for frame, at_s in zip(heard.frames, heard.at_s, strict=True))
