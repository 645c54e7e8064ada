"""A WebSocket without a network, for both of its ends; virtual time runs between them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from sottovoce.stream import messages, wire
from sottovoce.stream.call import Call, Service
from sottovoce.stream.engine import EchoEngine, Engine
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.metrics import Metrics
from sottovoce.stream.modes import MODES
from sottovoce.stream.server_messages import Limits
from sottovoce.stream.wire import Kind, Media

from . import virtual_time


class FakeSocket:
    """The server's end; a test writes with `say`, and reads what was sent."""

    def __init__(self) -> None:
        self.sent: list[messages.ServerMessage | Media] = []
        self.sent_s: list[float] = []
        self.closed: int | None = None
        self.stalled = False
        "While set, the line takes nothing."
        self.on_media: Callable[[Media], Awaitable[None]] | None = None
        self._inbox: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._flows = asyncio.Event()

    def say(self, message: messages.ClientMessage | Media | str | bytes) -> None:
        """As the client."""
        if isinstance(message, Media):
            message = message.pack()
        self._inbox.put_nowait(message if isinstance(message, str | bytes) else messages.encode(message))

    def leave(self) -> None:
        """As the client: close the connection without a word."""
        self._inbox.put_nowait(None)

    async def receive(self) -> str | bytes | None:
        return await self._inbox.get()

    async def send(self, message: str | bytes) -> None:
        if self.closed is not None:
            raise ConnectionResetError
        while self.stalled:
            await self._flows.wait()
        known = wire.unpack(message) if isinstance(message, bytes) else messages.from_server(message)
        assert known is not None
        self.sent.append(known)
        self.sent_s.append(virtual_time.now_s())
        if isinstance(known, Media) and self.on_media:
            await self.on_media(known)

    async def close(self, code: int) -> None:
        self.closed = code

    def pcm(self) -> bytes:
        """All sound that was sent."""
        return b"".join(m.payload for m in self.sent if isinstance(m, Media) and m.kind == Kind.PCM)

    def of(self, kind: type) -> list[Any]:
        """The messages of one type."""
        return [message for message in self.sent if isinstance(message, kind)]


async def until(true: Callable[[], bool]) -> None:
    """Wait, in virtual time, until something has come about."""
    for _ in range(100_000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came about")


def run(
    use: Callable[[Service, FakeSocket, asyncio.Task[None]], Coroutine[Any, Any, None]],
    engine: Engine | None = None,
    limits: Limits | None = None,
) -> None:
    """Run ``use`` with a service over an echo engine, and one client that is connected to it."""

    async def main() -> None:
        async with EngineLoop(engine or EchoEngine(), asyncio.get_running_loop().time) as loop:
            virtual_time.hold_for(lambda: loop.waiting > 0)
            metrics = Metrics(loop)
            service = Service(loop, MODES, limits or Limits(sessions=1), metrics, clock=virtual_time.now_s)
            socket = FakeSocket()
            call = asyncio.create_task(connect(service, socket))
            try:
                await use(service, socket, call)
            finally:
                call.cancel()
                await asyncio.wait([call])
                virtual_time.hold_for(lambda: True)  # the thread is about to end

    virtual_time.run(main())


async def connect(service: Service, socket: FakeSocket) -> None:
    """The server's side of one more client."""
    await Call(socket, service, "s").run()
