"""A line to a room that is mended when it breaks, and over which nothing old is sent.

Three tasks while it is up: one reads, one tells what stands (descriptor, presence), one sends what is said now. Where it breaks
it is tried again, within two seconds at the latest, for ever once it has been up: so a conversation goes on soon after its
carrier is back.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress

from .channel import Channel
from .clock import Clock, monotonic
from .errors import ChannelClosed, ConnectionFailed, RoomRefused
from .room_outbox import STALE_S, RoomOutbox
from .room_transport import RETAINED, Connect, Connection, LineDown, LineUp, RoomEvent, Slot

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 2.0
"""A talk shall go on within three seconds of its carrier's return."""
_GOODBYE_S = 1.0
_MOST_WAITING = 1024
"""Messages between the line and whoever listens."""


class RoomLink:
    """One peer's place in a room; `run` carries it.

    Attributes:
        incoming: what comes; ends when `run` has.
        counts: ``reconnects``, ``out.REASON`` for what was thrown away, ``sent.SLOT`` and ``bytes_out`` for what was not,
            ``received.SLOT`` and ``bytes_in``; bytes of payloads.
        is_up: whether there is a line.
    """

    def __init__(
        self,
        connect: Connect,
        prepare: Callable[[], None] = lambda: None,
        *,
        stale_s: float = STALE_S,
        patience_s: float = 5.0,
        clock: Clock = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            connect: opens a line.
            prepare: called before every attempt; may `publish` what stands in the session that begins.
            stale_s: how long speech may wait for the line.
            patience_s: how long to try before there has been a line.
        """
        self.incoming: Channel[RoomEvent] = Channel(_MOST_WAITING, "drop_oldest", "room")
        self.counts: Counter[str] = Counter()
        self.is_up = False
        self._connect = connect
        self._prepare = prepare
        self._patience_s = patience_s
        self._clock = clock
        self._sleep = sleep
        self._outbox = RoomOutbox(self.counts, stale_s)
        self._wake_live = asyncio.Event()
        self._wake_announcer = asyncio.Event()
        self._emptied = asyncio.Event()
        self._in_hand = 0  # payloads that the line is taking

    def publish(self, slot: Slot, payload: bytes) -> None:
        """Say something; never waits. What is said while the line is down is lost, but for ``d`` and ``s``."""
        if not self.is_up and slot not in RETAINED:
            self.counts["out.line_down"] += 1
            return
        self._outbox.put(slot, payload, self._clock())
        (self._wake_announcer if slot in RETAINED else self._wake_live).set()

    @property
    def lag_s(self) -> float:
        """How far the line is behind what is said: the wait of the payload that was sent last, or of the oldest that waits."""
        return max(self._outbox.lag_s, self._outbox.waiting_s(self._clock()))

    async def flush(self) -> None:
        """Wait until everything is on its way, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                while self.is_up and (self._in_hand or not self._outbox.is_empty):
                    self._emptied.clear()
                    await self._emptied.wait()

    async def run(self) -> None:
        """Carry the room until cancelled; then the others are told that we go.

        Raises:
            ConnectionFailed: there was no line within the patience.
            RoomRefused: there never will be one.
        """
        began_s, pause_s, ever = self._clock(), _FIRST_PAUSE_S, False
        try:
            while True:
                try:
                    self._prepare()
                    async with self._connect() as connection:
                        ever, up_s = True, self._clock()
                        try:
                            await self._carry(connection)
                        finally:
                            if (
                                self._clock() - up_s >= _LONGEST_PAUSE_S
                            ):  # else who lets us in and hangs up is asked ever faster
                                pause_s = _FIRST_PAUSE_S
                except RoomRefused:
                    raise
                except ConnectionFailed as error:
                    if not ever and self._clock() + pause_s > began_s + self._patience_s:
                        raise
                    if self.is_up:
                        self.is_up = False
                        self._outbox.restart()
                        self.counts["reconnects"] += 1
                        await self.incoming.send(LineDown(str(error)))
                await self._sleep(pause_s * random.uniform(0.75, 1.0))  # so that many do not come back at once
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self.is_up = False
            self.incoming.close()
            self._emptied.set()

    async def _carry(self, connection: Connection) -> None:
        """One line, to its end. Raises ConnectionFailed."""
        self.is_up = True
        await self.incoming.send(LineUp())
        jobs: list[Coroutine[None, None, None]] = [
            self._read(connection),
            self._tell(connection),
            self._say(connection),
        ]
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except asyncio.CancelledError:
            await asyncio.wait([asyncio.create_task(_say_goodbye(connection))], timeout=_GOODBYE_S)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        raise ConnectionFailed("the room's line has ended")

    async def _read(self, connection: Connection) -> None:
        async for message in connection.messages():
            self.counts[f"received.{message.slot}"] += 1
            self.counts["bytes_in"] += len(message.payload)
            with suppress(ChannelClosed):
                await self.incoming.send(message)

    async def _tell(self, connection: Connection) -> None:
        while True:
            self._wake_announcer.clear()
            while (said := self._outbox.take_announcement()) is not None:
                await self._send(connection, *said)
            self._emptied.set()
            await self._wake_announcer.wait()

    async def _say(self, connection: Connection) -> None:
        while True:
            self._wake_live.clear()
            while (said := self._outbox.take_live(self._clock())) is not None:
                await self._send(connection, *said)
            self._emptied.set()
            await self._wake_live.wait()

    async def _send(self, connection: Connection, slot: Slot, payload: bytes) -> None:
        self._in_hand += 1
        try:
            await connection.send(slot, payload)
        finally:
            self._in_hand -= 1
        self.counts[f"sent.{slot}"] += 1
        self.counts["bytes_out"] += len(payload)


async def _say_goodbye(connection: Connection) -> None:
    with suppress(ConnectionFailed):
        for slot in RETAINED[::-1]:
            await connection.send(slot, b"")
