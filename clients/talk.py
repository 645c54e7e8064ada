"""One session with a server, seen from the client: what is said, what is heard, and the credit between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from sottovoce.stream import messages, wire
from sottovoce.stream.client_messages import MOST_CHARS, Cancel, Credit, End, Start, Text, TextEnd, TextFlush, Update
from sottovoce.stream.errors import ConnectionFailed
from sottovoce.stream.frames import Pcm
from sottovoce.stream.samples import from_bytes, to_bytes
from sottovoce.stream.server_messages import Error, Hello, Started, Taken
from sottovoce.stream.wire import Flag, Kind, Media

_PIECE_MS = 200.0
"""Sound that waits goes in pieces of so much at most."""


class Refused(ConnectionFailed):
    """The server said why it will not, or will not go on."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"the server refuses: {error.message}")
        self.code = error.code
        self.retry_ms = error.retry_ms


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Something of the present generation."""

    pcm: Pcm
    "Sound at the rate of ``start.out``; empty where codes or a picture came."
    media: Media
    start_ms: float
    "Within the generation."


class Talk:
    """A session that has started. Say and listen in two tasks: what is said may have to wait for what the server tells.

    Iterating gives what is heard until the server ends, and says `played` of everything but the piece in hand, unless
    ``plays_itself``. That the first piece has come is said at once: so the server knows how long the line takes.
    """

    def __init__(
        self,
        socket: ClientConnection,
        hello: Hello,
        start: Start,
        started: Started,
        told: Callable[[messages.ServerMessage], None] = lambda message: None,
        plays_itself: bool = False,
    ) -> None:
        """``told`` gets every control message; with ``plays_itself`` the caller calls `played`."""
        self.hello = hello
        self.started = started
        self.generation = started.generation
        self.played_ms = 0.0
        self._socket = socket
        self._start = start
        self._told = told
        self._plays_itself = plays_itself
        self._in_hz = start.in_.rate_hz or hello.codec.rate_hz
        self._out_hz = start.out.rate_hz or hello.codec.rate_hz
        self._seq = self._said = 0
        self._taken_ms = self._credited_ms = 0.0
        self._heard_ms = 0.0  # the end of what came last
        self._taken = asyncio.Event()

    async def say(self, pcm: Pcm) -> None:
        """Send sound [n] at the rate of ``start.in``; waits where sound waits. Raises ConnectionFailed."""
        piece = max(int(self._in_hz * _PIECE_MS / 1000), 1)
        for at in range(0, len(pcm), piece):
            samples = pcm[at : at + piece]
            end_ms = 1000 * (self._said + len(samples)) / self._in_hz
            while not self._start.live and end_ms > self._taken_ms + self.hello.limits.ahead_ms:
                self._taken.clear()
                await self._taken.wait()
            await self._say_media(Kind.PCM, to_bytes(samples, self._start.in_.format), len(samples), len(samples))

    async def say_packet(self, packed: bytes, n_frames: int) -> None:
        """Send a code packet. Raises ConnectionFailed."""
        await self._say_media(Kind.CODES, packed, n_frames, n_frames * self.hello.codec.frame_samples)

    async def write(self, text: str) -> None:
        """Send a piece of text to be spoken; it need not end with a word. Raises ConnectionFailed."""
        most = min(MOST_CHARS, self.hello.limits.text_chars)
        for at in range(0, len(text), most):
            await self._send(Text(text[at : at + most]))

    async def flush_text(self) -> None:
        """What was written shall be spoken now, even if no sentence has ended. Raises ConnectionFailed."""
        await self._send(TextFlush())

    async def end_text(self) -> None:
        """The text is complete; another may follow. Raises ConnectionFailed."""
        await self._send(TextEnd())

    async def end(self) -> None:
        """Nothing more is said; the rest is still to be heard. Raises ConnectionFailed."""
        await self._send(End())

    async def update(self, update: Update) -> None:
        """Turn a dial. Raises ConnectionFailed."""
        await self._send(update)

    async def cancel(self) -> None:
        """Barge-in: what is on its way is not heard, what is said from now on is new. Raises ConnectionFailed."""
        cancelled, self.generation = self.generation, self.generation + 1 & 0xFFFF
        played_ms, self.played_ms, self._credited_ms, self._heard_ms = self.played_ms, 0.0, 0.0, 0.0
        await self._send(Cancel(cancelled, played_ms))

    async def played(self, played_ms: float, buffered_ms: float = 0.0, underruns: int = 0) -> None:
        """Tell how far the present generation was played. Raises ConnectionFailed."""
        self.played_ms = self._credited_ms = played_ms
        await self._send(Credit(self.generation, played_ms, buffered_ms, underruns))

    def abort(self) -> None:
        """Break the connection at once: whoever waits for it gets ConnectionFailed."""
        self._socket.transport.abort()

    def __aiter__(self) -> Talk:
        return self

    async def __anext__(self) -> Heard:
        """Raises Refused: the server ended with an error; ConnectionFailed: it went away; ProtocolError: it broke the rules."""
        if not self._plays_itself:
            self.played_ms = self._heard_ms
            if self.played_ms - self._credited_ms >= self.started.lead_ms / 4:
                with suppress(ConnectionFailed):  # what came before the end is still to be heard
                    await self.played(self.played_ms)
        while True:
            message = await _receive(self._socket)
            if isinstance(message, bytes):
                media = wire.unpack(message)
                if wire.behind(media.generation, self.generation) == 0:
                    is_first, heard = self._heard_ms == 0, self._heard(media)
                    if is_first and self._heard_ms > 0:
                        with suppress(ConnectionFailed):
                            await self.played(0.0, self._heard_ms - heard.start_ms)
                    return heard
            elif self._obey(messages.from_server(message)):
                raise StopAsyncIteration

    def _heard(self, media: Media) -> Heard:
        if media.kind == Kind.PCM:
            start_ms = 1000 * media.time / self._out_hz
            self._heard_ms = start_ms + 1000 * media.count / self._out_hz
            return Heard(from_bytes(media.payload, self._start.out.format), media, start_ms)
        codec = self.hello.codec
        start_ms = 1000 * media.time / codec.rate_hz
        if media.kind == Kind.CODES:
            self._heard_ms = start_ms + media.count * codec.frame_ms
        return Heard(np.zeros(0, np.float32), media, start_ms)

    def _obey(self, message: messages.ServerMessage | None) -> bool:
        """Whether that was the last."""
        if message is None:
            return False
        match message:
            case Taken(taken_ms):
                self._taken_ms = taken_ms
                self._taken.set()
            case Error(fatal=True):
                raise Refused(message)
        self._told(message)
        return isinstance(message, End)

    async def _say_media(self, kind: Kind, payload: bytes, count: int, n_samples: int) -> None:
        time, self._said = self._said, self._said + n_samples
        flags = Flag.FIRST if time == 0 else Flag(0)
        media = Media(kind, self._seq, self.generation, count, time & 0xFFFFFFFF, payload, flags)
        self._seq = self._seq + 1 & 0xFFFF
        await self._send(media)

    async def _send(self, message: messages.ClientMessage | Media) -> None:
        try:
            await self._socket.send(message.pack() if isinstance(message, Media) else messages.encode(message))
        except ConnectionClosed as closed:
            raise ConnectionFailed("the server went away") from closed


async def _receive(socket: ClientConnection) -> str | bytes:
    """Raises ConnectionFailed."""
    try:
        return await socket.recv()
    except ConnectionClosed as closed:
        raise ConnectionFailed("the server went away") from closed


async def begin(
    socket: ClientConnection, start: Start, told: Callable[[messages.ServerMessage], None], plays_itself: bool
) -> Talk:
    """Hear the server's hello, and start. Raises ConnectionFailed, Refused; ProtocolError: that is another protocol."""
    hello = await greeting(socket)
    try:
        await socket.send(messages.encode(start))
    except ConnectionClosed as closed:
        raise ConnectionFailed("the server went away") from closed
    while True:
        match messages.from_server(_text(await _receive(socket))):
            case Started() as started:
                return Talk(socket, hello, start, started, told, plays_itself)
            case Error() as error:
                raise Refused(error)


async def greeting(socket: ClientConnection) -> Hello:
    """The server's first word. Raises as `begin`."""
    match messages.from_server(_text(await _receive(socket))):
        case Hello() as hello:
            return hello
        case Error() as error:
            raise Refused(error)
        case _:
            raise ConnectionFailed("what answers there is no sottovoce server")


def _text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise ConnectionFailed("what answers there is no sottovoce server")
    return message
