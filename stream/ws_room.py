"""A room on a sottovoce server, through its WebSocket ``/v1/room`` (PROTOCOL.md, section 3)."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from . import schema
from .errors import ConnectionFailed, ProtocolError, RoomRefused
from .failures import FAILURES, explain
from .room_relay import Relayed, read_down
from .room_transport import KEEP_ALIVE_S, MOST_PAYLOAD_BYTES, Connection, RoomMessage, Slot, hold_little
from .rooms import PATH, ROOM_PROTOCOL, Join, Joined
from .server_messages import Error

_CONNECT_S = 5.0
_MOST_CHARS = 4000
"""Of a control message."""
_PASSING = ("no_slot", "rate_limited", "slow", "idle", "internal")
"""Errors that may not be there the next time."""


@dataclass(frozen=True, slots=True)
class RoomServer:
    """Where a server is, and how it is asked."""

    url: str
    "``ws://host:port`` or ``wss://...``, without a path."
    token: str | None = field(default=None, repr=False)
    authorities: str | None = None
    "File of certificates to trust instead of the system's."


class WsRoom:
    """Connects one peer to one room of a server, again and again: `connect` is what a `RoomLink` needs.

    Attributes:
        counts: ``in.malformed`` for what the server passed on and nobody understands.
    """

    def __init__(
        self, server: RoomServer, room: str, peer: str | None, counts: Counter[str] | None = None, listens: bool = True
    ) -> None:
        """``room`` and ``peer``: as they travel; without a ``peer`` only to listen, without ``listens`` only to speak."""
        self.counts: Counter[str] = Counter() if counts is None else counts
        self._server = server
        self._join = Join(room, peer, listens, secrets.token_hex(8))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """A line, joined. Raises ConnectionFailed; RoomRefused: the server does not let us in, or cannot be trusted."""
        connection = await self._open()
        try:
            await self._begin(connection)
            line = _Line(connection, self.counts)
            living = asyncio.create_task(line.keep_alive())
            try:
                yield line
            finally:
                living.cancel()
                await asyncio.wait([living])
        finally:
            await connection.close()

    async def _open(self) -> ClientConnection:
        server = self._server
        headers = {} if server.token is None else {"Authorization": f"Bearer {server.token}"}
        trusted = None
        try:
            if server.url.startswith("wss:"):
                trusted = ssl.create_default_context(cafile=server.authorities)
            connection = await connect(
                server.url + PATH,
                subprotocols=[Subprotocol(ROOM_PROTOCOL)],
                additional_headers=headers,
                compression=None,
                ssl=trusted,
                open_timeout=_CONNECT_S,
                close_timeout=1,
                ping_interval=KEEP_ALIVE_S,
                ping_timeout=KEEP_ALIVE_S,
                max_size=2 * MOST_PAYLOAD_BYTES,
            )
        except FAILURES as error:
            failure = explain(error, server.url, untrusted="; see --ca")
            passing = failure.kind in ("passing", "strange")  # a server that ends looks strange, and may come back
            raise (ConnectionFailed if passing else RoomRefused)(failure.message) from error
        hold_little(connection.transport)
        return connection

    async def _begin(self, connection: ClientConnection) -> None:
        """Raises ConnectionFailed, RoomRefused."""
        try:
            with suppress(ConnectionClosed):  # what the server said before it closed is still to be read
                await connection.send('{"type":"join",' + schema.write(self._join)[1:])
            async with asyncio.timeout(_CONNECT_S):
                answer = await connection.recv()
        except (ConnectionClosed, TimeoutError) as error:
            raise ConnectionFailed(f"{self._server.url} does not let us join a room ({error})") from error
        try:
            _read_control(answer)
        except ProtocolError as error:
            raise RoomRefused(f"{self._server.url} answers, but has no rooms: {error}") from error


class _Line:
    """One connection that has joined."""

    def __init__(self, connection: ClientConnection, counts: Counter[str]) -> None:
        self._connection = connection
        self._counts = counts
        self._silent = True  # nothing was sent since the last look

    async def send(self, slot: Slot, payload: bytes) -> None:
        self._silent = False
        try:
            await self._connection.send(Relayed(slot, payload).pack_up())
        except ConnectionClosed as error:
            raise ConnectionFailed("the server went away") from error

    async def messages(self) -> AsyncIterator[RoomMessage]:
        try:
            async for message in self._connection:
                try:
                    if isinstance(message, str):
                        _read_control(message)
                    elif (said := read_down(message)) is not None:
                        yield RoomMessage(said.peer, said.slot, said.payload)
                except ProtocolError:
                    self._counts["in.malformed"] += 1
        except ConnectionClosed as error:
            raise ConnectionFailed("the server went away") from error
        raise ConnectionFailed("the server has ended")

    async def keep_alive(self) -> None:
        """Say that we are there, where nothing else says it."""
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(KEEP_ALIVE_S)
                if self._silent:
                    await self._connection.send(b"")
                self._silent = True


def _read_control(message: str | bytes) -> None:
    """Look at a control message. Raises ConnectionFailed or RoomRefused: it is an error; ProtocolError: malformed."""
    if isinstance(message, bytes):
        raise ProtocolError("bad_message", "a joined must come first")
    values = schema.parse(message, _MOST_CHARS)
    match values.get("type"):
        case Joined.TYPE:
            schema.read(Joined, values, Joined.TYPE)
        case Error.TYPE:
            error = schema.read(Error, values, Error.TYPE)
            kind = ConnectionFailed if error.code in _PASSING else RoomRefused
            raise kind(f"the server refuses: {error.message}")
