"""Text written into a WebSocket as ElevenLabs has it, by its stock client and by hand."""

import asyncio
import base64
import io
import json
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from sottovoce.stream.call import Service
from sottovoce.stream.character_times import alignment
from sottovoce.stream.elevenlabs import _Conversation
from sottovoce.stream.guard import Rules
from sottovoce.stream.json_line import JsonLine
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.metrics import Metrics
from sottovoce.stream.server import ServerOptions
from sottovoce.stream.server_messages import Limits
from sottovoce.stream.speakers import Speakers
from sottovoce.stream.talk import PassageBegan, WordTime
from support import tiny_talk
from support.same import assert_same
from support.serving import health, until_free
from support.speaking import READERS, speaking

TOKEN = "s3cret-token"
SHORT = "Oh, I see."
LONG = "Oh, I see. " * 8
PCM = "?output_format=pcm_24000"


def served(use: Callable[[ElevenLabs, str], None], **options: Any) -> None:
    """Run ``use``, in a thread, with a client of a server that speaks; afterwards no row is taken."""

    async def main() -> None:
        async with speaking(**options) as place:
            with httpx.Client(timeout=60) as line:
                client = ElevenLabs(base_url=f"http://{place}", api_key=TOKEN, httpx_client=line)
                client.text_to_speech._ws_base_url = f"ws://{place}"  # it knows wss only
                await asyncio.to_thread(use, client, place)
            await until_free(place)

    asyncio.run(main())


def written(*pieces: str) -> Iterator[str]:
    yield from pieces


def test_the_stock_client_hears_the_same_over_http_and_while_it_writes() -> None:
    def use(client: ElevenLabs, place: str) -> None:
        asked: Any = {"voice_id": "joe", "output_format": "pcm_24000"}
        whole = b"".join(client.text_to_speech.stream(text="Oh, I see. ", **asked))
        assert len(whole) > 24_000 * 0.3
        spoken = client.text_to_speech.convert_realtime(text=written("Oh, I", " se", "e."), **asked)
        assert_same(b"".join(spoken), whole)
        fast = {**asked, "voice_settings": VoiceSettings(speed=2.0)}
        assert len(b"".join(client.text_to_speech.stream(text="Oh, I see. ", **fast))) < 0.8 * len(whole)
        other = b"".join(client.text_to_speech.stream(text="Oh, I see. ", seed=4294967295, **asked))
        assert other != whole
        assert_same(other, b"".join(client.text_to_speech.stream(text="Oh, I see. ", seed=4294967295, **asked)))
        low = b"".join(client.text_to_speech.stream(text="Oh, I see. ", voice_id="joe", output_format="pcm_16000"))
        assert len(low) == round(len(whole) / 2 * 16 / 24) * 2
        assert (
            b"".join(client.text_to_speech.convert(text=SHORT, voice_id="joe", output_format="wav_24000"))[:4]
            == b"RIFF"
        )

    served(use, options=ServerOptions(rules=Rules(token=TOKEN)))


@pytest.mark.parametrize(
    ("form", "rate_hz", "bytes_per_s"),
    [
        ("mp3_44100_128", 44_100, 16_000),
        ("mp3_22050_32", 22_050, 4_000),
        ("mp3_44100_32", 44_100, 4_000),
        (None, 44_100, 16_000),
    ],
)
def test_mp3_is_what_clients_get_that_ask_for_nothing(form: str | None, rate_hz: int, bytes_per_s: int) -> None:
    def use(client: ElevenLabs, place: str) -> None:
        asked: Any = {"voice_id": "joe"} | ({} if form is None else {"output_format": form})
        data = b"".join(client.text_to_speech.stream(text=LONG, **asked))
        pcm, heard_hz = soundfile.read(io.BytesIO(data), dtype="float32")
        assert heard_hz == rate_hz
        plain = b"".join(client.text_to_speech.stream(text=LONG, voice_id="joe", output_format="pcm_24000"))
        length_s = len(plain) / 48_000
        assert 0 <= len(pcm) / rate_hz - length_s < 0.15
        assert abs(len(data) / length_s / bytes_per_s - 1) < 0.2
        again = b"".join(client.text_to_speech.convert_realtime(text=written(LONG), **asked))
        assert_same(soundfile.read(io.BytesIO(again), dtype="float32")[0], pcm, tolerance=0.01)  # of a lossy form

    served(use)


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_telephones_have_their_samples(law: str) -> None:
    def use(client: ElevenLabs, place: str) -> None:
        asked: Any = {"voice_id": "joe", "text": SHORT}
        data = b"".join(client.text_to_speech.stream(output_format=f"{law}_8000", **asked))
        plain = np.frombuffer(b"".join(client.text_to_speech.stream(output_format="pcm_8000", **asked)), "<i2")
        coding = {"format": "RAW", "samplerate": 8000, "channels": 1, "subtype": law.upper()}
        heard, _ = soundfile.read(io.BytesIO(data), dtype="int16", **coding)
        assert len(heard) == len(plain)
        loud = np.abs(plain.astype(int))
        assert (np.abs(heard.astype(int) - plain) <= np.maximum(16, loud / 16)).all()  # half a step of G.711, and more

    served(use)


def test_the_stock_client_sees_who_can_speak() -> None:
    def use(client: ElevenLabs, place: str) -> None:
        found = {voice.voice_id: voice.labels for voice in client.voices.get_all().voices}
        assert list(found) == ["ann", "joe"]
        assert found["ann"] == {"gender": "female", "language": "en-US"}

    served(use)


def test_the_stock_client_is_told_what_is_wrong() -> None:
    def use(client: ElevenLabs, place: str) -> None:
        for more, words in (
            ({"voice_id": "bob"}, "ann, joe"),
            ({"voice_id": "ann", "output_format": "opus_48000_32"}, "pcm_24000"),
            ({"voice_id": "ann", "output_format": "mp3_44100_31"}, "mp3_44100_128"),
            ({"voice_id": "ann", "output_format": "mp3_96000_128"}, "mp3_44100_128"),
            ({"voice_id": "ann", "output_format": "pcm_23000"}, "pcm_24000"),
            ({"voice_id": "ann", "output_format": "pcm_24000", "seed": 4294967296}, "0 to 4294967295"),
            ({"voice_id": "ann", "output_format": "pcm_24000", "text": ""}, "nothing"),
            ({"voice_id": "ann", "output_format": "pcm_24000", "text": "x" * 10_001}, "at most 10000"),
        ):
            asked: Any = {"text": SHORT, **more}
            with pytest.raises(ApiError) as refusal:
                list(client.text_to_speech.stream(**asked))
            assert refusal.value.status_code == 400
            assert words in refusal.value.body["detail"]["message"]
        asked = {"voice_id": "bob", "output_format": "pcm_24000"}
        heard = client.text_to_speech.convert_realtime(text=written("a", "b", "c"), **asked)
        with pytest.raises(ApiError) as refused:
            list(heard)
        assert "ann, joe" in str(refused.value.body)

    served(use)


# ---- the protocol by hand ------------------------------------------------------------------------------------------


async def opened(place: str, query: str = PCM, voice: str = "ann", **headers: str) -> ClientConnection:
    url = f"ws://{place}/v1/text-to-speech/{voice}/stream-input{query}"
    return await connect(url, additional_headers=headers, close_timeout=1)


async def heard(client: ClientConnection) -> tuple[list[dict[str, Any]], int | None]:
    """All that comes, and what the connection was closed with."""
    told = []
    try:
        while True:
            told.append(json.loads(await client.recv()))
    except ConnectionClosed:
        return told, client.close_code


async def exchange(place: str, *said: Any, **how: str) -> tuple[list[dict[str, Any]], int | None]:
    async with await opened(place, **how) as client:
        for message in said:
            await client.send(message if isinstance(message, str | bytes) else json.dumps(message))
        return await heard(client)


def sound(told: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(message["audio"]) for message in told if message.get("audio"))


def test_characters_have_times_that_follow_one_another() -> None:
    async def main() -> None:
        async with speaking() as place:
            text = "Good day, dear friend. It has left. "
            told, code = await exchange(place, {"text": " "}, {"text": text[:12]}, {"text": text[12:]}, {"text": ""})
            assert (code, told[-1]) == (1000, {"audio": None, "isFinal": True})
            at, passages = 0, []
            for message in told[:-1]:
                assert message["isFinal"] is False
                if times := message["alignment"]:
                    passages.append((at / 2 / 24, times))
                at += len(base64.b64decode(message["audio"]))
            assert "".join("".join(times["chars"]) for _, times in passages) == " " + text
            assert passages[0][0] == 0
            for _, times in passages:
                starts, lasts = times["charStartTimesMs"], times["charDurationsMs"]
                assert [a + n for a, n in zip(starts[:-1], lasts[:-1], strict=True)] == starts[1:]
            ends = [ms + times["charStartTimesMs"][-1] for ms, times in passages]
            assert ends[0] <= passages[1][0] < ends[1] <= at / 2 / 24

    asyncio.run(main())


def test_a_word_shares_its_time_among_its_characters() -> None:
    words = (WordTime("Ab", 5, 7, 1010.0, 1030.0, ()), WordTime("cde", 9, 12, 1050.0, 1065.0, ()))
    times = alignment(PassageBegan(0, 0, '"Ab, cde. ', 1000.0, 1105.0, words))
    assert times["chars"] == list('"Ab, cde. ')
    assert times["charStartTimesMs"] == [0, 10, 20, 30, 40, 50, 55, 60, 65, 85]
    assert times["charDurationsMs"] == [10, 10, 10, 10, 10, 5, 5, 5, 20, 20]


def test_what_is_flushed_is_spoken_before_the_end() -> None:
    async def main() -> None:
        async with speaking() as place, await opened(place) as client:
            await client.send('{"text":" "}')
            await client.send('{"text":"Oh, I see","flush":true}')
            assert json.loads(await client.recv())["audio"]
            await client.send('{"text":""}')
            told, code = await heard(client)
            assert (told[-1]["isFinal"], code) == (True, 1000)

    asyncio.run(main())


def test_more_text_than_may_wait_is_not_read_before_there_is_room() -> None:
    class Socket:
        """Says one thing again and again, and counts how often it was read."""

        n_read = 0

        def __init__(self, text: str) -> None:
            self.query_params = {"output_format": "pcm_24000"}
            self.path_params = {"voice": "ann"}
            self._said = json.dumps({"text": text, "flush": False})

        async def receive(self) -> dict[str, str]:
            self.n_read += 1
            return {"type": "websocket.receive", "text": self._said}

        async def send_text(self, message: str) -> None:
            await asyncio.Event().wait()  # it takes nothing

    async def main() -> None:
        talker = tiny_talk.engine()
        async with EngineLoop(talker) as loop:
            limits = Limits(sessions=1, text_chars=20, slow_s=0.3)
            service = Service(loop, {}, limits, Metrics(loop))
            line: Any = Socket("Oh, I see. ")
            with pytest.raises(WebSocketDisconnect):
                await _Conversation(line, JsonLine(line, service), service, Speakers(talker.voices, READERS)).run()
            assert loop.rows_taken == 0
            assert 2 < line.n_read < 20  # two may wait; a few more are in hand on the way to the line

    asyncio.run(main())


def test_pieces_that_say_nothing_are_read_slowly() -> None:
    async def main() -> None:
        async with speaking(options=ServerOptions(Limits(sessions=0, messages_per_s=100.0))) as place:
            began_s = time.monotonic()
            told, code = await exchange(place, *[{"text": "."}] * 300, {"text": ""})
            assert (sound(told), code) == (b"", 1000)
            assert time.monotonic() - began_s >= (301 - 200) / 100

    asyncio.run(main())


WRONG: list[tuple[dict[str, str], list[Any], int, str]] = [
    ({"query": "?output_format="}, [], 1008, "pcm_24000"),
    ({"query": "?output_format=mp3_24000_320"}, [], 1008, "pcm_24000"),
    ({"voice": "bob"}, [], 1008, "ann, joe"),
    ({"query": PCM + "&seed=x"}, [], 1008, "seed"),
    ({"query": PCM + "&seed=4294967296"}, [], 1008, "0 to 4294967295"),
    ({"query": PCM + "&inactivity_timeout=0"}, [], 1008, "1 to 180"),
    ({"query": PCM + "&inactivity_timeout=1"}, [], 1008, "nothing was heard"),
    ({}, ["nonsense"], 1008, "JSON"),
    ({}, [b"bytes"], 1008, "text"),
    ({}, [{"text": 5}], 1008, "text"),
    ({}, ['{"text":"\\ud800"}'], 1008, "text"),
    ({}, [{"text": " ", "voice_settings": {"speed": 0}}], 1008, "0.25 to 4"),
    ({}, [{"text": " "}, {"text": "x " * 40_000}], 1008, "at most"),
]


def test_what_is_wrong_is_told_and_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with speaking() as place:
            for how, said, close_code, words in WRONG:
                told, code = await exchange(place, *said, **how)
                assert (code, told[-1]["code"]) == (close_code, close_code), (how, said)
                assert words in told[-1]["message"], told
            told, code = await exchange(place, {"text": ""})  # nothing to say is not wrong
            assert (sound(told), code) == (b"", 1000)
            await until_free(place)

    asyncio.run(main())
    assert not [r for r in caplog.records if r.exc_info]


def test_without_a_row_it_is_refused_and_a_token_may_come_as_a_key() -> None:
    async def main() -> None:
        options = ServerOptions(rules=Rules(token=TOKEN))
        async with speaking(rows=1, options=options) as place:
            told, code = await exchange(place)
            assert (told[-1]["code"], code) == ("unauthorized", 1008)
            headers = {"xi-api-key": TOKEN}
            async with await opened(place, **headers) as first:
                await first.send('{"text":"Oh, I see. ","flush":true}')
                assert json.loads(await first.recv())["audio"]
                told, code = await exchange(place, {"text": " "}, **headers)
                assert (told[-1]["error"], code) == ("no_slot", 1013)
            await until_free(place)

    asyncio.run(main())


def test_who_breaks_off_anywhere_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(4)
    known: list[Any] = [
        {"text": " "},
        {"text": "Oh, I see it go. " * 9},
        {"text": "Wh", "flush": True},
        {"flush": True},
    ]

    async def fuzz(place: str) -> None:
        client = await opened(place)
        try:
            for _ in range(chance.randrange(6)):
                await client.send(json.dumps(chance.choice(known)))
            if chance.random() < 0.3:
                await client.send(chance.choice(["", "{}", "[]", "null", b"", '{"text":null}', "\x00"]))
            if chance.random() < 0.4:
                await asyncio.wait_for(client.recv(), 0.2)
            if chance.random() < 0.3:
                client.transport.write(b"\x81\xfe\x10\x00half a frame")
        except (ConnectionClosed, TimeoutError):
            pass
        finally:
            client.transport.abort()

    async def main() -> None:
        async with speaking(rows=3) as place:
            for _ in range(6):
                await asyncio.gather(*(fuzz(place) for _ in range(4)))
            await until_free(place)
            told, code = await exchange(place, {"text": SHORT}, {"text": ""})
            assert sound(told)
            assert code == 1000
            assert (await health(place))["rows_taken"] == 0

    asyncio.run(main())
    bad = [r.getMessage() for r in caplog.records if r.exc_info or (r.name == "asyncio" and r.levelno >= logging.ERROR)]
    assert not bad
