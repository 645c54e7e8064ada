"""The engine that talks, and what a long or a cancelled text does to it."""

import asyncio
import dataclasses
import tracemalloc
from collections.abc import AsyncIterator

import numpy as np
import pytest

from sottovoce.models.config import TINY
from sottovoce.stream.client_messages import Cancel, Credit, End, Format, Start, Text, TextEnd
from sottovoce.stream.engine import Work
from sottovoce.stream.errors import WeightsError
from sottovoce.stream.first_audio import FirstAudio
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.generation import Generation
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.packer import Dial, Packer
from sottovoce.stream.server_messages import Cancelled, Words
from sottovoce.stream.session_events import TextArrived
from sottovoce.stream.speak_mode import mode
from sottovoce.stream.speakers import Speakers
from sottovoce.stream.speech import Context, Speech, speak, write
from sottovoce.stream.spoken import Spoken, shortened
from sottovoce.stream.statistics import Statistics
from sottovoce.stream.talk import PassageBegan, PassageEnded, TalkEvent
from sottovoce.stream.talk_engine import talker_path
from sottovoce.stream.talk_work import Manner, Moment, Reading
from sottovoce.stream.wire import Media
from support import fake_socket, tiny_talk, virtual_time
from support.fake_socket import FakeSocket, until
from support.tiny_talk import Speller

ENGINE = tiny_talk.engine(rows=2)


def run(
    texts: AsyncIterator[TextArrived], words: Speller, generation: Generation
) -> tuple[int, list[TalkEvent], FirstAudio]:
    """Samples, events and first sound of a text in virtual time."""
    events: list[TalkEvent] = []

    async def sink(frame: Frame[Pcm]) -> None:
        assert not generation.is_stale(frame.generation)

    async def main() -> tuple[int, list[TalkEvent], FirstAudio]:
        async with EngineLoop(ENGINE, asyncio.get_running_loop().time) as loop:
            virtual_time.hold_for(lambda: loop.waiting > 0)
            with loop.open() as session:
                context = Context(
                    session, words, Statistics(ENGINE.descriptor), generation, virtual_time.now_s, asyncio.sleep
                )
                n_samples = await speak(texts, sink, Speech(lead_ms=None), context, events.append)
            virtual_time.hold_for(lambda: True)  # the thread is about to end
        return n_samples, events, context.first_audio

    return virtual_time.run(main())


def spoken(events: list[TalkEvent]) -> list[str]:
    return [word.text for event in events if isinstance(event, PassageBegan) for word in event.words]


def test_a_row_that_is_opened_again_or_begins_afresh_has_forgotten_everything() -> None:
    row = ENGINE.open()
    (score,) = ENGINE.step([Work(row, "read", Reading("hˈɛlO", Manner(seed=3)), 0.0)])
    said = []
    for again in (False, True):
        for t in range(score.n_frames):
            said += ENGINE.step([Work(row, "talk", Moment(score, t), 0.0, fresh=again and t == 0)])
    ENGINE.close(row)
    assert ENGINE.open() == row
    said += [ENGINE.step([Work(row, "talk", Moment(score, t), 0.0)])[0] for t in range(score.n_frames)]
    ENGINE.close(row)
    first, second, third = np.split(np.concatenate(said), 3)
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)
    with pytest.raises(ValueError, match="there is no voice number 2"):
        ENGINE.step([Work(row, "read", Reading("ə", Manner(voice=2)), 0.0)])
    with pytest.raises(ValueError, match="is not open"):
        ENGINE.close(row)


def test_a_silence_behind_a_clause_is_as_long_at_any_speed() -> None:
    for speed in (0.5, 1.0, 3.0):
        (score,) = ENGINE.step([Work(0, "read", Reading("hˈI", Manner(speed=speed), least_pause_s=0.4), 0.0)])
        pause_s = (score.ends[-1] - score.ends[-2]) * score.slot_s
        assert 0.4 - 0.01 <= pause_s < 0.4 + 0.05


def test_there_is_a_talker_for_some_codecs_alone() -> None:
    with pytest.raises(WeightsError, match="no talker for the codec nothing"):
        talker_path("nothing")


def test_a_word_that_is_too_long_is_parts_that_are_its_text() -> None:
    word = Spoken("1234567890" * 4, " ".join(["wˈʌn"] * 40), 7, 47, "“", ".")
    parts = list(shortened(word, 60))
    assert "".join(part.text for part in parts) == word.text
    assert " ".join(part.phonemes for part in parts) == word.phonemes
    assert [part.end_char for part in parts[:-1]] == [part.start_char for part in parts[1:]]
    assert (parts[0].start_char, parts[-1].end_char) == (7, 47)
    assert all(len(part.phonemes) <= 60 for part in parts)
    assert [part.before for part in parts] == ["“", "", "", ""]
    assert [part.after for part in parts] == ["", "", "", "."]
    assert list(shortened(word, 200)) == [word]


def test_three_hundred_words_take_no_more_memory_than_fifty() -> None:
    """Text to code packets, in one breath. And the times hold at the end."""
    words = ("The old ship sails on, far out to sea. No one has seen it since. " * 20).split()
    traced: list[int] = []
    events: list[TalkEvent] = []
    n_packets = 0

    async def texts() -> AsyncIterator[TextArrived]:
        for word in words:
            yield TextArrived(word + " ", 0)
            traced.append(tracemalloc.get_traced_memory()[0])

    async def sink(packed: bytes) -> None:
        nonlocal n_packets
        n_packets += 1

    def tell(event: TalkEvent) -> None:
        events[:] = [*events, event][-2:]

    async def main() -> None:
        async with EngineLoop(ENGINE, asyncio.get_running_loop().time) as loop:
            virtual_time.hold_for(lambda: loop.waiting > 0)
            with loop.open() as session:
                statistics = Statistics(ENGINE.descriptor)
                context = Context(session, Speller(), statistics, clock=virtual_time.now_s)
                packer = Packer(ENGINE.descriptor, Dial(ENGINE.descriptor.books))
                await write(texts(), sink, packer, Speech(Manner(speed=4.0), lead_ms=None), context, tell)
                assert all(channel.high_water <= 1 for channel in statistics.channels())
            virtual_time.hold_for(lambda: True)  # the thread is about to end

    tracemalloc.start()
    try:
        virtual_time.run(main())
    finally:
        tracemalloc.stop()
    assert len(words) == len(traced) == 300
    assert max(traced[50:]) - min(traced[50:]) < 100_000  # a clause is some 30 kB while it is spoken
    began, ended = events
    assert isinstance(began, PassageBegan)
    assert isinstance(ended, PassageEnded)
    assert [word.text for word in began.words][-1] == words[-1]
    frame_ms = ENGINE.descriptor.frame_ms
    assert began.words[-1].end_ms <= ended.end_ms + ENGINE.descriptor.delay_samples / ENGINE.descriptor.rate_hz * 1000
    assert (
        0 <= n_packets * frame_ms - ended.end_ms <= 200 + frame_ms
    )  # the silence behind the text, and the word that it ends


class Slow(Speller):
    """Takes a second to read a clause."""

    async def words(self, text: str) -> list[Spoken]:
        await asyncio.sleep(1)
        return await super().words(text)


@pytest.mark.parametrize("cancel_s", [0.5, 1.5])
def test_cancelling_while_the_first_clause_is_read_says_nothing_of_it(cancel_s: float) -> None:
    generation = Generation()

    async def said() -> AsyncIterator[TextArrived]:
        """The word to cancel comes while the reader has a clause, and the next text at once."""
        cancelled = asyncio.Event()

        def cancel() -> None:
            generation.cancel()
            cancelled.set()

        asyncio.get_running_loop().call_later(cancel_s, cancel)
        yield TextArrived("Never said, not at all. Nor is this. ", 0)
        await cancelled.wait()
        yield TextArrived("Oh, I see.", 1, end=True)

    n_samples, events, first = run(said(), Slow(), generation)
    assert [event.number for event in events if event.generation == 0] == ([0, 0] if cancel_s > 1 else [])
    new = [event for event in events if event.generation == 1]
    assert spoken(new) == ["Oh,", "I", "see."]
    assert n_samples > 0
    assert first.parts_ms()["decode"] >= 0


def test_without_credit_a_cancel_is_heard_and_the_next_text_spoken_at_once() -> None:
    speaking = mode(Speakers(ENGINE.voices, {"en-US": Speller(), "en-GB": Speller()}, 1000))

    async def use(service: fake_socket.Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak", out=Format("pcm", "f32le"), words=True, lead_ms=300))
        for _ in range(2):  # nothing is played: what was written waits for credit
            socket.say(Text("This is never heard, and it goes on for a long while. " * 2))
            await asyncio.sleep(2)
            socket.say(Cancel())
        socket.say(Text("Oh, I see."))
        socket.say(TextEnd())

        async def played(heard: Media) -> None:
            socket.say(Credit(heard.generation, 1000 * (heard.time + heard.count) / TINY.rate_hz))

        socket.on_media = played
        await until(lambda: len(socket.of(Cancelled)) == 2)
        socket.say(End())
        await call
        new = [word.text for told in socket.of(Words) if told.generation == 2 for word in told.words]
        assert new == ["Oh,", "I", "see."]
        assert any(isinstance(m, Media) and m.generation == 2 and m.count for m in socket.sent)

    async def main(service: fake_socket.Service, _: FakeSocket, __: asyncio.Task[None]) -> None:
        service = dataclasses.replace(service, modes={"speak": speaking}, voices=("ann", "joe"))
        socket = FakeSocket()
        await use(service, socket, asyncio.create_task(fake_socket.connect(service, socket)))

    fake_socket.run(main, ENGINE)
