"""The server's application on uvicorn: its sockets, TLS, and its end."""

from __future__ import annotations

import asyncio
import logging
import math
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.h11_impl import RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from .errors import ServeError
from .http_connection import HttpConnection
from .room_transport import hold_little
from .rooms import PATH as ROOM_PATH
from .server_messages import Limits

_LINGER_S = 5.0
"""What a client has for its side of a goodbye."""
_SHUTDOWN_S = 3
"""The same when the server ends."""
_LOOK_S = 0.25
"""How often to look whether a client is gone that is not read."""
_PIECE_BYTES = 1536
"""What is parsed at least: tiny messages take milliseconds a kilobyte, and 256 of those may come together. A frame of sound
at 16 kHz fits."""
_PARSING_S = 0.001
"""What is parsed at once, a piece beyond it."""
_FEW = 4
"""So many connections are heard at once."""
_MOST_PONG_BYTES = 1 << 20
"""Who takes none of them pings no more."""
_PACE_S = 0.01
"""Between the rounds in which more are heard, where nobody says another."""


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate with its chain, and its key, as PEM files."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raises ServeError: they cannot be read, do not belong together, or the key has a password."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, lambda: "")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
            raise ServeError(f"{self.certificate} and {self.key} cannot be used: {reason}") from error


async def host(
    app: ASGIApp,
    listening: socket.socket,
    limits: Limits,
    tls: Tls | None = None,
    ready: Callable[[], None] = lambda: None,
    pace_s: Callable[[], float] = lambda: _PACE_S,
) -> None:
    """Serve ``app`` on the bound socket ``listening`` until cancelled.

    ``pace_s``: how far apart the rounds are in which many clients are heard. Raises ServeError as `Tls.check`.
    """
    if tls is not None:
        tls.check()
    config = uvicorn.Config(
        app,
        http=_HttpProtocol,
        ws=partial(_WebSocketProtocol, pace_s=pace_s),  # type: ignore[arg-type]  # it is called, nothing else
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,  # codes and noise do not get smaller, and waiting for more costs time
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,  # it would hold URLs
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )
    server = _Server(config, ready)
    logging.getLogger("uvicorn.error").addFilter(_in_one_line)
    serving = asyncio.create_task(server.serve([listening]), name="uvicorn")
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it, and says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


class _HttpProtocol(HttpConnection):
    """uvicorn's, but an answer may break off, and ends with the server; a client that takes nothing loses its connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._inner, self.app = self.app, self._answer

    def shutdown(self) -> None:
        """The server ends."""
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # the application is told that its client is gone

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = self.cycle
        await self._inner(scope, receive, send)
        if cycle.response_complete:
            self._watch(cycle)
        elif cycle.response_started and not cycle.disconnected:
            cycle.disconnected = True  # nothing more can be said; uvicorn would complain
            self.transport.close()
            self.loop.call_later(_LINGER_S, self.transport.abort)

    def _watch(self, cycle: RequestResponseCycle, before: int | None = None) -> None:
        """Until the last of an answer is taken; whoever takes none of it for a while is left."""
        waiting = self.transport.get_write_buffer_size()
        if waiting == before:
            self.transport.abort()
        elif waiting and self.cycle is cycle:
            self.loop.call_later(_LINGER_S, self._watch, cycle, waiting)


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, but for clients that mean no good, or are gone.

    - A client that reads nothing cannot keep its connection once the application is done with it.
    - What comes is parsed piece by piece, others have their turn between.
    - Where there are many, they are heard in rounds: work that is done for several at once costs each of them half or less.
    - Who is gone is gone at once, whatever was sent before: while something waits uvicorn reads no more, so not the end either.
    """

    _looking: asyncio.TimerHandle | None = None
    _parsing: asyncio.Handle | None = None

    def __init__(self, *given: Any, pace_s: Callable[[], float], **named: Any) -> None:
        super().__init__(*given, **named)
        self._pace_s = pace_s
        self._unread = bytearray()

    async def run_asgi(self) -> None:
        if self.scope["path"] == ROOM_PATH:
            hold_little(self.transport)
        await super().run_asgi()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if self._parsing is None and not self.read_paused:
            if len(self.connections) <= _FEW:
                self._parse()
            else:
                pace_s = self._pace_s()
                self._parsing = self.loop.call_at(math.ceil(self.loop.time() / pace_s) * pace_s, self._parse)

    async def receive(self) -> ASGIReceiveEvent:
        message = await super().receive()
        if self._parsing is None and not self.read_paused and self._unread:
            self._parse()
        return message

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > _MOST_PONG_BYTES:
            self.transport.abort()

    async def send(self, message: ASGISendEvent) -> None:
        if self.close_sent:  # what came was no WebSocket: the application has yet to hear of it
            raise ClientDisconnected
        sound = message.get("bytes")
        may_send = self.handshake_complete and not self.disconnected and self.writable.is_set()
        if sound is not None and may_send and self.conn.state is State.OPEN:
            # What is sent most takes the short way: uvicorn's is three times as long.
            self.transport.write(Frame(Opcode.BINARY, sound).serialize(mask=False))  # type: ignore[arg-type]
        else:
            try:
                await super().send(message)
            except RuntimeError:  # it was closed while this waited, and uvicorn takes that for the application's fault
                if not (self.close_sent or self.transport.is_closing()):
                    raise
                raise ClientDisconnected from None

    def _parse(self) -> None:
        """What there is, or a millisecond's worth; the rest as soon as the application has taken what was said."""
        self._parsing = None
        until_s = self.loop.time() + _PARSING_S
        while not self.transport.is_closing():
            piece = bytes(self._unread[:_PIECE_BYTES])
            del self._unread[:_PIECE_BYTES]
            super().data_received(piece)
            if not self._unread or self.read_paused or self.loop.time() > until_s:
                break
        if self.transport.is_closing():
            return
        if self._unread:
            self.transport.pause_reading()
            if not self.read_paused:
                self._parsing = self.loop.call_soon(self._parse)
        elif not self.read_paused:
            self.transport.resume_reading()

    def send_receive_event_to_app(self) -> None:
        before, self.read_paused = self.read_paused, True  # uvicorn would stop and start reading with every message,
        super().send_receive_event_to_app()
        self.read_paused = before
        if not before and self.queue.qsize() > 1:  # which is two system calls: the second that waits is soon enough
            self.read_paused = True
            self.transport.pause_reading()
        if self.read_paused and self._looking is None:
            self._looking = self.loop.call_later(_LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        for handle in (self._looking, self._parsing):
            if handle is not None:
                handle.cancel()
        self._forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self._forget()
        super().shutdown()

    def keepalive_timeout(self) -> None:
        if self.read_paused:  # its pong may be among what we have not read
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def _look(self) -> None:
        self._looking = None
        if self.read_paused and not self.transport.is_closing():
            if _hung_up(self.transport.get_extra_info("socket")):
                self.transport.abort()
            else:
                if self.conn.state is State.OPEN and not self.transport.get_write_buffer_size():
                    self.conn.send_ping(
                        b""
                    )  # a machine where nobody listens any more says so, even with much on its way here
                    self.transport.write(b"".join(self.conn.data_to_send()))
                self._looking = self.loop.call_later(_LOOK_S, self._look)

    def _forget(self) -> None:
        """What was said by somebody who will hear no answer."""
        self._unread.clear()
        waiting = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        for message in waiting:
            if message["type"] != "websocket.receive":
                self.queue.put_nowait(message)


def _hung_up(connection: socket.socket) -> bool:
    """Whether the other end has closed it, though there may still be something to read. Not all systems tell."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(connection.fileno(), getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))


def _in_one_line(record: logging.LogRecord) -> bool:
    """A text that is no UTF-8 is a client's fault, as a request that is no HTTP is: uvicorn would print a traceback for it."""
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True
