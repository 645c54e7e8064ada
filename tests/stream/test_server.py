"""A real server on a real port: its addresses, what strangers may do to it, and what they leave behind."""

import asyncio
import json
import logging
import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sottovoce.stream import messages, wire
from sottovoce.stream.client_messages import Cancel, Credit, End, Start
from sottovoce.stream.engine import ECHO, EchoEngine, Work
from sottovoce.stream.errors import EngineStopped, ServeError
from sottovoce.stream.guard import Rules
from sottovoce.stream.hosting import Tls
from sottovoce.stream.server import ServerOptions, serve
from sottovoce.stream.server_messages import Cancelled, Error, Hello, Limits, Started
from sottovoce.stream.wire import Kind, Media
from support.serving import get, health, open_socket, serving, until_free

N = ECHO.frame_samples
START = messages.encode(Start("loopback"))


def sound(seq: int, generation: int = 0) -> bytes:
    return Media(Kind.PCM, seq & 0xFFFF, generation, N, seq * N & 0xFFFFFFFF, bytes(2 * N)).pack()


async def next_of(client: Any, kind: type) -> Any:
    """The next control message of a type."""
    async for message in client:
        if isinstance(message, str) and isinstance(known := messages.from_server(message), kind):
            return known
    raise AssertionError(f"no {kind.__name__} came")


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Tracebacks in the log, and whatever asyncio found unhandled."""
    return [
        r.getMessage() for r in caplog.records if r.exc_info or (r.name == "asyncio" and r.levelno >= logging.ERROR)
    ]


def test_its_addresses_answer(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>a page")

    async def main() -> None:
        async with serving(rows=3, options=ServerOptions(web=tmp_path)) as place:
            assert await get(place, "/") == (200, "<p>a page")
            assert (await get(place, "/nothing.js"))[0] == 404
            assert (await get(place, "/../pyproject.toml"))[0] == 404
            assert json.loads((await get(place, "/v1/models"))[1])["data"][0]["id"] == "echo"
            assert await get(place, "/v1/audio/voices") == (200, '{"voices":[]}')
            status, body = await get(place, "/v1/audio/speech", "POST")
            assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
            assert await health(place) == {"status": "ok", "rows": 3, "rows_taken": 0}
            status, text = await get(place, "/metrics")
            assert status == 200
            assert 'sottovoce_step_seconds_count{kind="vocode"} 12.0' in text  # it is warm: one row, two, all three
            assert "process_resident_memory_bytes" in text

    asyncio.run(main())


def test_without_a_page_there_is_none() -> None:
    async def main() -> None:
        async with serving() as place:
            assert (await get(place, "/"))[0] == 404

    asyncio.run(main())


def test_it_speaks_first_and_in_our_sub_protocol() -> None:
    async def main() -> None:
        async with serving() as place:
            async with await open_socket(place) as client:
                hello = messages.from_server(str(await client.recv()))
                assert isinstance(hello, Hello)
                assert (hello.modes, hello.limits.sessions, hello.codec.preset) == (("loopback",), 2, "echo")
                assert client.subprotocol == "sottovoce.v1"
            assert client.close_code == 1000

    asyncio.run(main())


def test_strangers_are_refused() -> None:
    async def main() -> None:
        async with serving(options=ServerOptions(rules=Rules(token="s3cret-token"))) as place:
            with pytest.raises(InvalidStatus, match="403"):
                await open_socket(place, Origin="http://evil.example")
            client = await open_socket(place)
            error = messages.from_server(str(await client.recv()))
            assert isinstance(error, Error)
            assert error.code == "unauthorized"
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1008
            async with await open_socket(place, Authorization="Bearer s3cret-token") as friend:
                assert isinstance(messages.from_server(str(await friend.recv())), Hello)
            assert (await get(place, "/metrics"))[0] == 401
            assert (await get(place, "/metrics", Authorization="Bearer s3cret-token"))[0] == 200

    asyncio.run(main())


def test_a_token_in_a_url_opens_nothing_and_stands_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(options=ServerOptions(rules=Rules(token="s3cret-token"))) as place:
            assert (await get(place, "/v1/models?token=s3cret-token"))[0] == 401
            await open_socket(place, Authorization="Bearer s3cret-token")

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    ours = [record for record in caplog.records if not record.name.startswith("websockets")]  # the client's own
    assert not [record for record in ours if "s3cret" in record.getMessage()]


def test_two_sessions_on_one_row() -> None:
    async def main() -> None:
        async with serving(rows=1) as place:
            first, second = await open_socket(place), await open_socket(place)
            await first.send(START)
            await next_of(first, Started)
            await second.send(START)
            error = await next_of(second, Error)
            assert (error.code, error.retry_ms) == ("no_slot", 1000)
            await second.wait_closed()
            assert second.close_code == 1013
            assert (await health(place))["rows_taken"] == 1
            await first.close()
            await until_free(place)

    asyncio.run(main())


@pytest.mark.parametrize("goodbye", ["close", "abort"])
def test_who_leaves_mid_sentence_leaves_no_row_behind(goodbye: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(rows=1) as place:
            for _ in range(3):
                client = await open_socket(place)
                await client.send(START)
                for i in range(10):
                    await client.send(sound(i))
                while not isinstance(await client.recv(), bytes):
                    pass
                if goodbye == "close":
                    await client.close()
                else:
                    client.transport.abort()
                await until_free(place)

    asyncio.run(main())
    assert not faults(caplog)


def test_no_stale_sound_after_a_cancel() -> None:
    async def main() -> None:
        async with serving(rows=1) as place, await open_socket(place) as client:
            await client.send(START)
            for generation in range(20):
                for i in range(5):
                    await client.send(sound(5 * generation + i, generation))
                await client.send(messages.encode(Cancel(generation)))
            await client.send(sound(100, 20))
            await client.send(sound(101, 20))
            await client.send(messages.encode(End()))
            current, heard = 0, 0
            async for message in client:
                if isinstance(message, bytes):
                    media = wire.unpack(message)
                    assert media.generation == current
                    heard += media.count
                elif isinstance(told := messages.from_server(message), Cancelled):
                    current, heard = told.generation, 0
            assert (current, heard) == (20, 2 * N)

    asyncio.run(main())


def test_a_client_that_never_reads_is_slow_and_let_go(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(sessions=0, slow_s=0.2)

    async def main() -> None:
        async with serving(rows=1, options=ServerOptions(limits)) as place:
            client = await open_socket(place)
            await client.send(messages.encode(Start("loopback", lead_ms=0.0, live=False)))
            for i in range(40):
                await client.send(sound(i))
            error = await next_of(client, Error)
            assert error.code == "slow"
            await until_free(place)

    asyncio.run(main())
    assert not faults(caplog)


def test_an_idle_client_is_let_go() -> None:
    async def main() -> None:
        async with serving(rows=1, options=ServerOptions(Limits(sessions=0, idle_s=0.1))) as place:
            client = await open_socket(place)
            assert (await next_of(client, Error)).code == "idle"
            await client.wait_closed()
            assert client.close_code == 1000

    asyncio.run(main())


def test_a_message_beyond_the_limit_closes_the_connection() -> None:
    async def main() -> None:
        async with serving(rows=1) as place:
            client = await open_socket(place)
            await client.send(bytes((1 << 18) + 1))
            await client.wait_closed()
            assert client.close_code == 1009
            await until_free(place)

    asyncio.run(main())


def test_strangers_who_do_anything_leave_no_session_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Random messages, half of them of a started session, half frames, no UTF-8, and connections that break off anywhere."""
    chance = random.Random(5)

    def anything() -> str | bytes:
        return chance.choice(
            [
                lambda: chance.randbytes(chance.randrange(40)),
                lambda: chance.randbytes(12) + bytes(chance.randrange(3000)),
                lambda: sound(chance.randrange(100), chance.randrange(3)),
                lambda: sound(0)[: chance.randrange(1000)],
                lambda: chance.choice(
                    [
                        START,
                        *(messages.encode(m) for m in (Cancel(), Credit(0, 50.0), End())),
                        '{"type":"update","books":2}',
                    ]
                ),
                lambda: "".join(chr(chance.randrange(1, 0xD000)) for _ in range(20)),
                lambda: START[: chance.randrange(len(START))],
            ]
        )()

    async def fuzz(place: str) -> None:
        try:
            client = await open_socket(place)
            if chance.random() < 0.7:
                await client.send(START)
            for _ in range(chance.randrange(30)):
                await client.send(anything())
            ending = chance.randrange(4)
            if ending == 0:
                client.transport.write(chance.randbytes(20))  # no WebSocket frame at all
            elif ending == 1:
                client.transport.write(b"\x81\xfe\x10\x00half a frame")
            elif ending == 2:
                client.transport.write(b"\x81\x82\x00\x00\x00\x00\xff\xff")  # a text that is no UTF-8
            else:
                await client.close()
        except ConnectionClosed:
            pass
        finally:
            client.transport.abort()

    async def main() -> None:
        async with serving(rows=3) as place:
            for _ in range(12):
                await asyncio.gather(*(fuzz(place) for _ in range(5)))
            await until_free(place)
            async with await open_socket(place) as client:  # and somebody else is served as ever
                await client.send(START)
                assert await next_of(client, Started)
            assert 'sottovoce_sessions_open{mode="loopback"} 0.0' in (await get(place, "/metrics"))[1]

    asyncio.run(main())
    assert not faults(caplog)


class _StuckEngine(EchoEngine):
    """Fails, once it is warm, on the first step."""

    steps = 0

    def step(self, work: Sequence[Work]) -> list[Any]:
        self.steps += 1
        if self.steps > 16:
            raise RuntimeError("out of memory")
        return super().step(work)


def test_health_says_that_the_engine_failed() -> None:
    async def main() -> None:
        async with serving(engine=_StuckEngine()) as place:
            client = await open_socket(place)
            await client.send(START)
            await client.send(sound(0))
            assert (await next_of(client, Error)).code == "internal"
            status, body = await get(place, "/health")
            assert status == 503
            assert "out of memory" in json.loads(body)["reason"]

    asyncio.run(main())


def test_an_engine_that_fails_at_once_serves_nobody() -> None:
    async def main() -> None:
        engine = _StuckEngine()
        engine.steps = 99
        await serve(engine, ServerOptions(), socket.create_server(("127.0.0.1", 0)))

    with pytest.raises(EngineStopped, match="out of memory"):
        asyncio.run(main())


@pytest.mark.parametrize("content", [None, "nonsense", ""])
def test_a_certificate_that_is_none_is_told(content: str | None, tmp_path: Path) -> None:
    pem = tmp_path / "cert.pem"
    if content is not None:
        pem.write_text(content)
    with pytest.raises(ServeError, match=r"cert\.pem"):
        Tls(pem, pem).check()


def test_sessions_are_closed_when_the_server_ends() -> None:
    async def main() -> None:
        async with serving() as place:
            client = await open_socket(place)
            await client.send(START)
            await next_of(client, Started)
        await client.wait_closed()
        assert client.close_code == 1012

    asyncio.run(main())
