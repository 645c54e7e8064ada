"""``/v1/room``: a WebSocket as a place in a room (PROTOCOL.md, section 3). Takes no row of the engine and decodes nothing.

First a `Join` and its `Joined`, both JSON; then binary messages as ``room_relay.py`` has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from . import schema
from .allowance import Allowance
from .clock import Clock, monotonic
from .errors import ProtocolError
from .room_relay import read_up
from .room_transport import KEEP_ALIVE_S
from .rooms import ROOM_CLOSE_CODES, Join, Joined, Member, Rooms
from .server_messages import Error

_JOIN_S = 5.0
"""What the first message may take."""
_RETRY_MS = 1000.0
_MOST_CHARS = 1000
"""Of a join."""


class Socket(Protocol):
    """As `call.Socket`."""

    async def receive(self) -> str | bytes | None: ...
    async def send(self, message: str | bytes) -> None: ...
    async def close(self, code: int) -> None: ...


async def attend(socket: Socket, rooms: Rooms, clock: Clock = monotonic) -> None:
    """One peer, from its first message to its leave. Raises nothing that it could cause."""
    try:
        async with asyncio.timeout(_JOIN_S):
            message = await socket.receive()
    except TimeoutError:
        return await _goodbye(socket, rooms, "idle", f"a join comes within {_JOIN_S:g} s")
    if message is None:
        return
    wake = asyncio.Event()
    try:
        member = rooms.join(_read_join(message), wake.set)
    except ProtocolError as error:
        return await _goodbye(socket, rooms, error.code, str(error))
    reading = asyncio.create_task(_read(socket, member, rooms, clock))
    try:
        await _write(socket, member, rooms, wake)
        if member.ended_by != "gone":
            await _goodbye(socket, rooms, member.ended_by or "internal", member.reason)
    finally:
        member.leave()
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.result()


def _read_join(message: str | bytes) -> Join:
    """Raises ProtocolError."""
    if isinstance(message, bytes):
        raise ProtocolError("bad_message", "a join must come first")
    values = schema.parse(message, _MOST_CHARS)
    if values.get("type") != Join.TYPE:
        raise ProtocolError("bad_message", "a join must come first")
    return schema.read(Join, values, Join.TYPE)


async def _read(socket: Socket, member: Member, rooms: Rooms, clock: Clock) -> None:
    """Hand on what comes, until the peer leaves or is not heard of."""
    allowance = Allowance(rooms.limits.messages_per_s, clock())
    try:
        while True:
            async with asyncio.timeout(1.5 * KEEP_ALIVE_S):
                message = await socket.receive()
            if message is None:
                return member.leave()
            await asyncio.sleep(allowance.wait_s(clock()))
            if isinstance(message, bytes) and (said := read_up(message)) is not None:
                member.say(said)
    except TimeoutError:
        member.leave("idle", f"nothing was heard of you for {1.5 * KEEP_ALIVE_S:g} s")
    except ProtocolError as error:
        member.leave(error.code, str(error))


async def _write(socket: Socket, member: Member, rooms: Rooms, wake: asyncio.Event) -> None:
    """Send what there is, until the member has left."""
    slow_s = rooms.limits.slow_s
    joined = Joined(messages_per_s=rooms.limits.messages_per_s)
    try:
        await _in_time(socket.send(_written(joined)), slow_s)
        while member.ended_by is None:
            wake.clear()
            while member.ended_by is None and (message := member.take()) is not None:
                await _in_time(socket.send(message), slow_s)
            if member.ended_by is None:
                await wake.wait()
    except TimeoutError:
        member.leave()  # the line takes nothing: there is no goodbye
    except OSError:
        member.leave()


async def _goodbye(socket: Socket, rooms: Rooms, code: str, reason: str) -> None:
    retry_ms = _RETRY_MS if code == "no_slot" else None
    try:
        await _in_time(socket.send(_written(Error(code, reason, retry_ms=retry_ms))), rooms.limits.slow_s)
        await _in_time(socket.close(ROOM_CLOSE_CODES[code]), rooms.limits.slow_s)
    except OSError:  # TimeoutError is one
        pass


async def _in_time(sending: Awaitable[None], slow_s: float) -> None:
    async with asyncio.timeout(slow_s):
        await sending


def _written(message: Joined | Error) -> str:
    return '{"type":"' + message.TYPE + '",' + schema.write(message)[1:]
