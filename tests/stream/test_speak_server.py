"""A real server that speaks: what it announces, and what strangers leave behind."""

import asyncio
import json
import logging
import random

import pytest
from websockets.exceptions import ConnectionClosed

from sottovoce.stream import messages
from sottovoce.stream.client_messages import Cancel, Credit, End, Start, Text, TextEnd, TextFlush
from sottovoce.stream.server import ServerOptions
from sottovoce.stream.server_messages import Hello, Limits, Started
from support.serving import get, health, open_socket, until_free
from support.speaking import speaking


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        r.getMessage() for r in caplog.records if r.exc_info or (r.name == "asyncio" and r.levelno >= logging.ERROR)
    ]


def test_it_is_announced_and_ready_before_the_first_client() -> None:
    async def main() -> None:
        async with speaking(rows=1) as place:
            async with await open_socket(place) as client:
                hello = messages.from_server(str(await client.recv()))
                assert isinstance(hello, Hello)
                assert (hello.modes, hello.voices) == (("loopback", "speak"), ("ann", "joe"))
            names = [model["id"] for model in json.loads((await get(place, "/v1/models"))[1])["data"]]
            assert names == ["tiny", "tiny-talker"]
            voices = json.loads((await get(place, "/v1/audio/voices"))[1])
            assert voices["voices"] == ["ann", "joe"]
            assert voices["about"][1] == {
                "name": "joe",
                "sex": "male",
                "language": "en-GB",
                "licence": "Apache-2.0",
            }
            status, refusal = await get(place, "/v1/audio/transcriptions", "POST")
            assert (status, json.loads(refusal)["error"]["code"]) == (404, "not_found")
            assert 'sottovoce_step_seconds_count{kind="talk"} 4.0' in (await get(place, "/metrics"))[1]

    asyncio.run(main())


def test_strangers_leave_no_session_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Random messages of a session that speaks, half frames, and connections that break off anywhere, mid-sentence too."""
    chance = random.Random(9)
    start = messages.encode(Start("speak", words=True))
    known = [Text("Oh, I "), Text("see it. "), TextFlush(), TextEnd(), Cancel(), Credit(0, 50.0), Credit(0, 1e9), End()]

    def anything() -> str | bytes:
        return chance.choice(
            [
                lambda: messages.encode(chance.choice(known)),
                lambda: messages.encode(chance.choice(known[:4])),
                lambda: messages.encode(Text("".join(chr(chance.randrange(1, 0xD000)) for _ in range(20)))),
                lambda: chance.randbytes(chance.randrange(40)),
                lambda: start[: chance.randrange(len(start))],
                lambda: '{"type":"text","text":"\\udfff"}',
            ]
        )()

    async def fuzz(place: str) -> None:
        try:
            client = await open_socket(place)
            await client.send(start)
            for _ in range(3):
                await client.send(messages.encode(chance.choice(known[:5])))
            for _ in range(chance.randrange(12)):
                await client.send(anything())
            ending = chance.randrange(3)
            if ending == 0:
                client.transport.write(b"\x81\xfe\x10\x00half a frame")
            elif ending == 1:
                while not isinstance(await client.recv(), bytes):
                    pass
        except ConnectionClosed:
            pass
        finally:
            client.transport.abort()

    async def main() -> None:
        limits = Limits(sessions=0, idle_s=2.0)
        async with speaking(rows=3, options=ServerOptions(limits)) as place:
            for _ in range(6):
                await asyncio.gather(*(fuzz(place) for _ in range(4)))
            await until_free(place)
            async with await open_socket(place) as client:  # and somebody else is served as ever
                await client.send(start)
                await client.send(messages.encode(Text("Oh.")))
                await client.send(messages.encode(End()))
                kinds = [messages.from_server(m) if isinstance(m, str) else m async for m in client]
            assert any(isinstance(m, Started) for m in kinds)
            assert any(isinstance(m, bytes) for m in kinds)
            assert (await health(place))["rows_taken"] == 0
            assert 'sottovoce_sessions_open{mode="speak"} 0.0' in (await get(place, "/metrics"))[1]

    asyncio.run(main())
    assert not faults(caplog)
