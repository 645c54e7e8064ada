"""Small messages are not held back; who never ends what it begins is not kept, who waits for an answer is."""

import asyncio
import socket
from typing import Any

import pytest
from starlette.requests import Request

from sottovoce.stream import http_connection
from sottovoce.stream.errors import ProtocolError
from sottovoce.stream.spoken_answer import BODY_S, read_json
from support import virtual_time
from support.serving import open_socket, serving
from support.speaking import speaking

HEAD = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "HEAD_S", 0.3)


async def said_until_closed(place: str, *pieces: bytes) -> bytes:
    """What the server answers until it closes; a test that waits in vain runs into its timeout."""
    host, _, port = place.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.1)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("pieces", [(), (HEAD[:20],), (HEAD, HEAD[:20])])
def test_who_never_asks_is_closed(pieces: tuple[bytes, ...]) -> None:
    async def main() -> None:
        async with serving() as place:
            answer = await said_until_closed(place, *pieces)
            assert answer.count(b"HTTP/1.1 200") == sum(piece == HEAD for piece in pieces)

    asyncio.run(main())


def test_a_head_in_pieces_a_slow_answer_and_a_websocket_are_waited_for() -> None:
    async def main() -> None:
        async with speaking() as place:
            answer = await said_until_closed(place, HEAD[:10], HEAD[10:])
            assert b"HTTP/1.1 200" in answer
            body = b'{"input": "%s", "response_format": "pcm", "speed": 0.25}' % (b"Oh, I see it. " * 30)
            head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            began_s = asyncio.get_running_loop().time()
            answer = await said_until_closed(place, head % len(body) + body)
            assert asyncio.get_running_loop().time() - began_s > 2 * http_connection.HEAD_S  # or it shows nothing
            assert answer.endswith(b"0\r\n\r\n")
            async with await open_socket(place) as client:
                await client.recv()
                await asyncio.sleep(3 * http_connection.HEAD_S)
                await (await client.ping())

    asyncio.run(main())


def test_nothing_waits_for_an_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every connection, whichever way its server's socket was made."""
    seen: list[int] = []
    made = http_connection.HttpConnection.connection_made

    def connection_made(self: http_connection.HttpConnection, transport: asyncio.Transport) -> None:
        made(self, transport)
        seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(http_connection.HttpConnection, "connection_made", connection_made)

    async def main() -> None:
        async with serving() as place, await open_socket(place) as client:
            await client.recv()

    asyncio.run(main())
    assert len(seen) == 1
    assert seen[0]


def test_a_body_that_never_comes_whole_is_told() -> None:
    async def receive() -> dict[str, Any]:
        if not came:
            came.append(1)
            return {"type": "http.request", "body": b'{"input": ', "more_body": True}
        await asyncio.sleep(1e6)
        raise AssertionError

    came: list[int] = []

    async def main() -> None:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        with pytest.raises(ProtocolError, match="did not come whole within 10 s"):
            await read_json(request, 1000)
        assert virtual_time.now_s() == BODY_S

    virtual_time.run(main())


def test_a_server_ends_while_somebody_says_nothing() -> None:
    async def main() -> None:
        async with serving() as place:
            host, _, port = place.partition(":")
            silent = socket.create_connection((host, int(port)))
        silent.close()

    asyncio.run(main())
