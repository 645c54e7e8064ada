"""Who comes in and who does not: tokens, origins, addresses. ASGI in, ASGI out, no network, and the time is ours."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from sottovoce.stream.guard import TOKEN, Guard, Rules

SECRET = "s3cret-token"


class Door:
    """A guarded application that lets everybody in who comes so far."""

    def __init__(self, rules: Rules) -> None:
        self.now_s = 0.0
        self.hold = asyncio.Event()
        self.hold.set()
        self.guard = Guard(self._inside, rules, lambda: self.now_s)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.hold.wait()
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.accept"})

    async def knock(
        self,
        kind: str = "http",
        path: str = "/v1/models",
        address: str = "10.0.0.1",
        protocols: tuple[str, ...] = (),
        **headers: str,
    ) -> list[Message]:
        """What comes back."""
        sent: list[Message] = []
        scope: dict[str, Any] = {
            "type": kind,
            "path": path,
            "client": (address, 1),
            "subprotocols": list(protocols),
            "headers": [
                (name.encode(), value.encode()) for name, value in {"host": "127.0.0.1:8765", **headers}.items()
            ],
            "query_string": b"",
        }

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.guard(scope, receive, send)
        return sent

    def status(self, **how: Any) -> int:
        """Of an HTTP request."""
        return int(asyncio.run(self.knock(**how))[0]["status"])

    def connects(self, **how: Any) -> str:
        """Of a WebSocket: ``in``, ``shut``, or the code of the error."""
        first, *rest = asyncio.run(self.knock(kind="websocket", path="/v1/stream", **how))
        if first["type"] == "websocket.close":
            return "shut"
        if not rest:
            return "in"
        error, close = rest
        assert close["code"] in (1008, 1013)
        return str(json.loads(error["text"])["code"])


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({}, "unauthorized"),
        ({"authorization": f"Bearer {SECRET}"}, "in"),
        ({"authorization": f"bearer  {SECRET} "}, "in"),
        ({"authorization": f"Basic {SECRET}"}, "unauthorized"),
        ({"authorization": f"Bearer {SECRET}x"}, "unauthorized"),
        ({"authorization": "Bearer "}, "unauthorized"),
        ({"authorization": "Bearer gr\u00fc\u00dfe"}, "unauthorized"),
        ({"protocols": ("sottovoce.v1", f"bearer.{SECRET}")}, "in"),
        ({"protocols": (f"bearer.{SECRET}", "sottovoce.v1")}, "in"),
        ({"protocols": ("sottovoce.v1", "bearer.wrong-one")}, "unauthorized"),
        ({"protocols": ("sottovoce.v1", SECRET)}, "unauthorized"),
    ],
)
def test_who_has_the_token_comes_in(shown: dict[str, Any], expected: str) -> None:
    assert Door(Rules(token=SECRET)).connects(**shown) == expected
    if "protocols" not in shown:
        assert Door(Rules(token=SECRET)).status(**shown) == (200 if expected == "in" else 401)


def test_the_page_and_health_need_no_token_and_the_rest_does() -> None:
    door = Door(Rules(token=SECRET))
    assert [door.status(path=path) for path in ("/", "/app.js", "/health")] == [200] * 3
    assert [door.status(path=path) for path in ("/metrics", "/v1/models", "/v1/audio/speech")] == [401] * 3


def test_a_refusal_is_spoken_in_our_sub_protocol_and_never_in_the_one_with_the_token() -> None:
    door = Door(Rules(token=SECRET))
    first = asyncio.run(
        door.knock(kind="websocket", path="/v1/stream", protocols=("bearer.wrong-one", "sottovoce.v1"))
    )[0]
    assert first["subprotocol"] == "sottovoce.v1"


ORIGINS = [
    ({}, None, "in"),
    ({"origin": "http://127.0.0.1:8765"}, None, "in"),
    ({"origin": "http://localhost:8765", "host": "localhost:8765"}, None, "in"),
    ({"origin": "http://[::1]:8765", "host": "[::1]:8765"}, None, "in"),
    ({"origin": "http://evil.example"}, None, "shut"),
    ({"origin": "null"}, None, "shut"),
    ({"origin": ""}, None, "shut"),
    ({"origin": "http://127.0.0.1:9999"}, None, "shut"),
    ({"origin": "http://[", "host": "["}, None, "shut"),
    ({"origin": "http://evil.example:8765", "host": "evil.example:8765"}, None, "shut"),  # DNS rebinding
    ({"origin": "http://voice.example", "host": "voice.example", "authorization": f"Bearer {SECRET}"}, SECRET, "in"),
    ({"origin": "http://evil.example", "host": "voice.example", "authorization": f"Bearer {SECRET}"}, SECRET, "shut"),
    ({"origin": "https://friend.example"}, None, "in"),
    ({"origin": "https://friend.example.evil.example"}, None, "shut"),
]


@pytest.mark.parametrize(("headers", "token", "expected"), ORIGINS)
def test_only_our_own_page_and_those_on_the_list_come_in(
    headers: dict[str, str], token: str | None, expected: str
) -> None:
    door = Door(Rules(token=token, origins=frozenset({"https://friend.example"})))
    assert door.connects(**headers) == expected
    assert door.status(**headers) == (200 if expected == "in" else 403)


def test_an_address_has_so_many_sessions() -> None:
    async def main() -> None:
        door = Door(Rules(sessions_per_address=2))
        door.hold.clear()
        inside = [asyncio.create_task(door.knock(kind="websocket", path="/v1/stream")) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await door.knock(kind="websocket", path="/v1/stream")
        assert json.loads(refused[1]["text"])["code"] == "rate_limited"
        assert refused[2]["code"] == 1013
        other = asyncio.create_task(door.knock(kind="websocket", path="/v1/stream", address="10.0.0.2"))
        await asyncio.sleep(0)
        door.hold.set()
        for task in (*inside, other):
            assert (await task)[0] == {"type": "websocket.accept"}
        assert len(await door.knock(kind="websocket", path="/v1/stream")) == 1

    asyncio.run(main())


def test_an_address_may_ask_so_often() -> None:
    door = Door(Rules(requests_per_s=2, burst=3))
    assert [door.status() for _ in range(5)] == [200, 200, 200, 429, 429]
    assert door.status(address="10.0.0.2") == 200
    assert door.status(path="/") == 200
    door.now_s = 1.0
    assert [door.status() for _ in range(3)] == [200, 200, 429]


def test_a_network_of_ipv6_is_one_address() -> None:
    door = Door(Rules(requests_per_s=0.1, burst=1))
    assert door.status(address="2001:db8::1") == 200
    assert door.status(address="2001:db8::2") == 429
    assert door.status(address="2001:db8:0:1::1") == 200
    assert door.status(address="::ffff:10.0.0.9") == 200
    assert door.status(address="10.0.0.9") == 429


def test_many_addresses_do_not_fill_the_memory() -> None:
    async def main() -> None:
        for i in range(5000):
            await door.knock(address=f"10.{i >> 8}.{i & 255}.1")

    door = Door(Rules())
    asyncio.run(main())
    assert len(door.guard._asked) == 4096


def test_every_answer_carries_the_headers_of_a_careful_page() -> None:
    for path in ("/", "/v1/models"):
        start = asyncio.run(Door(Rules(token=SECRET)).knock(path=path))[0]
        headers = dict(start["headers"])
        assert b"default-src 'none'; script-src 'self'" in headers[b"content-security-policy"]
        assert headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize(
    "token", ["short", "with space in it", "comma,comma,comma", "x" * 201, "gr\u00fc\u00dfe-gr\u00fc\u00dfe", ""]
)
def test_tokens_that_fit_into_no_sub_protocol_are_none(token: str) -> None:
    assert not TOKEN.fullmatch(token)
