"""The rules of a session: whatever a client sends, in any order, nothing is raised, and it never gets more than its credit."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.stream import messages, wire
from sottovoce.stream.client_messages import Cancel, Credit, End, Format, Ping, Start, Text, TextEnd, TextFlush, Update
from sottovoce.stream.engine import ECHO
from sottovoce.stream.generation import Generation
from sottovoce.stream.messages import ClientMessage
from sottovoce.stream.protocol import Session
from sottovoce.stream.server_messages import Audio, Cancelled, Codec, Error, Hello, Limits, Pong, Started, Taken
from sottovoce.stream.session_events import (
    Closed,
    DialTurned,
    Event,
    GenerationCancelled,
    MediaArrived,
    SoundEnded,
    StartAsked,
    TextArrived,
)
from sottovoce.stream.wire import Flag, Kind, Media

LIMITS = Limits(sessions=1)
FRAME_MS = ECHO.frame_ms
N = ECHO.frame_samples


def hello(modes: tuple[str, ...] = ("loopback",), limits: Limits = LIMITS) -> Hello:
    return Hello("s", Audio((16000, 48000), ("s16le", "f32le")), Codec.of(ECHO), modes, (), limits)


def session(start: Start | None = None, **how: object) -> Session:
    """One that has started, if ``start`` is given."""
    made = Session(hello(**how), 0.0)  # type: ignore[arg-type]
    drain(made)
    if start is not None:
        assert say(made, start) == [StartAsked(start)]
        made.accept(44.5, 0.0)
        assert isinstance(messages.from_server(str(made.next_to_send(0.0))), Started)
    return made


def say(to: Session, message: ClientMessage, now_s: float = 0.0) -> list[Event]:
    return to.receive(messages.encode(message), now_s)


def sound(seq: int = 0, generation: int = 0, n: int = N) -> bytes:
    return Media(Kind.PCM, seq, generation, n, seq * n, bytes(2 * n)).pack()


def offer(to: Session, index: int, generation: int = 0, now_s: float = 0.0) -> bool:
    """One frame of sound on its way out."""
    media = Media(Kind.PCM, 0, generation & 0xFFFF, N, index * N, bytes(2 * N), Flag.FIRST if not index else Flag(0))
    return to.offer(media, index * FRAME_MS, (index + 1) * FRAME_MS, generation, now_s)


def drain(of: Session, now_s: float = 0.0) -> list[messages.ServerMessage | Media]:
    """Everything that may be sent now."""
    sent: list[messages.ServerMessage | Media] = []
    while (message := of.next_to_send(now_s)) is not None:
        known = wire.unpack(message) if isinstance(message, bytes) else messages.from_server(message)
        assert known is not None
        sent.append(known)
    return sent


def refusal(of: Session) -> Error:
    """The error that was the last message."""
    error = drain(of)[-1]
    assert isinstance(error, Error)
    assert error.fatal
    assert of.close_code == messages.CLOSE_CODES[error.code]
    return error


# ---- the order of things -----------------------------------------------------------------------------------------


def test_the_server_speaks_first() -> None:
    assert drain(Session(hello(), 0.0)) == [hello()]


def test_a_session_from_start_to_end() -> None:
    talk = session(Start("loopback"))
    media = wire.unpack(sound())
    assert say(talk, Ping(5.0)) == []
    assert talk.receive(sound(), 0.1) == [MediaArrived(media, 0, FRAME_MS)]
    assert offer(talk, 0)
    assert say(talk, Update(books=2)) == [DialTurned(Update(books=2))]
    assert say(talk, End()) == [SoundEnded()]
    talk.finish()
    pong, piece, end = drain(talk)
    assert pong == Pong(5.0)
    assert isinstance(piece, Media)
    assert piece.flags == Flag.FIRST
    assert end == End()
    assert (talk.close_code, talk.ended_by) == (1000, "end")


def test_an_end_before_a_start_is_a_goodbye() -> None:
    talk = session()
    assert say(talk, End()) == [Closed("end")]
    assert talk.close_code == 1000


def test_a_client_that_is_gone_is_told_nothing() -> None:
    talk = session(Start("loopback"))
    offer(talk, 0)
    assert talk.gone() == [Closed("gone")]
    assert drain(talk) == []
    assert not offer(talk, 1)


@pytest.mark.parametrize(
    ("start", "code", "words"),
    [
        (Start("speak"), "unsupported", "cannot speak; it can loopback"),
        (Start("room"), "unsupported", "cannot room"),
        (Start("loopback", books=9), "bad_message", "1 to 8"),
        (Start("loopback", Format(rate_hz=12345)), "bad_message", "start.in.rate_hz"),
        (Start("loopback", out=Format(rate_hz=12345)), "bad_message", "start.out.rate_hz"),
        (Start("loopback", Format("codes"), Format("codes")), "unsupported", "nothing to do"),
        (Start("loopback", Format("codes")), "bad_message", "model_hash"),
        (Start("loopback", Format("codes"), model_hash="abc"), "model_mismatch", "echo 000000000000"),
        (Start("loopback", out=Format("codes"), loss=0.5), "unsupported", "loss"),
    ],
)
def test_a_start_that_cannot_be_is_refused_with_its_reason(start: Start, code: str, words: str) -> None:
    talk = session()
    assert say(talk, start) == [Closed(code)]
    error = refusal(talk)
    assert error.code == code
    assert words in error.message


@pytest.mark.parametrize(
    "message",
    [
        sound(),
        sound()[:-1],
        b"",
        b"short",
        bytes(wire.MOST_BYTES + 1),
        messages.encode(Credit(0, 1.0)),
        messages.encode(Cancel()),
        messages.encode(Text("hello")),
        "{",
        "\ud800",
    ],
)
def test_nothing_but_a_start_may_come_first(message: str | bytes) -> None:
    talk = session()
    assert talk.receive(message, 0.0) == [Closed("bad_message")]
    assert refusal(talk).code == "bad_message"
    assert talk.receive(sound(), 0.0) == []


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (messages.encode(Start("loopback")), "starts once"),
        (Media(Kind.PCM, 0, 0, 3, 0, bytes(7)).pack(), "3 samples have 6 bytes, not 7"),
        (Media(Kind.CODES, 0, 0, 1, 0, bytes(9)).pack(), "kind 2 were not agreed on"),
        (Media(Kind.MEL_IN, 0, 0, 1, 0, bytes(9)).pack(), "kind 3 were not agreed on"),
        (sound(generation=1), "generation that has not begun"),
        (messages.encode(Credit(1, 0.0)), "credit for a generation that has not begun"),
        (messages.encode(Cancel(1)), "cancel of a generation that has not begun"),
        (messages.encode(Update(books=9)), "1 to 8"),
        (messages.encode(Text("hello")), "text is for mode speak"),
    ],
)
def test_what_breaks_the_rules_ends_the_session(message: str | bytes, words: str) -> None:
    talk = session(Start("loopback"))
    assert talk.receive(message, 0.0) == [Closed("bad_message")]
    assert words in refusal(talk).message


def test_media_after_the_end_break_the_rules_and_credit_does_not() -> None:
    talk = session(Start("loopback"))
    say(talk, End())
    assert say(talk, Credit(0, 0.0)) == []
    assert talk.receive(sound(), 0.0) == [Closed("bad_message")]


def test_what_a_later_version_may_say_is_ignored() -> None:
    talk = session(Start("loopback"))
    assert talk.receive('{"type":"dance"}', 0.0) == []
    assert talk.receive(Media(77, 0, 9, 0, 0, b"x").pack(), 0.0) == []
    assert talk.ended_by is None


def test_text_is_handed_on_where_somebody_can_speak() -> None:
    talk = session(Start("speak"), modes=("loopback", "speak"))
    talk.heard = lambda played_ms: f"heard until {played_ms:g}"
    assert say(talk, Text("Hel")) == [TextArrived("Hel", 0)]
    assert say(talk, TextFlush()) == [TextArrived(None, 0)]
    assert say(talk, TextEnd()) == [TextArrived(None, 0, end=True)]
    offer(talk, 0)
    drain(talk)
    assert say(talk, Cancel(0, 20.0)) == [GenerationCancelled()]
    assert drain(talk) == [Cancelled(1, FRAME_MS, FRAME_MS, 20.0, "heard until 20")]
    assert talk.receive(sound(), 0.0) == [Closed("bad_message")]


# ---- credit ------------------------------------------------------------------------------------------------------


def test_sound_waits_for_credit() -> None:
    talk = session(Start("loopback", lead_ms=128.0, live=False))
    for i in range(8):
        offer(talk, i)
    assert len(drain(talk)) == 4
    say(talk, Credit(0, 2 * FRAME_MS))
    assert len(drain(talk)) == 2
    say(talk, Credit(0, 1 * FRAME_MS))  # it never goes back
    assert drain(talk) == []


def test_credit_counts_for_no_more_than_was_sent() -> None:
    talk = session(Start("loopback", lead_ms=128.0, live=False))
    for i in range(20):
        offer(talk, i)
    assert len(drain(talk)) == 4
    say(talk, Credit(0, 1e9))
    assert len(drain(talk)) == 4


def test_credit_of_a_cancelled_generation_grants_nothing() -> None:
    talk = session(Start("loopback", lead_ms=128.0))
    for i in range(4):
        offer(talk, i)
    drain(talk)
    say(talk, Cancel())
    say(talk, Credit(0, 4 * FRAME_MS))
    for i in range(20):
        offer(talk, i, generation=1)
    assert sum(isinstance(sent, Media) for sent in drain(talk)) == 4


def test_live_sound_drops_its_oldest_and_says_so() -> None:
    talk = session(Start("loopback", lead_ms=128.0))
    for i in range(20):
        offer(talk, i)
    sent = [media for media in drain(talk) if isinstance(media, Media)]
    assert [media.time // N for media in sent] == [16, 17, 18, 19]
    assert [media.flags for media in sent] == [Flag.DISCONTINUITY, 0, 0, 0]
    assert [media.seq for media in sent] == [0, 1, 2, 3]
    assert talk.outbox is not None
    assert talk.outbox.dropped["slow"] == 16
    offer(talk, 20)
    assert drain(talk) == []
    say(talk, Credit(0, 17 * FRAME_MS))
    assert len(drain(talk)) == 1


def test_sound_that_waits_is_never_dropped() -> None:
    talk = session(Start("loopback", lead_ms=128.0, live=False))
    assert talk.outbox is not None
    n = 0
    while talk.outbox.has_room:
        offer(talk, n)
        n += 1
    assert n == 4
    seen = 0
    for i in range(50):
        seen += len(drain(talk))
        say(talk, Credit(0, seen * FRAME_MS))
        offer(talk, n + i)
    assert not talk.outbox.dropped


@pytest.mark.parametrize(
    ("asked_ms", "packets", "given_ms"), [(0.0, 1, 100.0), (300.0, 1, 300.0), (9e3, 1, 2e3), (300.0, 10, 640.0)]
)
def test_the_lead_is_narrowed_to_what_can_be(asked_ms: float, packets: int, given_ms: float) -> None:
    talk = session()
    say(talk, Start("loopback", lead_ms=asked_ms, frames_per_packet=packets))
    talk.accept(44.5, 0.0)
    assert drain(talk) == [Started(0, 44.5, given_ms)]


def test_a_client_may_send_so_much_beyond_what_was_taken() -> None:
    talk = session(Start("loopback", live=False), limits=replace(LIMITS, ahead_ms=320.0))
    for i in range(10):
        assert talk.receive(sound(i), 0.0)
    talk.took(FRAME_MS)
    assert drain(talk) == []  # the word comes in larger steps
    talk.took(FRAME_MS)
    assert drain(talk) == [Taken(2 * FRAME_MS)]
    for i in range(2):
        assert isinstance(talk.receive(sound(10 + i), 0.0)[0], MediaArrived)
    assert talk.receive(sound(12), 0.0) == [Closed("overrun")]


def test_live_sound_may_come_at_any_rate() -> None:
    talk = session(Start("loopback"))
    for i in range(1000):
        assert isinstance(talk.receive(sound(i & 0xFFFF), 0.0)[0], MediaArrived)


# ---- generations -------------------------------------------------------------------------------------------------


def test_a_cancel_leaves_nothing_old() -> None:
    talk = session(Start("loopback", lead_ms=128.0))
    for i in range(3):
        offer(talk, i)
    assert len(drain(talk)) == 3
    offer(talk, 3)
    assert say(talk, Cancel(0, 40.0)) == [GenerationCancelled()]
    assert not offer(talk, 4)
    assert drain(talk) == [Cancelled(1, 4 * FRAME_MS, 3 * FRAME_MS, 40.0)]
    assert talk.receive(sound(0), 0.0) == []  # was on its way
    assert isinstance(talk.receive(sound(1, generation=1), 0.0)[0], MediaArrived)
    assert offer(talk, 0, generation=1)
    (media,) = drain(talk)
    assert isinstance(media, Media)
    assert (media.generation, media.time, media.flags) == (1, 0, Flag.FIRST)


def test_a_generation_is_cancelled_once() -> None:
    talk = session(Start("loopback"))
    assert say(talk, Cancel(0)) == [GenerationCancelled()]
    assert say(talk, Cancel(0)) == []
    assert talk.generation.current == 1


def test_generations_go_on_after_the_last_number() -> None:
    talk = session(Start("loopback"))
    talk.generation = Generation(0xFFFE)
    for number in (0xFFFF, 0, 1, 2, 3):
        assert say(talk, Cancel()) == [GenerationCancelled()]
        (cancelled,) = drain(talk)
        assert isinstance(cancelled, Cancelled)
        assert cancelled.generation == number
    assert talk.receive(sound(generation=2), 0.0) == []
    assert isinstance(talk.receive(sound(generation=3), 0.0)[0], MediaArrived)
    assert talk.receive(sound(generation=4), 0.0) == [Closed("bad_message")]


def test_sound_that_waits_is_not_cancelled_and_the_session_goes_on() -> None:
    talk = session(Start("loopback", live=False))
    assert say(talk, Cancel()) == []
    (error,) = drain(talk)
    assert isinstance(error, Error)
    assert not error.fatal
    assert talk.ended_by is None


# ---- time --------------------------------------------------------------------------------------------------------


def test_a_client_that_says_nothing_is_sent_away() -> None:
    talk = session()
    assert talk.deadline_s() == 60.0
    talk.receive(messages.encode(Ping()), 50.0)
    assert talk.tick(109.9) == []
    assert talk.tick(110.0) == [Closed("idle")]
    assert refusal(talk).code == "idle"
    assert talk.close_code == 1000


def test_a_client_that_plays_nothing_is_slow() -> None:
    talk = session(Start("loopback", lead_ms=128.0, live=False))
    for i in range(5):
        offer(talk, i, now_s=3.0)
    assert len(drain(talk, 3.0)) == 4
    assert talk.deadline_s() == 13.0
    talk.receive(messages.encode(Credit(0, 0.0)), 12.0)  # no news
    assert talk.tick(12.9) == []
    assert talk.tick(13.0) == [Closed("slow")]
    assert refusal(talk).code == "slow"


def test_a_client_that_plays_on_is_not_slow_and_neither_is_one_that_has_everything() -> None:
    talk = session(Start("loopback", lead_ms=128.0, live=False))
    for i in range(5):
        offer(talk, i)
    drain(talk)
    say(talk, Credit(0, 1.0), 9.0)
    assert talk.tick(10.0) == []
    say(talk, Credit(0, FRAME_MS), 18.0)
    assert len(drain(talk, 18.0)) == 1
    assert talk.tick(40.0) == []
    offer(talk, 5, now_s=50.0)
    assert talk.tick(59.0) == []


def test_who_says_too_much_is_heard_slowly() -> None:
    talk = session(Start("loopback"))
    pauses = [talk.pause_s(1.0) for _ in range(500)]
    assert pauses[:400] == [0.0] * 400
    assert pauses[-1] == pytest.approx(100 / LIMITS.messages_per_s)
    assert talk.pause_s(1.0 + 1.0) == 0.0


# ---- any order ---------------------------------------------------------------------------------------------------

CONTROL = st.one_of(
    st.builds(Credit, st.integers(0, 3), st.floats(0, 1000), st.floats(0, 100), st.integers(0, 3)),
    st.builds(Cancel, st.none() | st.integers(0, 3), st.none() | st.floats(0, 1000)),
    st.builds(Update, st.none() | st.integers(1, 8), st.none() | st.floats(0, 1)),
    st.builds(Ping, st.floats(-1e9, 1e9)),
    st.builds(Text, st.text(max_size=5)),
    st.sampled_from([TextFlush(), TextEnd(), End()]),
    st.builds(Start, st.sampled_from(["loopback", "speak"])),
)
MESSAGES = st.one_of(
    CONTROL.map(messages.encode),
    st.builds(sound, st.integers(0, 9), st.integers(0, 3), st.sampled_from([0, 1, N])),
    st.binary(max_size=30),
    st.text(max_size=20),
)
DOINGS = st.one_of(MESSAGES, st.sampled_from(["offer", "take", "tick", "finish"]))
STARTS = st.builds(Start, st.just("loopback"), live=st.booleans(), lead_ms=st.floats(0, 400))


@settings(max_examples=200)
@given(st.none() | STARTS, st.lists(DOINGS, max_size=60))
def test_no_order_of_things_breaks_the_rules(start: Start | None, doings: list[str | bytes]) -> None:
    talk = session(start)
    cancelled = 0  # the newest generation that the client was told of
    made = unplayed_ms = 0.0
    played_ms, ahead = 0.0, []  # what the client granted, and what it holds beyond that
    now_s, over = 0.0, False
    for doing in doings:
        now_s += 0.5
        if doing == "offer":
            if offer(talk, int(made), talk.generation.current, now_s):
                made += 1
        elif doing == "tick":
            talk.tick(now_s)
        elif doing == "finish":
            if start is not None:
                talk.finish()
        elif doing == "take":
            for sent in drain(talk, now_s):
                assert not over
                if isinstance(sent, Cancelled):
                    cancelled = sent.generation
                    played_ms, ahead = 0.0, []
                elif isinstance(sent, Media):
                    assert sent.generation == cancelled
                    start_ms = sent.time / ECHO.rate_hz * 1000
                    ahead.append((start_ms, start_ms + FRAME_MS))
                    assert talk.outbox is not None
                    unplayed_ms = sum(max(end - max(begin, played_ms), 0) for begin, end in ahead)
                    assert unplayed_ms <= talk.outbox.lead_ms + 1e-6
                elif isinstance(sent, End) or (isinstance(sent, Error) and sent.fatal):
                    over = True
        else:
            before = talk.generation.current
            talk.receive(doing, now_s)
            if talk.generation.current != before:
                made = 0.0
            if talk.outbox is not None and talk.generation.current == cancelled:
                played_ms = talk.outbox.played_ms
    drain(talk, now_s)
    if talk.ended_by is not None:
        assert talk.close_code in {1000, *messages.CLOSE_CODES.values()}
        assert talk.receive(sound(), now_s) == talk.tick(now_s + 1e6) == talk.gone() == []
