"""A server that says what a test wants, to the letter; it speaks with nothing of ours but the bytes of the wire."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from sottovoce.stream.wire import Flag, Kind, Media

HELLO = json.loads((Path(__file__).parents[1] / "golden" / "wire" / "hello.json").read_text())
RATE_HZ: int = HELLO["codec"]["rate_hz"]


class Peer:
    """The page, from the server's end.

    Attributes:
        start: its first wish.
        told: what it said since, in order.
    """

    def __init__(self, socket: WebSocket, start: dict[str, Any]) -> None:
        self.start = start
        self.told: list[dict[str, Any]] = []
        self._socket = socket
        self._seq = 0

    async def say(self, type_: str, **fields: Any) -> None:
        await self._socket.send_text(json.dumps({"type": type_, **fields}))

    async def until(self, type_: str) -> dict[str, Any]:
        """Read on until the page says something of a type."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect
            if message.get("text"):
                self.told.append(json.loads(message["text"]))
                if self.told[-1]["type"] == type_:
                    return self.told[-1]

    async def sound(self, pcm: NDArray[np.int16], generation: int = 0, time: int = 0, last: bool = False) -> None:
        """Send samples in one message, so that nothing comes between them; 65535 at most."""
        flags = (0 if time else Flag.FIRST) | (Flag.LAST if last else 0)
        media = Media(Kind.PCM, self._seq & 0xFFFF, generation, len(pcm), time, pcm.tobytes(), Flag(flags))
        await self._socket.send_bytes(media.pack())
        self._seq += 1


def scripted(act: Callable[[Peer], Awaitable[None]], refusals: int = 0, **hello: Any) -> WebSocketRoute:
    """The native address: greets with ``hello``'s changes, lets ``act`` speak with whoever starts, and says its end.

    The first ``refusals`` who start find it full.
    """
    refused: list[Peer] = []

    async def talk(socket: WebSocket) -> None:
        await socket.accept("sottovoce.v1")
        with suppress(WebSocketDisconnect):
            await socket.send_text(json.dumps(HELLO | hello))
            start = json.loads(await socket.receive_text())
            if start["type"] != "start":
                return  # it only wanted to know what we can do
            peer = Peer(socket, start)
            if len(refused) < refusals:
                refused.append(peer)
                await peer.say("error", code="no_slot", message="all rows are taken", fatal=True, retry_ms=100)
                await socket.close(1013)
                return
            await peer.say("started", generation=0, delay_ms=61.3, lead_ms=300)
            await act(peer)
            await peer.say("end")
            await peer.until("")  # until it hangs up

    return WebSocketRoute("/v1/stream", talk)
