"""Several texts on one WebSocket, as ElevenLabs has it and pipecat uses it; and lines of sound with times over HTTP."""

import asyncio
import base64
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from elevenlabs.client import ElevenLabs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from sottovoce.stream.elevenlabs_contexts import MOST_OPEN
from sottovoce.stream.server import ServerOptions
from sottovoce.stream.server_messages import Limits
from support.same import assert_same
from support.serving import get, health, until_free
from support.speaking import speaking

PCM = "?output_format=pcm_24000"
TEXT = "Oh, I see it. "
LONG = "It goes on for a while, and then it goes on. " * 20


@asynccontextmanager
async def line(place: str, query: str = PCM, voice: str = "joe") -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://{place}/v1/text-to-speech/{voice}/multi-stream-input{query}", compression=None) as socket:
        yield socket


async def say(socket: ClientConnection, *messages: dict[str, Any]) -> None:
    for message in messages:
        await socket.send(json.dumps(message))


async def until_final(socket: ClientConnection, name: str | None) -> list[dict[str, Any]]:
    """What comes, to the last word of a context."""
    told = []
    async for message in socket:
        told.append(json.loads(message))
        if told[-1]["isFinal"] and told[-1]["contextId"] == name:
            return told
    raise AssertionError(f"{name} never ended: {told[-1:]}, {socket.close_code} {socket.close_reason}")


def sound(told: list[dict[str, Any]], name: str | None) -> bytes:
    return b"".join(base64.b64decode(m["audio"]) for m in told if m.get("audio") and m["contextId"] == name)


def served(use: Callable[[str], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with speaking(**options) as place:
            await use(place)
            await until_free(place)

    asyncio.run(main())


def opened(name: str, **more: Any) -> dict[str, Any]:
    """How pipecat opens a context."""
    return {"text": " ", "context_id": name, **more}


def text(name: str | None, text: str = TEXT) -> dict[str, Any]:
    return {"text": text, "context_id": name}


def flush(name: str | None) -> dict[str, Any]:
    return {"context_id": name, "flush": True}


def close(name: str | None) -> dict[str, Any]:
    return {"context_id": name, "close_context": True}


async def alone(place: str) -> bytes:
    async with line(place) as socket:
        await say(socket, text("a"), flush("a"), close("a"))
        return sound(await until_final(socket, "a"), "a")


def test_contexts_are_spoken_beside_each_other_each_as_it_would_be_alone() -> None:
    async def use(place: str) -> None:
        one = await alone(place)
        assert len(one) > 24_000 * 0.3
        async with line(place) as socket:
            await say(socket, opened("a"), opened("b", voice_settings={"speed": 2.0}))
            await say(
                socket, {"text": TEXT, "contextId": "a"}, text("b"), flush("a"), flush("b"), close("a"), close("b")
            )
            told = await until_final(socket, "a")
            if not any(m["isFinal"] and m["contextId"] == "b" for m in told):
                told += await until_final(socket, "b")
            assert_same(sound(told, "a"), one)
            assert 0 < len(sound(told, "b")) < 0.8 * len(one)
            assert [m["contextId"] for m in told if m["isFinal"]].count("a") == 1
            aligned = [m["alignment"] for m in told if m["contextId"] == "a" and m.get("alignment")]
            assert "".join(char for each in aligned for char in each["chars"]) == " " + TEXT
            # the same name again is another text
            await say(socket, text("a"), flush("a"), close("a"))
            assert_same(sound(await until_final(socket, "a"), "a"), one)
            await say(socket, {"close_socket": True})
            await socket.wait_closed()
            assert socket.close_code == 1000

    served(use, rows=2)


def test_without_a_name_there_is_one_context_and_the_socket_ends_it() -> None:
    async def use(place: str) -> None:
        one = await alone(place)
        async with line(place) as socket:
            await say(socket, {"text": TEXT}, {"close_socket": True})
            told = await until_final(socket, None)
            assert_same(sound(told, None), one)
            await socket.wait_closed()
            assert socket.close_code == 1000

    served(use)


def test_who_is_interrupted_is_silent_at_once() -> None:
    """Closed in the middle of its text, or once more while the rest is spoken; the next context has its row at once."""

    async def use(place: str) -> None:
        for closing in ([close("a")], [flush("a"), close("a"), close("a")]):
            async with line(place) as socket:
                await say(socket, text("a", LONG))
                while not json.loads(await socket.recv()).get("audio"):
                    pass
                await say(socket, *closing, text("b"), flush("b"), close("b"))
                told = await until_final(socket, "b")
                ended = next(i for i, m in enumerate(told) if m["isFinal"] and m["contextId"] == "a")
                assert not sound(told[ended:], "a")
                assert len(sound(told, "a")) < 24_000 * 2 * 10
                assert sound(told, "b")

    served(use, rows=1)


def test_what_says_nothing_opens_nothing() -> None:
    async def use(place: str) -> None:
        async with line(place) as socket:
            await say(socket, {"text": ""}, flush("a"), {"text": "", "context_id": "a"}, close("a"), close(None))
            await say(socket, opened("b"), flush("b"))
            assert (await health(place))["rows_taken"] == 0
            await say(socket, close("b"))
            assert await until_final(socket, "b") == [{"isFinal": True, "contextId": "b"}]

    served(use)


def test_a_context_without_a_row_is_told_so_and_waits_for_one_of_its_own_connection() -> None:
    async def use(place: str) -> None:
        async with line(place) as first, line(place) as second:
            await say(first, text("a"), text("b"))
            while (await health(place))["rows_taken"] == 0:
                pass
            await say(second, text("c"))
            (told,) = await until_final(second, "c")
            assert (told["error"], told["code"]) == ("no_slot", 1013)
            await say(first, flush("a"), close("a"), flush("b"), close("b"))
            told_b = await until_final(first, "b")
            assert_same(sound(told_b, "b"), sound(told_b, "a"))
            await say(second, text("c"), flush("c"), close("c"))
            assert sound(await until_final(second, "c"), "c")

    served(use, rows=1)


def test_a_context_that_nobody_writes_into_ends_and_signs_of_life_keep_it() -> None:
    async def use(place: str) -> None:
        async with line(place, PCM + "&inactivity_timeout=1") as socket:
            await say(socket, text("a"), text("b"))
            for _ in range(8):
                await asyncio.sleep(0.2)
                await say(socket, {"text": "", "context_id": "b"})
            told = await until_final(socket, "a")
            assert sound(told, "a")
            assert not any(m["isFinal"] and m["contextId"] == "b" for m in told)
            with suppress(ConnectionClosed):
                async for _ in socket:  # until the server has enough
                    pass
            assert "nothing was heard of you for 1 s" in str(socket.close_reason)

    served(use)


WRONG: list[tuple[dict[str, str], list[Any], str]] = [
    ({"query": "?output_format=mp3"}, [], "pcm_24000"),
    ({"voice": "bob"}, [], "ann, joe"),
    ({"query": PCM + "&seed=x"}, [], "seed"),
    ({}, ["nonsense"], "JSON"),
    ({}, [b"bytes"], "text"),
    ({}, [{"text": 5}], "text"),
    ({}, [{"text": "a", "context_id": 5}], "context_id"),
    ({}, [{"text": "a", "context_id": "x" * 1000}], "context_id"),
    ({}, [{"text": " ", "voice_settings": {"speed": 0}}], "0.25 to 4"),
    ({}, [{"text": "a", "context_id": str(i)} for i in range(MOST_OPEN + 1)], "at most 5 contexts"),
    ({}, [{"text": "x " * 20_000}] * 6, "characters of a context wait"),
    ({}, [{"text": " "}] * 1100, "messages of a context wait"),
]


def test_what_is_wrong_is_told_and_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    async def use(place: str) -> None:
        for where, messages, words in WRONG:
            async with line(place, **where) as socket:
                told: list[dict[str, Any]] = []
                try:
                    for message in messages:
                        await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
                except ConnectionClosed:
                    pass
                try:
                    while True:
                        told.append(json.loads(await socket.recv()))
                except ConnectionClosed:
                    pass
                assert words in told[-1]["message"], (words, told[-1])
                assert (told[-1]["code"], socket.close_code) == (1008, 1008)
                assert words in str(socket.close_reason)

    limits = Limits(sessions=0, messages_per_s=1e6)
    served(use, rows=MOST_OPEN + 1, options=ServerOptions(limits))
    assert not [r.getMessage() for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


def test_who_breaks_off_anywhere_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(3)

    async def fuzz(place: str) -> None:
        async with line(place) as socket:
            try:
                for _ in range(chance.randrange(1, 12)):
                    name = chance.choice(["a", "b", "c", None])
                    await say(socket, chance.choice([opened, text, text, flush, close])(name))  # type: ignore[operator]
                for _ in range(chance.randrange(4)):
                    async with asyncio.timeout(0.05):
                        await socket.recv()
            except (ConnectionClosed, TimeoutError):
                pass
            socket.transport.abort()

    async def use(place: str) -> None:
        for _ in range(6):
            await asyncio.gather(*(fuzz(place) for _ in range(4)))
        await until_free(place)
        assert await alone(place)
        assert 'sottovoce_sessions_open{mode="stream-input"} 0.0' in (await get(place, "/metrics"))[1]

    served(use, rows=3)
    assert not [r.getMessage() for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


# ---- with timestamps -------------------------------------------------------------------------------------------------


def test_the_stock_client_hears_the_same_with_times() -> None:
    def ask(place: str) -> None:
        with httpx.Client(timeout=60) as http:
            client = ElevenLabs(base_url=f"http://{place}", api_key="any", httpx_client=http)
            asked: Any = {"voice_id": "joe", "text": "Oh, I see. Oh, dear.", "output_format": "pcm_24000"}
            plain = b"".join(client.text_to_speech.stream(**asked))
            pieces = list(client.text_to_speech.stream_with_timestamps(**asked))
            assert_same(b"".join(base64.b64decode(piece.audio_base_64) for piece in pieces), plain)
            timed = [piece.alignment for piece in pieces if piece.alignment is not None]
            assert len(timed) == 2
            assert "".join(char for each in timed for char in each.characters) == asked["text"]
            ends = [s for each in timed for s in each.character_end_times_seconds]
            assert ends == sorted(ends)
            assert ends[-1] == pytest.approx(len(plain) / 48_000, abs=0.2)
            refused = http.post(
                f"http://{place}/v1/text-to-speech/joe/stream/with-timestamps?output_format=aac_24000",
                json={"text": "a"},
            )
            assert (refused.status_code, "pcm_24000" in refused.text) == (400, True)

    async def use(place: str) -> None:
        await asyncio.to_thread(ask, place)

    served(use)
