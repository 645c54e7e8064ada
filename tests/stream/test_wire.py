"""The WebSocket's messages: golden bytes stay, everything comes back, and what strangers send raises one error or none.

The files in ``golden/wire`` are there for other languages too: ``NAME.json`` is a control message as it goes over the wire;
``NAME.hex`` is a media message, and the ``.json`` beside it the fields that it holds.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream import messages, wire
from sottovoce.stream.client_messages import (
    Cancel,
    Credit,
    End,
    Format,
    Ping,
    Start,
    Text,
    TextEnd,
    TextFlush,
    Update,
)
from sottovoce.stream.engine import ECHO
from sottovoce.stream.errors import ProtocolError
from sottovoce.stream.server_messages import (
    Audio,
    Cancelled,
    Codec,
    Delay,
    Error,
    Hello,
    Level,
    Limits,
    Pong,
    SegmentEnd,
    SegmentStart,
    Started,
    Stats,
    Taken,
    Word,
    Words,
)
from sottovoce.stream.wire import Flag, Kind, Media

GOLDEN = Path(__file__).parent.parent / "golden" / "wire"

FROM_CLIENT: dict[str, messages.ClientMessage] = {
    "start": Start("loopback"),
    "start_everything": Start(
        "speak",
        Format("codes"),
        Format("pcm", "f32le", 48000),
        voice="anna",
        books=4,
        frames_per_packet=2,
        redundancy=1,
        loss=0.25,
        burst=3.0,
        lead_ms=500.0,
        live=False,
        words=True,
        view=True,
        model_hash="000000000000",
    ),
    "text": Text('He said: "naïve \u2026\n'),
    "text_flush": TextFlush(),
    "text_end": TextEnd(),
    "credit": Credit(3, 1240.5, 80.0, 2),
    "cancel": Cancel(3, 1240.5),
    "cancel_present": Cancel(),
    "update": Update(books=2, loss=0.1, burst=4.0, view=False),
    "ping": Ping(1700000000000.5),
    "end": End(),
}
FROM_SERVER: dict[str, messages.ServerMessage] = {
    "hello": Hello(
        "5f3c", Audio((16000, 48000), ("s16le", "f32le")), Codec.of(ECHO), ("loopback",), (), Limits(sessions=4)
    ),
    "started": Started(0, 44.5, 300.0),
    "taken": Taken(512.0),
    "segment_start": SegmentStart(1, 0, 0.0, "Hello world."),
    "words": Words(1, 0, (Word("Hello", 0.0, 310.5), Word("world.", 310.5, 700.0))),
    "segment_end": SegmentEnd(1, 0, 720.0),
    "cancelled": Cancelled(2, 900.0, 720.0, 400.0, "Hello"),
    "stats": Stats(
        generation=0,
        books=4,
        codes_bps=1250.0,
        wire_bps=2500.0,
        age=Delay(20.5, 31.0, 40.25),
        stages={"mel": Delay(0.5, 0.75, 2.0), "encode": Delay(1.5, 2.0, 3.0)},
        level_in=Level(-30.5, -12.0),
        level_out=Level(-31.0, -120.0),
        used=(0.5, 0.25),
        perplexity=(100.5, 12.0),
        packets={"sent": 25, "lost": 1, "repaired": 0, "concealed": 1, "late": 0},
        dropped={"captured.overflow": 2},
        generated_ms=1000.0,
        sent_ms=960.0,
        played_ms=800.0,
        buffered_ms=160.0,
        waiting_ms=40.0,
        underruns=1,
        worst_underrun_ms=12.5,
        first_audio_ms={"queue": 0.25, "decode": 30.5, "network": 60.0},
    ),
    "pong": Pong(1700000000000.5),
    "error": Error("no_slot", "all 4 rows of the engine are taken", retry_ms=1000.0),
    "error_not_fatal": Error("unsupported", "sound that waits cannot be cancelled", fatal=False),
}
MEDIA = {
    "media_pcm": Media(Kind.PCM, 0x1234, 1, 3, 0x01020304, b"\x00\x80\xff\x7f\x01\x00", Flag.FIRST),
    "media_pcm_float": Media(Kind.PCM, 0xFFFF, 0xFFFF, 1, 0xFFFFFFFF, b"\x00\x00\x00\xbf", Flag.DISCONTINUITY),
    "media_codes": Media(
        Kind.CODES, 7, 2, 1, 960, bytes.fromhex("00803412010000100bff80005018 07"), Flag.CONCEALED | Flag.LAST
    ),
    "media_last": Media(Kind.PCM, 8, 2, 0, 1920, b"", Flag.LAST),
    "media_mel_in": Media(Kind.MEL_IN, 1, 0, 2, 0, bytes([0, 1, 254, 255])),
    "media_codes_heard": Media(Kind.CODES_HEARD, 1, 0, 1, 0, b"\x00\x02\xff\xff"),
    "media_mel_out": Media(Kind.MEL_OUT, 1, 0, 1, 480, bytes([7, 8])),
}


def golden() -> dict[str, str]:
    """What each file holds."""
    files = {f"{name}.json": messages.encode(message) for name, message in {**FROM_CLIENT, **FROM_SERVER}.items()}
    for name, media in MEDIA.items():
        fields = asdict(media) | {"payload": media.payload.hex(), "flags": int(media.flags), "kind": int(media.kind)}
        files |= {f"{name}.hex": media.pack().hex(" "), f"{name}.json": json.dumps(fields)}
    return files


@pytest.mark.parametrize("name", golden())
def test_golden_bytes_do_not_change(name: str) -> None:
    assert (GOLDEN / name).read_text() == golden()[name] + "\n"


def test_every_kind_of_message_has_golden_bytes() -> None:
    assert {message.TYPE for message in FROM_CLIENT.values()} == set(messages.CLIENT_MESSAGES)
    assert {message.TYPE for message in FROM_SERVER.values()} | {"end"} == set(messages.SERVER_MESSAGES)
    assert {media.kind for media in MEDIA.values()} == set(Kind)
    assert {path.name for path in GOLDEN.iterdir()} == set(golden())


@pytest.mark.parametrize("message", FROM_CLIENT.values(), ids=FROM_CLIENT)
def test_what_a_client_says_is_heard(message: messages.ClientMessage) -> None:
    assert messages.from_client(messages.encode(message)) == message


@pytest.mark.parametrize("message", FROM_SERVER.values(), ids=FROM_SERVER)
def test_what_a_server_says_is_heard(message: messages.ServerMessage) -> None:
    assert messages.from_server(messages.encode(message)) == message


@pytest.mark.parametrize("media", MEDIA.values(), ids=MEDIA)
def test_media_come_back(media: Media) -> None:
    assert wire.unpack(media.pack()) == media


def test_unknown_types_kinds_flags_and_fields_are_ignored() -> None:
    assert messages.from_client('{"type":"dance","x":[1]}') is None
    assert messages.from_client('{"type":"ping","t":2,"colour":{"deep":[null]}}') == Ping(2.0)
    media = wire.unpack(b"\x63\xf1" + bytes(10) + b"rest")
    assert (media.kind, media.flags, media.payload) == (0x63, Flag.FIRST, b"rest")


def test_a_codec_becomes_the_descriptor_that_it_was_made_of() -> None:
    assert Codec.of(ECHO).descriptor() == ECHO


BAD = {
    "": "JSON",
    "nonsense": "JSON",
    "[" * 50_000: "JSON",
    '{"type":"ping","t":' + "9" * 5000 + "}": "JSON",
    "3": "object",
    "[]": "object",
    "{}": "type",
    '{"type":7}': "type",
    '{"type":null}': "type",
    '{"type":"start"}': "start lacks mode",
    '{"type":"start","mode":"shout"}': "start.mode must be one of",
    '{"type":"start","mode":["loopback"]}': "start.mode",
    '{"type":"start","mode":"loopback","in":7}': "start.in must be an object",
    '{"type":"start","mode":"loopback","in":{"kind":"mp3"}}': "start.in.kind",
    '{"type":"start","mode":"loopback","out":{"rate_hz":0}}': "start.out.rate_hz must be 1 to",
    '{"type":"start","mode":"loopback","out":{"rate_hz":44100.5}}': "whole number",
    '{"type":"start","mode":"loopback","live":1}': "true or false",
    '{"type":"start","mode":"loopback","books":0}': "start.books must be 1 to 15",
    '{"type":"start","mode":"loopback","books":true}': "whole number",
    '{"type":"start","mode":"loopback","loss":1.5}': "start.loss must be 0 to 1",
    '{"type":"start","mode":"loopback","voice":"' + "v" * 201 + '"}': "at most 200",
    '{"type":"text"}': "text lacks text",
    '{"type":"text","text":"\\ud800"}': "text.text must be text",
    '{"type":"text","text":"' + "x" * 70_000 + '"}': "at most 65536",
    '{"type":"credit","generation":0}': "lacks played_ms",
    '{"type":"credit","generation":65536,"played_ms":0}': "generation",
    '{"type":"credit","generation":0,"played_ms":-1}': "played_ms",
    '{"type":"credit","generation":0,"played_ms":"1"}': "must be a number",
    '{"type":"credit","generation":0,"played_ms":1e999}': "must be a number",
    '{"type":"credit","generation":0,"played_ms":NaN}': "number that is none",
    '{"type":"ping","t":-Infinity}': "number that is none",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:40])
def test_what_is_malformed_is_refused_with_its_reason(text: str) -> None:
    with pytest.raises(ProtocolError, match=BAD[text]) as raised:
        messages.from_client(text)
    assert raised.value.code == "bad_message"
    assert len(str(raised.value)) < 150  # nothing of what came is repeated


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x)).map(str))
def test_no_text_raises_anything_else(text: str) -> None:
    refused_or_read(text)


KEYS = ["type", "mode", "in", "out", "kind", "rate_hz", "books", "played_ms", "generation", "t", "text", "live", "view"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*messages.CLIENT_MESSAGES, "pcm"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.sampled_from(list(messages.CLIENT_MESSAGES)))
def test_no_object_raises_anything_else(fields: dict[str, Any], kind: str) -> None:
    refused_or_read(json.dumps(fields | {"type": kind}))


def refused_or_read(text: str) -> None:
    try:
        message = messages.from_client(text)
    except ProtocolError:
        pass  # any other error fails the test
    else:
        assert message is None or messages.from_client(messages.encode(message)) == message


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        media = wire.unpack(data)
    except ProtocolError:
        assert len(data) < wire.HEADER.size
    else:
        assert len(media.payload) == len(data) - wire.HEADER.size


def test_a_media_message_has_a_longest() -> None:
    assert wire.unpack(bytes(wire.MOST_BYTES)).payload
    with pytest.raises(ProtocolError, match="at most"):
        wire.unpack(bytes(wire.MOST_BYTES + 1))


def test_what_does_not_fit_into_the_header_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Media(Kind.PCM, 0x10000, 0, 0, 0).pack()


@pytest.mark.parametrize(
    ("number", "current", "expected"), [(5, 5, 0), (4, 5, 1), (0xFFFF, 0, 1), (0, 0xFFFF, -1), (9, 5, -4)]
)
def test_numbers_are_compared_the_short_way_round(number: int, current: int, expected: int) -> None:
    assert wire.behind(number, current) == expected
