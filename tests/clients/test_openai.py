"""Speech over HTTP, heard with the stock client of OpenAI and with a plain socket."""

import asyncio
import base64
import io
import json
import logging
import random
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import openai
import pytest
import scipy.signal
import soundfile
from openai import OpenAI

from sottovoce.models.config import TINY
from sottovoce.stream import hosting
from sottovoce.stream.call import Service
from sottovoce.stream.guard import Rules
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.metrics import Metrics
from sottovoce.stream.openai_speech import Plain, refuse, voice_name
from sottovoce.stream.server import ServerOptions
from sottovoce.stream.server_messages import Limits
from sottovoce.stream.sound_stream import SoundStream
from sottovoce.stream.speakers import Speakers
from sottovoce.stream.spoken_answer import Asked, SpokenAnswer
from sottovoce.stream.talk_work import Manner, Voice
from support import tiny_talk
from support.held import held
from support.same import assert_same
from support.serving import health, until_free
from support.speaking import READERS, speaking

RATE_HZ = 24_000
SHORT = "Oh, I see."
LONG = "This goes on for a while, as it shall be broken off. " * 40


def served(use: Callable[[OpenAI, str], None], **options: Any) -> None:
    """Run ``use``, in a thread, with a client of a server that speaks; afterwards no row is taken."""

    async def main() -> None:
        async with speaking(**options) as place:
            with OpenAI(base_url=f"http://{place}/v1", api_key="s3cret-token", max_retries=0, timeout=60) as client:
                await asyncio.to_thread(use, client, place)
            await until_free(place)

    asyncio.run(main())


def say(client: OpenAI, text: str = SHORT, **more: Any) -> bytes:
    """All of an answer, taken piece by piece."""
    asked: Any = {"model": "tiny-talker", "voice": "ann", "input": text, "response_format": "pcm"} | more
    with client.audio.speech.with_streaming_response.create(**asked) as answer:
        return b"".join(answer.iter_bytes())


def read(data: bytes) -> np.ndarray:
    """Of a file."""
    pcm, rate_hz = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate_hz == RATE_HZ
    return pcm


def with_length(flac: bytes, n_samples: int) -> bytes:
    """A FLAC file that says how long it is: libsndfile does not read one of unknown length, as every stream is."""
    assert int.from_bytes(flac[18:26]) & (1 << 36) - 1 == 0
    return flac[:18] + (int.from_bytes(flac[18:26]) | n_samples).to_bytes(8) + flac[26:]


def test_every_format_holds_the_same_sound() -> None:
    def use(client: OpenAI, place: str) -> None:
        pcm = np.frombuffer(say(client), "<i2")
        assert len(pcm) % TINY.frame_samples == 0
        assert len(pcm) > 0.3 * RATE_HZ
        wav = say(client, response_format="wav")
        assert wav[:4] == b"RIFF"
        assert_same(read(wav), pcm)
        assert_same(read(with_length(say(client, response_format="flac"), len(pcm))), pcm)
        opus = read(say(client, response_format="opus"))
        assert len(opus) == len(pcm)
        said: Any = {"input": SHORT, "model": "tts-1", "voice": {"id": "ann"}, "response_format": "wav"}
        whole = client.audio.speech.create(**said)  # as most programs do it
        assert whole.content == wav
        assert whole.response.headers["content-type"] == "audio/wav"
        said.pop("response_format")
        default = client.audio.speech.create(**said)
        assert default.response.headers["content-type"] == "audio/mpeg"
        assert is_late_copy(read(default.content), pcm)

    served(use)


def is_late_copy(heard: np.ndarray, said: np.ndarray) -> bool:
    """Whether an MP3 holds the sound and nothing else but what its filters need: at most two frames before, two behind."""
    cross = scipy.signal.correlate(heard.astype(float), said.astype(float))
    late = int(np.argmax(cross)) - len(said) + 1
    part = heard[late : late + len(said)]
    frame = 576
    return (
        0 <= late <= 2 * frame
        and len(part) == len(said)
        and len(heard) - late - len(said) <= 2 * frame
        and bool(np.corrcoef(part, said)[0, 1] > 0.98)
    )


def test_events_carry_the_sound_and_say_when_it_is_complete() -> None:
    def use(client: OpenAI, place: str) -> None:
        text = say(client, stream_format="sse").decode()
        events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]
        assert [event["type"] for event in events] == ["speech.audio.delta"] * (len(events) - 1) + ["speech.audio.done"]
        sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
        assert_same(sound, say(client))
        usage = events[-1]["usage"]
        assert usage["output_tokens"] == len(sound) / 2 / TINY.frame_samples
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0

    served(use)


def test_sound_comes_while_the_rest_is_spoken_and_who_leaves_frees_the_row() -> None:
    def use(client: OpenAI, place: str) -> None:
        asked: Any = {"model": "tts-1", "voice": "ann", "input": LONG, "response_format": "pcm"}
        with client.audio.speech.with_streaming_response.create(**asked) as answer:
            pieces = answer.iter_bytes()  # once it is forgotten, the connection is closed
            assert next(pieces)
            with pytest.raises(openai.RateLimitError) as refusal:
                say(client)
            assert refusal.value.response.headers["retry-after"] == "1"
            assert refusal.value.code == "no_slot"
            assert next(pieces)

    served(use, rows=1)  # and until_free does not wait until the long text is said


def test_speed_and_voice_are_heard() -> None:
    def use(client: OpenAI, place: str) -> None:
        ann, fast, joe = say(client), say(client, speed=2.0), say(client, voice="joe")
        assert len(fast) < 0.8 * len(ann)
        assert joe != ann

    served(use)


def test_voices_that_clients_have_built_in_speak_by_the_first_of_their_sex() -> None:
    def use(client: OpenAI, place: str) -> None:
        assert say(client, voice="nova") == say(client, voice="ann")
        assert say(client, voice="onyx") == say(client, voice="joe")

    served(use)
    assert voice_name((Voice("echo", "female", "en-US", ""),), "echo") == "echo", "ours come first"
    assert voice_name((Voice("ann", "female", "en-US", ""),), "echo") is None, "no man is there: the first voice"
    assert voice_name((), "bob") == "bob"


def test_models_and_voices_are_listed() -> None:
    def use(client: OpenAI, place: str) -> None:
        assert [model.id for model in client.models.list()] == ["tiny", "tiny-talker"]

    served(use)


REFUSED: list[tuple[dict[str, Any], str | None, str]] = [
    ({"response_format": "aac"}, "response_format", "ask for mp3, opus, flac, wav, pcm"),
    ({"response_format": "ulaw"}, "response_format", "ask for"),
    ({"response_format": "exe"}, "response_format", "ask for"),
    ({"voice": "alloys"}, "voice", "ann, joe"),
    ({"voice": {"id": "bob"}}, "voice", "ann, joe"),
    ({"voice": {"id": 3}}, "voice", "text"),
    ({"voice": {}}, "voice", "id"),
    ({"speed": 0}, "speed", "0.25 to 4"),
    ({"speed": 4.1}, "speed", "0.25 to 4"),
    ({"speed": True}, "speed", "number"),
    ({"stream_format": "wave"}, "stream_format", "audio, sse"),
    ({"text": "x" * 4097}, "input", "at most 4096"),
    ({"text": 5}, "input", "text"),
    ({"text": ""}, None, "nothing"),
    ({"text": " \n... "}, None, "nothing"),
]


def test_what_cannot_be_done_is_refused_in_one_line() -> None:
    def use(client: OpenAI, place: str) -> None:
        for asked, param, words in REFUSED:
            with pytest.raises(openai.BadRequestError) as refusal:
                say(client, **asked)
            assert refusal.value.param == param, asked
            assert words in refusal.value.message, asked
        with pytest.raises(openai.NotFoundError, match="tiny-talker"):
            say(client, model="gpt-9")

    served(use)


def test_a_token_is_needed_where_there_is_one() -> None:
    def use(client: OpenAI, place: str) -> None:
        assert len(client.models.list().data) == 2
        with pytest.raises(openai.AuthenticationError):
            say(client.with_options(api_key="another-token"))

    served(use, options=ServerOptions(rules=Rules(token="s3cret-token")))


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        r.getMessage() for r in caplog.records if r.exc_info or (r.name == "asyncio" and r.levelno >= logging.ERROR)
    ]


def request(body: bytes, length: int | None = None) -> bytes:
    n_bytes = len(body) if length is None else length
    return b"POST /v1/audio/speech HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % n_bytes + body


def test_bodies_of_every_kind_are_answered(caplog: pytest.LogCaptureFixture) -> None:
    deep = b'{"input":' + b"[" * 100_000
    bodies = [b"", b"null", b"[]", b"{}", b"{", b'"x"', b"\xff\xfe", b'{"input":"\\ud800"}', b'{"input":NaN}', deep]
    bodies += [b'{"input":"x","speed":1e999}', b'{"input":"x","voice":{}}', b'{"input":"x","voice":[["ann"]]}']
    bodies += [b'{"input":"x","response_format":"pcm","speed":NaN}', bytes(300_000)]

    def use(client: OpenAI, place: str) -> None:
        host, port = place.split(":")
        for body in bodies:
            with socket.create_connection((host, int(port)), 30) as line:
                line.sendall(request(body))
                status = line.makefile("rb").readline()
                assert status.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")), (body[:40], status)

    served(use)
    assert not faults(caplog)


def test_who_breaks_off_anywhere_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(3)
    whole = json.dumps({"input": LONG, "model": "tts-1", "response_format": "wav"}).encode()

    def use(client: OpenAI, place: str) -> None:
        host, port = place.split(":")
        for _ in range(12):
            with socket.create_connection((host, int(port)), 30) as line:
                if chance.random() < 0.5:
                    line.sendall(request(whole)[: chance.randrange(len(whole))])
                else:
                    line.sendall(request(whole))
                    line.recv(chance.choice([1, 200, 5000]))

    served(use)
    assert not faults(caplog)


def test_who_takes_nothing_is_let_go() -> None:
    async def main() -> None:
        talker = tiny_talk.engine()
        async with EngineLoop(talker) as loop:
            speakers = Speakers(talker.voices, READERS)
            service = Service(loop, {}, Limits(sessions=1, slow_s=0.2), Metrics(loop))
            body = Plain(SoundStream("wav", TINY.rate_hz, RATE_HZ))
            answer = SpokenAnswer(service, speakers, Asked(LONG, Manner(), "audio/wav", body), refuse)
            told: list[str] = []

            async def send(message: Any) -> None:
                told.append(message["type"])
                if len(told) == 4:
                    await asyncio.Event().wait()

            async def receive() -> Any:
                await asyncio.Event().wait()

            await answer({"type": "http"}, receive, send)
            assert told == ["http.response.start"] + ["http.response.body"] * 3
            assert loop.rows_taken == 0
            assert b'sottovoce_sessions_open{mode="speech"} 0.0' in service.metrics.text()

    asyncio.run(main())


@pytest.mark.alone
@pytest.mark.parametrize("form", ["opus", "mp3"])
def test_sound_is_coded_off_the_loop_and_in_order(form: str) -> None:
    sound = np.sin(np.arange(RATE_HZ * 2) / 30).astype(np.float32)

    async def main() -> bytes:
        stream = SoundStream(form, RATE_HZ, RATE_HZ)
        with held() as seen:
            data = b"".join([await stream.push(part) for part in np.split(sound, 50)] + [await stream.finish()])
        assert seen.worst_ms < 1.5, seen.by  # one frame takes libsndfile two milliseconds and more
        return data

    heard, rate_hz = soundfile.read(io.BytesIO(asyncio.run(main())), dtype="float32")
    assert rate_hz == RATE_HZ
    if form == "opus":
        assert len(heard) == len(sound)
        assert np.corrcoef(heard, sound)[0, 1] > 0.99
    else:
        assert is_late_copy(heard, sound)


@pytest.mark.parametrize("ending", ["slow", "server"])
def test_an_answer_that_nobody_takes_leaves_no_connection_and_no_complaint(
    ending: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hosting, "_LINGER_S", 0.2)
    body = json.dumps({"input": LONG, "voice": "ann", "response_format": "pcm", "speed": 0.25}).encode()
    asked = b"POST /v1/audio/speech HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    lost: list[str] = []
    losing = hosting._HttpProtocol.connection_lost

    def noted(line: hosting._HttpProtocol, error: Exception | None) -> None:
        lost.append(line.cycle.scope["path"])
        losing(line, error)

    monkeypatch.setattr(hosting._HttpProtocol, "connection_lost", noted)

    async def main() -> None:
        limits = Limits(sessions=0, slow_s=0.3 if ending == "slow" else 60.0)
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            async with speaking(options=ServerOptions(limits)) as place:
                host, port = place.split(":")
                line.connect((host, int(port)))
                line.sendall(asked)
                while not (await health(place))["rows_taken"]:
                    pass
                while ending == "slow" and "/v1/audio/speech" not in lost:
                    await health(place)
            assert "/v1/audio/speech" in lost

    asyncio.run(asyncio.wait_for(main(), 60))
    assert not [record.getMessage() for record in caplog.records]
