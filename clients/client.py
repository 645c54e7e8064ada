"""A server's voice in ten lines:

    async def main() -> None:
        pcm, rate_hz = soundfile.read("a.wav", dtype="float32")

        async def said() -> AsyncIterator[Pcm]:
            yield pcm

        client = Client("ws://127.0.0.1:8765")
        heard = [block async for block in client.loopback(said(), rate_hz, books=4)]
        spoken = [block async for block in client.speak("Good morning.", voice="heart")]

Where the server does not answer, or has no row free, it tries again, ever slower, and gives up after ``patience_s`` with one
line that says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from sottovoce.stream import messages
from sottovoce.stream.channel import Channel, Policy
from sottovoce.stream.client_messages import Format, Start
from sottovoce.stream.clock import Clock, monotonic
from sottovoce.stream.errors import ConnectionFailed, SottovoceError, UsageError
from sottovoce.stream.failures import FAILURES, explain
from sottovoce.stream.frames import Pcm
from sottovoce.stream.server_messages import PROTOCOL, Hello
from sottovoce.stream.wire import MOST_BYTES

from .backoff import Backoff
from .talk import Refused, Talk, begin, greeting

T = TypeVar("T")

_OPEN_S = 5.0
"""What a handshake may take."""
MOST_IN_VAIN = 3
"""Lines that break one after the other, before anything was heard over them (of a text: a whole passage): there are no more."""
_WAITING_BLOCKS = 8
"""Of live sound, while the line is being mended; the oldest make room."""


@dataclass
class Client:
    """One server, and how patient to be with it."""

    url: str
    "``ws://host:port`` or ``wss://...``; the path is ours where none is given."
    token: str | None = field(default=None, repr=False)
    patience_s: float = 5.0
    "How long to try."
    told: Callable[[messages.ServerMessage], None] = lambda message: None
    "Gets every control message of a session: statistics, words."
    clock: Clock = monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    reconnects: int = 0
    "Times that live sound went on over another connection."

    async def hello(self) -> Hello:
        """What the server can do. Raises ConnectionFailed, ProtocolError, UsageError."""

        async def attempt() -> Hello:
            async with self._connected() as socket:
                return await greeting(socket)

        return await self._patiently(attempt)

    @asynccontextmanager
    async def talk(
        self, start: Start, plays_itself: bool = False, backoff: Backoff | None = None
    ) -> AsyncIterator[Talk]:
        """A session; see `Talk`.

        Args:
            start, plays_itself: as `Talk` has them.
            backoff: where it takes the place of a line that broke: its next pause is waited for first.

        Raises:
            ConnectionFailed, ProtocolError, UsageError.
        """

        async def attempt() -> tuple[ClientConnection, Talk]:
            socket = await self._connect()
            try:
                return socket, await begin(socket, start, self.told, plays_itself)
            except BaseException:
                await socket.close()
                raise

        socket, talk = await self._patiently(attempt, backoff)
        began_s = self.clock()
        try:
            yield talk
        finally:
            if backoff is not None:
                backoff.lasted(self.clock() - began_s)
            await socket.close()

    async def loopback(
        self,
        source: AsyncIterable[Pcm],
        rate_hz: int | None = None,
        *,
        books: int | None = None,
        frames_per_packet: int = 1,
        redundancy: int = 0,
        loss: float = 0.0,
        burst: float | None = None,
        live: bool = False,
    ) -> AsyncIterator[Pcm]:
        """``source`` through the server's codec and back.

        Args:
            source: blocks of sound, float32 [n] in [-1, 1].
            rate_hz: of both ends; None: the codec's.
            books, frames_per_packet, redundancy, loss, burst: as `sottovoce.stream.pipeline.Settings` has them.
            live: late sound is dropped, and a line that breaks is mended after a pause, longer each time until one holds, but
                not one that ever again breaks before anything comes back; else every sample comes back, in line with its
                original, and a line that breaks is an error.

        Raises:
            ConnectionFailed, ProtocolError, UsageError, and whatever ``source`` raises.
        """
        form = Format("pcm", "f32le", rate_hz)
        start = Start(
            "loopback",
            form,
            form,
            books=books,
            frames_per_packet=frames_per_packet,
            redundancy=redundancy,
            loss=loss,
            burst=burst,
            live=live,
            lead_ms=500.0 if live else 2000.0,
        )
        policy: Policy = "drop_oldest" if live else "wait"
        said: Channel[Pcm] = Channel(_WAITING_BLOCKS, policy, "said")
        pumping, in_vain = asyncio.create_task(_pump(source, said)), 0
        backoff: Backoff | None = None
        try:
            while True:
                begun = False
                try:
                    async with self.talk(start, backoff=backoff) as talk:
                        begun, in_vain = True, in_vain + 1
                        async for pcm in _exchange(talk, said):
                            in_vain = 0
                            yield pcm
                    break
                except Refused:
                    raise
                except ConnectionFailed:
                    if not (live and begun) or said.closed or in_vain == MOST_IN_VAIN:
                        raise
                    self.reconnects += 1
                    backoff = backoff or Backoff()
            await pumping
        finally:
            pumping.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await pumping

    async def speak(
        self,
        text: str | AsyncIterable[str],
        *,
        voice: str | None = None,
        speed: float | None = None,
        books: int | None = None,
        rate_hz: int | None = None,
        lead_ms: float = 2000.0,
    ) -> AsyncIterator[Pcm]:
        """``text``, or its pieces as they are written, spoken: blocks of sound, float32 [n] in [-1, 1].

        Args:
            voice: of ``hello().voices``; None: the first.
            speed: 1 is the voice's own; None: that.
            books: codebooks that are decoded; None: all.
            rate_hz: of the sound; None: the codec's.
            lead_ms: how far the server goes ahead of what was taken from here.

        At most ``hello().limits.text_chars`` may wait to be spoken: longer texts come in pieces, as they are spoken.

        Raises:
            ConnectionFailed, ProtocolError, UsageError, and whatever ``text`` raises.
        """
        form = Format("pcm", "f32le", rate_hz)
        start = Start("speak", form, form, voice=voice, speed=speed, books=books, live=False, lead_ms=lead_ms)
        async with self.talk(start) as talk:
            writing = asyncio.create_task(_write(talk, text))
            try:
                async for heard in talk:
                    if len(heard.pcm):
                        yield heard.pcm
                await writing
            except ConnectionFailed:
                if writing.done():
                    await writing  # where the text broke off, its error is the cause
                raise
            finally:
                writing.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await writing

    async def _patiently(self, attempt: Callable[[], Awaitable[T]], backoff: Backoff | None = None) -> T:
        """Try until it works, it cannot work, or the patience is over; with a ``backoff`` not before its next pause."""
        began_s = self.clock()
        if backoff is None:
            backoff = Backoff()
        else:
            await self.sleep(backoff.next_s())
        while True:
            try:
                return await attempt()
            except ConnectionFailed as error:
                wait_s = backoff.next_s()
                if isinstance(error, Refused):
                    if error.retry_ms is None:
                        raise
                    wait_s = max(wait_s, error.retry_ms / 1000)
                if isinstance(error, _Hopeless) or self.clock() + wait_s > began_s + self.patience_s:
                    raise
            await self.sleep(wait_s)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClientConnection]:
        socket = await self._connect()
        try:
            yield socket
        finally:
            await socket.close()

    async def _connect(self) -> ClientConnection:
        """One attempt. Raises ConnectionFailed; UsageError: the URL is none."""
        try:
            where = urlsplit(self.url)
        except ValueError:
            where = urlsplit("")
        if where.scheme not in ("ws", "wss") or not where.hostname or where.query:
            raise UsageError(f"a server has an address like ws://host:port, not {self.url!r}")
        url = urlunsplit(where._replace(path=where.path if where.path not in ("", "/") else messages.PATH))
        place = f"{where.scheme}://{where.netloc.rpartition('@')[2]}"
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        try:
            return await connect(
                url,
                subprotocols=[Subprotocol(PROTOCOL)],
                additional_headers=headers,
                compression=None,
                open_timeout=_OPEN_S,
                close_timeout=2,
                max_size=MOST_BYTES,
            )
        except FAILURES as error:
            failure = explain(error, place)
            kinds: dict[str, type[SottovoceError]] = {"passing": ConnectionFailed, "address": UsageError}
            raise kinds.get(failure.kind, _Hopeless)(failure.message) from error


class _Hopeless(ConnectionFailed):
    """It would be the same the next time."""


async def _write(talk: Talk, text: str | AsyncIterable[str]) -> None:
    """All of a text, whatever happens to it: who listens is told, and the session ended, where it breaks off."""
    try:
        if isinstance(text, str):
            await talk.write(text)
        else:
            async for piece in text:
                await talk.write(piece)
        await talk.end()
    except ConnectionFailed:
        pass
    except BaseException:
        talk.abort()
        raise


async def _pump(source: AsyncIterable[Pcm], said: Channel[Pcm]) -> None:
    """A source of its own pace into a channel that outlives connections."""
    async with said:
        async for block in source:
            await said.send(block)


async def _exchange(talk: Talk, said: Channel[Pcm]) -> AsyncIterator[Pcm]:
    """Say all of ``said``, and hear it, over one connection."""

    async def say() -> None:
        try:
            async for block in said:
                await talk.say(block)
            await talk.end()
        except ConnectionFailed:
            pass  # whoever listens is told

    saying = asyncio.create_task(say())
    try:
        async for heard in talk:
            if len(heard.pcm):
                yield heard.pcm
    finally:
        saying.cancel()
        with suppress(asyncio.CancelledError):
            await saying
