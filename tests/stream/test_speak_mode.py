"""The mode that speaks, from both ends of the wire: what is said, when, how much ahead, and what is left after a cancel."""

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sottovoce.models.config import TINY
from sottovoce.stream.client_messages import Cancel, Credit, End, Format, Start, Text, TextEnd, TextFlush, Update
from sottovoce.stream.first_audio import PARTS
from sottovoce.stream.modes import MODES
from sottovoce.stream.packet import unpack
from sottovoce.stream.server_messages import (
    Cancelled,
    Error,
    Limits,
    SegmentEnd,
    SegmentStart,
    Stats,
    Words,
)
from sottovoce.stream.speak_mode import mode
from sottovoce.stream.speakers import Speakers
from sottovoce.stream.wire import Kind, Media
from support import fake_socket, tiny_talk, virtual_time
from support.fake_socket import FakeSocket, until
from support.same import assert_same
from support.speaking import READERS

ENGINE = tiny_talk.engine(rows=2)
FLOAT = Format("pcm", "f32le")
FRAME_MS = 1000 * TINY.frame_samples / TINY.rate_hz
TEXT = "Good day, dear friend. It has left."


def end_ms(heard: Media) -> float:
    return 1000 * (heard.time + heard.count) / TINY.rate_hz


class Listener(FakeSocket):
    """Plays what it gets at once, unless told to stop at some time."""

    def __init__(self, stops_ms: float = float("inf")) -> None:
        super().__init__()
        self.stops_ms = stops_ms
        self.on_media = self._play

    async def _play(self, heard: Media) -> None:
        if heard.kind <= Kind.CODES:
            self.say(Credit(heard.generation, min(end_ms(heard), self.stops_ms)))

    def sound(self, generation: int = 0) -> np.ndarray:
        """Of a generation."""
        pieces = [m for m in self.sent if isinstance(m, Media) and m.kind == Kind.PCM and m.generation == generation]
        return np.frombuffer(b"".join(m.payload for m in pieces), "<f4")

    def error(self) -> Error:
        (error,) = self.of(Error)
        return error


def spoken(
    use: Callable[[Listener, asyncio.Task[None]], Coroutine[Any, Any, None]],
    limits: Limits | None = None,
    most_chars: int = 1000,
) -> None:
    """Run ``use`` with a client of a server that speaks, in virtual time; afterwards no row is taken."""

    async def main(service: fake_socket.Service, _: FakeSocket, __: asyncio.Task[None]) -> None:
        speakers = Speakers(ENGINE.voices, READERS, most_chars)
        service = dataclasses.replace(service, modes=MODES | {"speak": mode(speakers)}, voices=speakers.names)
        socket = Listener()
        call = asyncio.create_task(fake_socket.connect(service, socket))
        await use(socket, call)
        if not call.done():
            socket.leave()
        await call
        assert service.loop.rows_taken == 0

    fake_socket.run(main, ENGINE, limits)


@cache
def said(text: str, **start: Any) -> tuple[np.ndarray, Listener]:
    """A text in one piece, and all that came back."""
    kept = []

    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak", out=FLOAT, **start))
        socket.say(Text(text))
        socket.say(End())
        await call
        kept.append(socket)

    spoken(use)
    return kept[0].sound(), kept[0]


def test_a_text_is_told_as_it_is_spoken() -> None:
    sound, socket = said(TEXT, words=True)
    segments, ends = socket.of(SegmentStart), socket.of(SegmentEnd)
    assert "".join(told.text for told in segments) == TEXT
    words = [word for told in socket.of(Words) for word in told.words]
    assert [word.text for word in words] == TEXT.split()
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(words))
    assert [told.end_ms for told in ends[:-1]] == [told.start_ms for told in segments[1:]]
    assert ends[-1].end_ms <= 1000 * len(sound) / TINY.rate_hz < ends[-1].end_ms + 500
    assert socket.closed == 1000


def test_what_is_spoken_depends_on_voice_and_speed_alone() -> None:
    sound, _ = said(TEXT, words=True)
    assert_same(sound, said(TEXT, voice="ann", lead_ms=1000.0)[0])
    other, fast = said(TEXT, voice="joe")[0], said(TEXT, speed=2.0)[0]
    assert len(other) != len(sound) or (other != sound).any()
    assert len(fast) < 0.8 * len(sound)


def test_it_comes_at_another_rate_whole() -> None:
    kept = []

    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.on_media = None
        socket.say(Start("speak", out=Format("pcm", "f32le", 16000), lead_ms=2000.0))
        socket.say(Text("Oh, I see."))
        socket.say(End())
        await call
        kept.append(socket.sound())

    spoken(use)
    assert len(kept[0]) == round(len(said("Oh, I see.")[0]) * 16 / 24)


def test_no_more_is_sent_than_there_is_credit_for_and_nothing_is_dropped() -> None:
    whole, _ = said(TEXT, words=True)

    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.on_media = None
        socket.say(Start("speak", out=FLOAT, lead_ms=400.0))
        socket.say(Text(TEXT))
        socket.say(End())
        for played_ms in (0, 400, 400, 800):
            socket.say(Credit(0, played_ms))
            await asyncio.sleep(4)
            at_ms = 1000 * len(socket.sound()) / TINY.rate_hz
            assert played_ms + 400 - FRAME_MS < at_ms <= played_ms + 400
        socket.on_media = socket._play
        socket.say(Credit(0, 1200))
        await call
        assert_same(socket.sound(), whole)
        assert not [name for told in socket.of(Stats) for name in told.dropped if name.startswith("outbox")]

    spoken(use)


def test_a_cancel_tells_what_was_heard_and_nothing_old_follows() -> None:
    expected, _ = said("Oh, I see.")

    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.stops_ms = 900.0
        socket.say(Start("speak", out=FLOAT, words=True))
        socket.say(Text(TEXT))
        await until(lambda: len(socket.sound()) > 0.9 * TINY.rate_hz)
        words = [word for told in socket.of(Words) for word in told.words]
        assert words[2].end_ms < socket.stops_ms
        socket.say(Cancel(0, words[2].end_ms))
        socket.say(Text("Oh, "))
        socket.say(Text("I see."))
        await until(lambda: bool(socket.of(Cancelled)))
        told = socket.of(Cancelled)[0]
        credited = max([word.end_ms for word in words if word.end_ms <= told.played_ms])
        assert told.heard.split() == [word.text for word in words if word.end_ms <= credited]
        assert told.heard.startswith("Good day,")
        assert told.generated_ms >= told.sent_ms >= told.played_ms
        socket.stops_ms = float("inf")
        socket.say(TextEnd())
        socket.say(End())
        await call
        at = socket.sent.index(told)
        for message in socket.sent[at + 1 :]:
            assert getattr(message, "generation", 1) == 1, message
        assert_same(socket.sound(1), expected)
        assert [m.segment for m in socket.sent[at:] if isinstance(m, SegmentStart)] == [0]

    spoken(use)


def test_a_cancel_mid_word_many_times_and_before_anything_was_heard() -> None:
    expected, _ = said("Oh, I see.")

    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak", out=FLOAT, words=True))
        for generation in range(6):
            socket.say(Text("This sentence is never heard to its end, what"))
            socket.say(TextFlush())
            await asyncio.sleep(0.013 * generation)
            socket.say(Cancel(generation))
        socket.say(Text("Oh, I see."))
        socket.say(End())
        await call
        assert socket.of(Cancelled)[0].heard == ""
        assert_same(socket.sound(6), expected)
        at = socket.sent.index(socket.of(Cancelled)[-1])
        assert {m.generation for m in socket.sent[at + 1 :] if isinstance(m, Media | SegmentStart | SegmentEnd)} == {6}

    spoken(use)


def test_text_beyond_what_may_wait_ends_the_session() -> None:
    async def at_once(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak"))
        socket.say(Text("All of it. " * 1000))
        await call
        assert socket.error().code == "overrun"
        assert "4000" in socket.error().message
        assert socket.closed == 1008

    async def in_pieces(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.on_media = None  # it never plays
        socket.say(Start("speak"))
        for _ in range(500):
            socket.say(Text("All of it. "))
        await call
        assert socket.error().code == "overrun"

    async def too_many(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak"))
        socket.on_media = None  # it never plays
        for _ in range(100):
            socket.say(Text("All of it. "))
        for _ in range(6000):
            socket.say(TextFlush())
        await call
        assert socket.error().code == "overrun"
        assert "4096 messages" in socket.error().message

    for use in (at_once, in_pieces):
        spoken(use, most_chars=100_000)
    spoken(too_many, Limits(sessions=1, messages_per_s=1e6))


def test_text_that_was_cancelled_waits_no_more() -> None:
    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.on_media = None
        socket.say(Start("speak", out=FLOAT))
        for generation in range(5):
            socket.say(Text("ah, " * 240))
            socket.say(Cancel(generation))
        socket.on_media = socket._play
        socket.say(Text("Oh."))
        socket.say(End())
        await call
        assert not socket.of(Error)
        assert len(socket.sound(5))

    spoken(use, Limits(sessions=1, text_chars=1000))


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ([Start("speak", voice="bob")], "bad_message", "ann, joe"),
        ([Start("speak"), Text("x " * 600)], "unsupported", "longer than 1000"),
        ([Start("loopback"), Text("Hello.")], "bad_message", "mode speak"),
        ([Start("speak"), Media(Kind.PCM, 0, 0, 2, 0, bytes(4))], "bad_message", "not agreed on"),
        ([Start("speak"), End(), Text("late")], "bad_message", "after the end"),
        ([Start("speak", books=9)], "bad_message", "1 to 4"),
        (['{"type":"start","mode":"speak","speed":0}'], "bad_message", "0.25 to 4"),
        (['{"type":"start","mode":"speak","speed":"fast"}'], "bad_message", "number"),
        (['{"type":"start","mode":"speak"}', '{"type":"text","text":"\\ud800"}'], "bad_message", "text"),
        (['{"type":"start","mode":"speak"}', '{"type":"text"}'], "bad_message", "lacks text"),
    ],
)
def test_what_makes_no_sense_is_told(said: list[Any], code: str, words: str) -> None:
    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        for message in said:
            socket.say(message)
        await call
        assert socket.error().code == code
        assert words in socket.error().message

    spoken(use)


def test_nothing_to_say_is_said_at_once() -> None:
    for text in ("", "...", " \n ", "***", "\N{PILE OF POO}"):
        sound, socket = said(text)
        assert len(sound) == 0, text
        assert socket.closed == 1000


def test_codes_go_out_instead_of_sound() -> None:
    kept: list[Media] = []

    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak", out=Format("codes"), frames_per_packet=2, redundancy=1, books=3))
        socket.say(Text("Oh, I see."))
        socket.say(End())
        await call
        kept.extend(m for m in socket.sent if isinstance(m, Media) and m.kind == Kind.CODES)

    spoken(use)
    packets = [unpack(m.payload, 5) for m in kept]
    frames = sum(len(packet.codes) for packet in packets)
    assert frames * TINY.frame_samples == len(said("Oh, I see.")[0])
    assert {m.payload[1] >> 4 for m in kept} == {3}


def test_statistics_tell_what_the_first_sound_waited_for() -> None:
    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak", out=FLOAT))
        await asyncio.sleep(3)
        socket.say(Text("Oh, I see."))
        socket.say(TextEnd())
        await until(lambda: "talker" in socket.of(Stats)[-1].first_audio_ms)
        told = socket.of(Stats)[-1]
        assert {"queue", "talker", "decode", "network"} <= told.first_audio_ms.keys()
        assert told.first_audio_ms["queue"] < 1000

    spoken(use)


def test_the_wait_for_the_first_sound_ends_when_the_client_tells_that_it_came() -> None:
    async def use(socket: Listener, call: asyncio.Task[None]) -> None:
        moments_s: list[float] = []

        async def receive(heard: Media) -> None:
            if not moments_s:
                moments_s.append(virtual_time.now_s())
                await asyncio.sleep(0.013)  # the line
                socket.say(Credit(heard.generation, 0.0, buffered_ms=FRAME_MS))
                await asyncio.sleep(0.2)  # a player's reserve, and more
            socket.say(Credit(heard.generation, end_ms(heard)))

        socket.on_media = receive
        socket.say(Start("speak", out=FLOAT))
        socket.say(Credit(0, 0.0, buffered_ms=0.0))  # of nothing
        await asyncio.sleep(1)
        asked_s = virtual_time.now_s()
        socket.say(Text("Oh, I see."))
        socket.say(TextEnd())
        await until(lambda: "network" in socket.of(Stats)[-1].first_audio_ms)
        parts = socket.of(Stats)[-1].first_audio_ms
        assert parts["network"] == pytest.approx(13, abs=1)
        assert sum(parts[part] for part in PARTS) == pytest.approx(1000 * (moments_s[0] - asked_s) + 13, abs=1)

    spoken(use)


def test_books_are_turned_while_it_speaks_and_loss_is_refused() -> None:
    two, every = (said("Oh, I see.", books=books)[0] for books in (2, TINY.books))

    async def packets(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak", out=Format("codes"), lead_ms=400.0))
        socket.stops_ms = 200.0
        socket.say(Text(TEXT))
        await until(lambda: any(isinstance(m, Media) for m in socket.sent))
        socket.say(Update(books=2))
        await asyncio.sleep(1)
        socket.stops_ms = float("inf")
        socket.say(Credit(0, 400.0))
        socket.say(Update(loss=0.5, burst=2.0))
        socket.say(End())
        await call
        books = [m.payload[1] >> 4 for m in socket.sent if isinstance(m, Media) and m.kind == Kind.CODES]
        assert (books[0], books[-1]) == (TINY.books, 2)
        assert books == sorted(books, reverse=True)
        assert [(told.code, told.fatal) for told in socket.of(Error)] == [("unsupported", False)]
        assert socket.closed == 1000

    async def pcm(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak", out=FLOAT))
        socket.say(Update(books=2))
        socket.say(Text("Oh, I see."))
        socket.say(End())
        await call
        assert_same(socket.sound(), two)
        assert (socket.sound() != every).any()

    async def lossy(socket: Listener, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak", loss=0.1))
        await call
        assert socket.error().code == "unsupported"

    for use in (packets, pcm, lossy):
        spoken(use)
