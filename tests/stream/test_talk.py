"""Text to codes: what is said does not depend on how the text came, when it is said is known, and nothing piles up."""

import asyncio
import dataclasses
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.models.alignment import conditions, round_slots
from sottovoce.models.config import TINY
from sottovoce.models.sampling import Noise, Sampling
from sottovoce.models.symbols import PAUSE, ids
from sottovoce.stream.channel import Channel
from sottovoce.stream.clauses import Clauses
from sottovoce.stream.client_messages import Cancel, Credit, End, Format, Start, Text, TextEnd
from sottovoce.stream.engine import EchoEngine, Work
from sottovoce.stream.errors import UsageError, WeightsError
from sottovoce.stream.frames import Codes, Frame, Pcm
from sottovoce.stream.generation import Generation
from sottovoce.stream.lead import Lead
from sottovoce.stream.loop import EngineLoop, Session
from sottovoce.stream.packer import Dial
from sottovoce.stream.reader import Reader
from sottovoce.stream.server_messages import Cancelled, SegmentEnd, SegmentStart, Words
from sottovoce.stream.session_events import TextArrived
from sottovoce.stream.speak_mode import mode
from sottovoce.stream.speakers import Speakers
from sottovoce.stream.speech import Context, Speech, speak
from sottovoce.stream.spoken import joined
from sottovoce.stream.stages import Line
from sottovoce.stream.statistics import Statistics
from sottovoce.stream.talk import (
    END_PAUSE_S,
    LEAST_PAUSE_S,
    MOST_SYMBOLS,
    PassageBegan,
    PassageEnded,
    TalkEvent,
    read,
    talk,
)
from sottovoce.stream.talk_engine import TalkEngine, add_talker
from sottovoce.stream.talk_work import Manner, Moment, Reading, Score, voice_number
from sottovoce.stream.wire import Kind, Media
from sottovoce.training.talk_slots import slot_at
from support import fake_socket, tiny_talk, virtual_time
from support.fake_socket import FakeSocket, until
from support.tiny_talk import Speller, pieces

TEXT = "Good day, dear friend. It has left.\n\nAnd now, old friends of all the wide sea, it is gone!"
FRAME_S = TINY.frame_samples / TINY.rate_hz
SLOT_MS = 1000 * TINY.mel.hop / TINY.rate_hz
ENGINE = tiny_talk.engine(rows=3)
MANNER = Manner(voice=1, speed=1.3, seed=5)


def in_virtual_time(
    use: Callable[[EngineLoop, Session], Coroutine[Any, Any, None]], engine: TalkEngine = ENGINE
) -> None:
    async def main() -> None:
        async with EngineLoop(engine, asyncio.get_running_loop().time) as loop:
            virtual_time.hold_for(lambda: loop.waiting > 0)
            try:
                with loop.open() as session:
                    await use(loop, session)
            finally:
                virtual_time.hold_for(lambda: True)  # the thread is about to end

    virtual_time.run(main())


class Stage:
    """Both stages, and who takes the codes."""

    def __init__(self, session: Session, take: Callable[[Frame[Codes]], Awaitable[None]] | None = None) -> None:
        self.frames: list[Frame[Codes]] = []
        self.at_s: list[float] = []
        self.events: list[TalkEvent] = []
        self.generation = Generation()
        self.statistics = Statistics(session.descriptor)
        self.session = session
        self._take = take

    async def run(
        self, texts: AsyncIterator[TextArrived], lead: Lead | None = None, manner: Manner = MANNER, **options: Any
    ) -> None:
        line = Line(self.generation, virtual_time.now_s, self.statistics)
        lead = lead or Lead(self.session.descriptor.frame_ms / 1000, math.inf)
        passages: Channel[Any] = Channel(1, name="read")
        codes: Channel[Frame[Codes]] = Channel(1, name="talked")
        self.statistics.watch(passages)
        self.statistics.watch(codes)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read(texts, passages, line, self.session, Speller(), manner, **options))
            tasks.create_task(talk(passages, codes, line, self.session, lead, tell=self.events.append))
            async for frame in codes:
                if line.wanted(frame, codes):
                    self.frames.append(frame)
                    self.at_s.append(virtual_time.now_s())
                    if self._take:
                        await self._take(frame)

    @property
    def codes(self) -> Codes:
        return np.concatenate([frame.data for frame in self.frames])


@cache
def said(*texts: str, manner: Manner = MANNER) -> Stage:
    stages: list[Stage] = []

    async def use(loop: EngineLoop, session: Session) -> None:
        stages.append(Stage(session))
        await stages[0].run(pieces(*texts), manner=manner)

    in_virtual_time(use)
    return stages[0]


@cache
def by_torch(text: str, manner: Manner = MANNER) -> tuple[Codes, list[np.ndarray]]:
    """The same from the modules that were trained, without a tail: codes, and the slots of every clause."""
    talker, config = tiny_talk.half(tiny_talk.stirred()), tiny_talk.stirred().config
    cutter, who = Clauses(), torch.tensor([manner.voice])
    noise = Noise(Sampling(manner.temperature, manner.top_k, manner.seed), *config.frame_shape)
    codes, state, top_k = talker.start_frame(1), talker.initial_state(1), torch.tensor([manner.top_k])
    found, times = [], []
    for clause in (*cutter.push(text), *cutter.end()):
        words = asyncio.run(Speller().words(clause.text))
        if not words:
            continue
        symbols = ids((PAUSE, *joined(words)[0], PAUSE))
        with torch.no_grad():
            encodings, durations = talker.clause(torch.from_numpy(symbols)[None], who)
            due = durations[0].double().numpy()
            due[-1] = max(due[-1], 1000 * LEAST_PAUSE_S[clause.border] * manner.speed / SLOT_MS)
            times.append(round_slots(due, symbols, config.mels_per_frame, manner.speed))
            for told in conditions(encodings[0].numpy(), times[-1], config.mels_per_frame):
                hidden, state = talker.step(codes, torch.from_numpy(told)[None], who, state)
                codes, _ = talker.write(hidden, torch.from_numpy(noise.next())[None], top_k)
                found.append(codes[0].numpy())
    return np.stack(found).astype(np.int16), times


def test_a_text_is_spoken_in_one_breath_as_the_torch_modules_speak_it() -> None:
    stage = said(TEXT)
    expected, times = by_torch(TEXT)
    assert len(times) == 4
    assert np.array_equal(stage.codes[: len(expected)], expected)
    last_pause_s = times[-1][-1] * SLOT_MS / 1000 + (len(stage.codes) - len(expected)) * FRAME_S
    assert END_PAUSE_S <= last_pause_s < max(END_PAUSE_S + FRAME_S, times[-1][-1] * SLOT_MS / 1000 + 1e-9)
    alone = said("It has left.\n\n").codes
    after = stage.codes[int(times[0].sum()) // 4 :]
    assert not np.array_equal(after[: len(alone) // 2], alone[: len(alone) // 2])  # it remembers what it said before


@settings(max_examples=5)
@given(st.lists(st.integers(0, len(TEXT)), max_size=12), st.integers(0, 3))
def test_where_the_pieces_are_cut_does_not_matter(places: list[int], seed: int) -> None:
    manner = Manner(seed=seed)
    cut, whole = said(*tiny_talk.cut(TEXT, places), manner=manner), said(TEXT, manner=manner)
    assert np.array_equal(cut.codes, whole.codes)
    assert cut.events == whole.events


def test_another_seed_voice_speed_or_temperature_says_it_otherwise() -> None:
    usual = said(TEXT).codes
    for other in ({"seed": 6}, {"voice": 0}, {"speed": 0.9}, {"temperature": 0.3}, {"top_k": 1}):
        codes = said(TEXT, manner=dataclasses.replace(MANNER, **other)).codes  # type: ignore[arg-type]
        assert codes.shape != usual.shape or not np.array_equal(codes, usual), other
    slow, fast = (len(said(TEXT, manner=Manner(speed=speed)).codes) for speed in (0.5, 2.0))
    assert 2.5 < slow / fast < 4.5


def test_rows_that_speak_together_say_what_they_say_alone() -> None:
    """Of other texts, voices and seeds, begun at other times."""
    scores: list[Score] = []
    rows = [ENGINE.open() for _ in range(3)]
    try:
        for i, row in enumerate(rows):
            manner = Manner(voice=i % 2, seed=i, top_k=3 + i)
            scores += ENGINE.step([Work(row, "read", Reading("hˈɛlO"[i:], manner), 0.0)])
        alone = []
        for row, score in zip(rows, scores, strict=True):
            frames = range(score.n_frames)
            one = [ENGINE.step([Work(row, "talk", Moment(score, t), 0.0, t == 0)])[0] for t in frames]
            alone.append(np.concatenate(one))
        together: list[list[Codes]] = [[], [], []]
        for t in range(max(score.n_frames for score in scores) + 2):
            who = [i for i in (2, 0, 1) if 0 <= t - i < scores[i].n_frames]
            work = [Work(rows[i], "talk", Moment(scores[i], t - i), 0.0, t == i) for i in who]
            for i, codes in zip(who, ENGINE.step(work) if work else [], strict=True):
                together[i].append(codes)
        for one, parts in zip(alone, together, strict=True):
            assert np.array_equal(one, np.concatenate(parts))
        twice = Work(rows[0], "talk", Moment(scores[0], 0), 0.0)
        with pytest.raises(ValueError, match="two frames for the same row"):
            ENGINE.step([twice, twice])
    finally:
        for row in rows:
            ENGINE.close(row)


# ---- time ----------------------------------------------------------------------------------------------------------


def test_words_and_sounds_are_told_to_the_slot_on_the_clock_of_the_sound_that_comes_out() -> None:
    """By the rule by which the talker's data were aligned, and later by the codec's delay."""
    began = [event for event in said(TEXT).events if isinstance(event, PassageBegan)]
    assert [word.text for event in began for word in event.words] == TEXT.split()
    assert all(TEXT[word.start_char : word.end_char] == word.text for event in began for word in event.words)
    delay = ENGINE.descriptor.delay_samples
    first_slot = 0
    for event, slots in zip(began, by_torch(TEXT)[1], strict=True):
        assert event.start_ms == first_slot * SLOT_MS
        ends = first_slot + np.cumsum(slots)
        sounds = [sound for word in event.words for sound in word.phonemes]
        phonemes, places = joined(asyncio.run(Speller().words(event.text)))
        symbols = [i for place in places for i in place]
        assert [sound.symbol for sound in sounds] == [phonemes[i] for i in symbols]
        for sound, i in zip(sounds, symbols, strict=True):
            for told_ms, slot in ((sound.start_ms, ends[i]), (sound.end_ms, ends[i + 1])):
                heard_by_codec = round(told_ms * TINY.rate_hz / 1000) - delay
                half = TINY.mel.hop // 2  # a slot stands for a hop about the middle of its window
                assert slot_at(heard_by_codec + half, TINY.mel) == slot
                assert slot_at(heard_by_codec - half + 1, TINY.mel) == slot
        for word in event.words:
            assert (word.start_ms, word.end_ms) == (word.phonemes[0].start_ms, word.phonemes[-1].end_ms)
        first_slot += int(slots.sum())


def test_every_passage_ends_where_the_next_begins() -> None:
    events = said(TEXT).events
    began, ended = events[::2], events[1::2]
    for one, two in zip(ended, began[1:], strict=False):
        assert isinstance(one, PassageEnded)
        assert isinstance(two, PassageBegan)
        assert one.end_ms == two.start_ms
    assert [event.number for event in events] == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("lead_s", [0.08, 0.3, 1.0])
def test_never_more_than_the_lead_ahead_and_never_late(lead_s: float) -> None:
    """What comes behind takes most of a frame's time for each."""

    async def use(loop: EngineLoop, session: Session) -> None:
        stage = Stage(session, lambda frame: asyncio.sleep(0.8 * FRAME_S))
        await stage.run(pieces(TEXT), Lead(FRAME_S, lead_s))
        at_s = np.array(stage.at_s)
        assert at_s[0] == 0  # the first frame alone, at once
        played_s = at_s[0] + np.arange(len(at_s)) * FRAME_S
        assert (played_s + FRAME_S - at_s <= lead_s + 1e-9).all()
        assert (at_s <= played_s + 1e-9).all()
        assert (played_s + FRAME_S - at_s).max() > min(lead_s, 0.5) - 2 * FRAME_S  # the lead is used
        ages = [at - frame.born_s for at, frame in zip(stage.at_s, stage.frames, strict=True)]
        assert min(ages) >= 0

    in_virtual_time(use)


def test_after_a_wait_for_text_it_goes_on_as_it_began() -> None:
    """No rush to make up for what nobody wrote; what is late for the engine's sake is as old as it is late."""

    async def slowly() -> AsyncIterator[TextArrived]:
        yield TextArrived("Good day, dear friend. Well", 0)
        await asyncio.sleep(60)
        yield TextArrived(" now it is gone!", 0, end=True)

    async def use(loop: EngineLoop, session: Session) -> None:
        stage = Stage(session)
        await stage.run(slowly(), Lead(FRAME_S, 0.2))
        at_s = np.array(stage.at_s)
        (first,) = np.flatnonzero(np.diff(at_s) > 30) + 1
        again = at_s[first:] - at_s[first]
        assert at_s[first] == 60
        assert (np.arange(1, len(again) + 1) * FRAME_S - again <= 0.2 + 1e-9).all()
        assert max(at - frame.born_s for at, frame in zip(stage.at_s, stage.frames, strict=True)) < 1e-9

    in_virtual_time(use)


def test_a_lead_is_two_frames_at_least() -> None:
    with pytest.raises(ValueError, match="less than two frames"):
        Lead(0.04, 0.079)
    lead = Lead(0.04, 0.08)
    assert (lead.wait_s(5.0), lead.due_s(5.0)) == (0.0, 5.0)
    lead.wrote(5.0)
    lead.wrote(5.0)
    assert lead.wait_s(5.0) == pytest.approx(0.04)
    assert lead.due_s(7.0) == pytest.approx(5.08)  # late, and it shows
    lead.resume(7.0)
    assert (lead.wait_s(7.0), lead.due_s(7.0)) == (0.0, 7.0)


# ---- cancelling ----------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(cancel_s=st.integers(0, 2500).map(lambda ms: ms / 1000), lead_s=st.sampled_from([0.08, 0.5]))
def test_cancelling_leaves_nothing_stale_and_the_next_text_begins_anew(cancel_s: float, lead_s: float) -> None:
    stages: list[Stage] = []

    async def use(loop: EngineLoop, session: Session) -> None:
        stage = Stage(session, lambda frame: asyncio.sleep(FRAME_S))
        stages.append(stage)
        cancelled = asyncio.Event()

        async def texts() -> AsyncIterator[TextArrived]:
            for word in TEXT.split(" "):
                yield TextArrived(word + " ", 0)
            await cancelled.wait()
            yield TextArrived("never said.", 0)  # it was on its way when the word came
            yield TextArrived("Oh, I see.", 1, end=True)

        async def cancel() -> None:
            await asyncio.sleep(cancel_s)
            stage.generation.cancel()
            cancelled.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(cancel())
            tasks.create_task(stage.run(texts(), Lead(FRAME_S, lead_s)))
        for frame, at_s in zip(stage.frames, stage.at_s, strict=True):
            assert frame.generation == (1 if at_s > cancel_s else 0) or at_s == cancel_s

    in_virtual_time(use)
    stage = stages[0]
    new = [frame.data for frame in stage.frames if frame.generation == 1]
    assert np.array_equal(np.concatenate(new), said("Oh, I see.").codes)
    events = [dataclasses.replace(event, generation=0) for event in stage.events if event.generation == 1]
    assert events == said("Oh, I see.").events  # its clock begins anew too


def test_another_text_of_the_same_generation_begins_anew_and_its_time_goes_on() -> None:
    async def texts() -> AsyncIterator[TextArrived]:
        yield TextArrived("Oh, I see.", 0, end=True)
        yield TextArrived(None, 0, end=True)  # an empty one
        yield TextArrived("Oh, I see.", 0)  # its end is that of everything

    async def use(loop: EngineLoop, session: Session) -> None:
        stage = Stage(session)
        await stage.run(texts())
        half = len(stage.codes) // 2
        assert np.array_equal(stage.codes[:half], stage.codes[half:])
        starts = [event.start_ms for event in stage.events if isinstance(event, PassageBegan)]
        assert starts == sorted(set(starts))
        assert starts[len(starts) // 2] == pytest.approx(half * 1000 * FRAME_S)

    in_virtual_time(use)


# ---- bounds --------------------------------------------------------------------------------------------------------


def test_who_does_not_take_holds_back_who_writes() -> None:
    taken = 0

    async def texts() -> AsyncIterator[TextArrived]:
        nonlocal taken
        while True:
            taken += 1
            yield TextArrived("Here is one more sentence of the story that never ends. ", 0)

    async def use(loop: EngineLoop, session: Session) -> None:
        stage = Stage(session, lambda frame: asyncio.sleep(3600))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3 * 3600 - 1):
                await stage.run(texts())
        assert len(stage.frames) == 3
        assert taken <= 6
        assert all(channel.high_water <= 1 for channel in stage.statistics.channels())

    in_virtual_time(use)


def test_a_long_clause_is_read_in_parts_that_are_its_text() -> None:
    """Others wait for the engine while one is read."""
    text = "abcd" * 75 + "x " + "xyz" * 30 + " " + "abc" * 300  # without a mark in it
    stage = said(text, manner=Manner(speed=4.0))
    began = [event for event in stage.events if isinstance(event, PassageBegan)]
    assert sum(len(word.phonemes) for event in began for word in event.words) == len(text) - 2
    assert all(0 < sum(len(w.phonemes) for w in event.words) <= MOST_SYMBOLS for event in began)
    assert "".join(event.text for event in began) == text
    assert all(text[word.start_char : word.end_char] == word.text for event in began for word in event.words)


def test_a_text_that_is_too_long_is_refused() -> None:
    async def use(loop: EngineLoop, session: Session) -> None:
        stage = Stage(session)
        with pytest.raises(ExceptionGroup) as group:
            await stage.run(pieces("One. ", "Two two two."), most_chars=12)
        assert group.value.subgroup(lambda error: isinstance(error, UsageError) and "12 characters" in str(error))

    in_virtual_time(use)


@pytest.mark.parametrize("text", ["", "   \n\n", "*** ... !!!"])
def test_nothing_to_say_is_no_sound(text: str) -> None:
    async def use(loop: EngineLoop, session: Session) -> None:
        heard: list[object] = []

        async def sink(frame: object) -> None:
            heard.append(frame)

        context = Context(session, Speller(), Statistics(session.descriptor), clock=virtual_time.now_s)
        assert await speak(pieces(text), sink, Speech(), context) == 0
        assert heard == []

    in_virtual_time(use)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"speed": 0.1}, "speed"), ({"speed": float("nan")}, "speed"), ({"temperature": -1.0}, "temperature"),
        ({"temperature": 3.0}, "temperature"), ({"top_k": 0}, "top-k"), ({"seed": -1}, "seed"), ({"seed": 1 << 63}, "seed"),
    ],
)  # fmt: skip
def test_a_manner_out_of_range_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Manner(**wrong)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [voice_number(ENGINE.voices, name) for name in (None, "ann", "joe")] == [0, 0, 1]
    with pytest.raises(UsageError, match="there is no voice 'eve'; choose one of ann, joe"):
        voice_number(ENGINE.voices, "eve")
    with pytest.raises(WeightsError, match="no talker for the codec echo"):
        add_talker(EchoEngine())
    monkeypatch.setitem(sys.modules, "hibari", None)
    monkeypatch.setitem(sys.modules, "hibari.g2p", None)
    monkeypatch.delitem(sys.modules, "sottovoce.stream.phonemizer", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'sottovoce\[talk\]'"):
        Reader()


# ---- sound, and the server's mode ----------------------------------------------------------------------------------


def locally(text: str, manner: Manner) -> Pcm:
    heard: list[np.ndarray] = []

    async def use(loop: EngineLoop, session: Session) -> None:
        async def sink(frame: Frame[Any]) -> None:
            heard.append(frame.data)

        context = Context(session, Speller(), Statistics(session.descriptor), clock=virtual_time.now_s)
        speech = Speech(manner, lead_ms=None, dial=Dial(TINY.books, 3))
        n_samples = await speak(pieces(text), sink, speech, context)
        assert n_samples == sum(map(len, heard))
        parts = context.first_audio.parts_ms()
        assert {"talker", "decode"} <= parts.keys()

    in_virtual_time(use)
    return np.concatenate(heard)


def test_the_server_speaks_tells_words_and_is_cancelled() -> None:
    expected = locally("Oh, I see. Yes.", Manner(voice=1))
    speaking = mode(Speakers(ENGINE.voices, {"en-US": Speller(), "en-GB": Speller()}, 1000))

    async def use(service: fake_socket.Service, _: FakeSocket, __: asyncio.Task[None]) -> None:
        service = dataclasses.replace(service, modes={"speak": speaking}, voices=("ann", "joe"))
        socket = FakeSocket()

        async def played(heard: Media) -> None:
            socket.say(Credit(heard.generation, 1000 * (heard.time + heard.count) / TINY.rate_hz))

        socket.on_media = played
        call = asyncio.create_task(fake_socket.connect(service, socket))
        socket.say(Start("speak", out=Format("pcm", "f32le"), voice="joe", books=3, words=True))
        socket.say(Text("This is cancelled while it is spoken, "))
        await until(lambda: bool(socket.pcm()))
        socket.say(Cancel())
        await until(lambda: bool(socket.of(Cancelled)))
        for word in ("Oh, ", "I s", "ee. Ye", "s."):
            socket.say(Text(word))
        socket.say(TextEnd())
        socket.say(End())
        await call
        new = [m for m in socket.sent if isinstance(m, Media) and m.kind == Kind.PCM and m.generation == 1]
        heard = np.frombuffer(b"".join(m.payload for m in new), "<f4")
        assert np.abs(heard - expected).max() <= 1e-5
        words = [word for told in socket.of(Words) if told.generation == 1 for word in told.words]
        assert [word.text for word in words] == ["Oh,", "I", "see.", "Yes."]
        began = [told for told in socket.of(SegmentStart) if told.generation == 1]
        assert [told.text for told in began] == ["Oh, I see. ", "Yes."]
        assert [told.segment for told in socket.of(SegmentEnd) if told.generation == 1] == [0, 1]

    fake_socket.run(use, ENGINE)
