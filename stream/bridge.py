"""A bridge between two rooms: whoever is in one is in the other too, by the same name, each over a line of its own.

So a carrier tells of each of them when it is lost, and limits hold for each. Payloads pass as they are, sealed or not; the two
rooms need the same name where there is a key, as it is part of what seals hold to. Names that are in both rooms already are not
carried over, nor are those that a bridge has made: so two bridges make no circle.
"""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from .clock import Clock, monotonic
from .errors import ConnectionFailed
from .room_link import RoomLink
from .room_transport import RETAINED, Connect, LineDown, LineUp, RoomMessage, Slot

SETTLE_S = 1.0
"""After a line came up: nobody is carried over before it is known who is there already."""
_ROUND_S = 1.0
"""Until what somebody said last on the other side has come round: it is still known then as carried over."""
MOST_PEERS = 64
"""That are carried over, of each room."""
MOST_NATIVE = 4 * MOST_PEERS
"""That are known, of each room."""

Side = Callable[[str | None], Connect]
"""Connects to one of the rooms, as a peer that only speaks; None: only to listen."""


class Bridge:
    """Carries both ways until `run` is cancelled.

    Attributes:
        counts: ``carried.SLOT``, ``refused.name_taken``, ``refused.too_many``, ``refused.carrier``.
    """

    def __init__(
        self, one: Side, other: Side, told: Callable[[str], None] = lambda line: None, clock: Clock = monotonic
    ) -> None:
        """``told`` gets a line about whoever cannot be carried over."""
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self._told = told
        self._ways = _Way(self, one, other), _Way(self, other, one)

    async def run(self) -> None:
        """Raises ConnectionFailed, RoomRefused: one of the rooms cannot be reached."""
        there, back = self._ways
        there.opposite, back.opposite = back, there
        tasks = [asyncio.create_task(way.run()) for way in self._ways]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def refuse(self, peer: str, reason: str, why: str) -> None:
        """Count it, and say so."""
        self.counts[f"refused.{reason}"] += 1
        self._told(f"{peer} is not carried over: {why}")


class _Way:
    """From one room into the other.

    Attributes:
        native: who is in the room that this way begins in, of its own.
        settled: whether that is known.
        carried: who was carried into the room that it ends in, and the line of each.
    """

    opposite: _Way

    def __init__(self, bridge: Bridge, begin: Side, end: Side) -> None:
        self.native: set[str] = set()
        self.carried: dict[str, tuple[RoomLink, Task[None]]] = {}
        self._bridge = bridge
        self._link = RoomLink(begin(None), clock=bridge.clock)
        self._end = end
        self._refused: set[str] = set()
        self._leaving: set[str] = set()
        self._ending: set[Task[None]] = set()
        self.settled = asyncio.Event()
        self._settling: Task[None] | None = None
        self._held: dict[tuple[str, Slot], RoomMessage] = {}  # until then; what stands

    async def run(self) -> None:
        """Raises ConnectionFailed, RoomRefused."""
        listening = asyncio.create_task(self._listen())
        try:
            await self._link.run()
        finally:
            listening.cancel()
            if self._settling is not None:
                self._settling.cancel()
            tasks = [*self._ending, *(task for _, task in self.carried.values())]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)  # each takes its leave

    async def _listen(self) -> None:
        async for event in self._link.incoming:
            if isinstance(event, LineUp):
                self._settling = asyncio.create_task(self._settle())
            elif isinstance(event, LineDown):
                if self._settling is not None:
                    self._settling.cancel()
                self.settled.clear()
                self._held.clear()
                self.native.clear()
                for peer in list(self.carried):
                    self._drop(peer)
            elif event.peer not in self.opposite.carried:
                self._pass_on(event)

    async def _settle(self) -> None:
        await asyncio.sleep(SETTLE_S)
        self.settled.set()
        if self.opposite.settled.is_set():
            self._let_go()
            self.opposite._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, {}
        for message in held.values():
            self._pass_on(message)

    def _pass_on(self, message: RoomMessage) -> None:
        peer = message.peer
        if message.slot in RETAINED and not message.payload:
            if message.slot == "s":
                self.native.discard(peer)
                self._refused.discard(peer)
                self._held = {place: held for place, held in self._held.items() if place[0] != peer}
                self._drop(peer)
            return
        if peer not in self.native:
            if message.slot not in RETAINED or len(self.native) >= MOST_NATIVE:  # who is there says so first
                self._bridge.counts["unknown"] += 1
                return
            self.native.add(peer)
        if not (self.settled.is_set() and self.opposite.settled.is_set()):
            if message.slot in RETAINED:
                self._held[peer, message.slot] = message
            return
        if peer in self._leaving:
            if message.slot in RETAINED:
                self._held[peer, message.slot] = message
            return
        if peer not in self.carried and not self._carry(peer):
            return
        self.carried[peer][0].publish(message.slot, message.payload)
        self._bridge.counts[f"carried.{message.slot}"] += 1

    def _carry(self, peer: str) -> bool:
        """Whether it can be."""
        if peer in self._refused:
            return False
        reason = None
        if peer in self.opposite.native:
            reason = "name_taken", "somebody there has that name"
        elif len(self.carried) >= MOST_PEERS:
            reason = "too_many", f"{MOST_PEERS} are"
        if reason is not None:
            self._refused.add(peer)
            self._bridge.refuse(peer, *reason)
            return False
        link = RoomLink(self._end(peer), clock=self._bridge.clock)
        self.carried[peer] = link, asyncio.create_task(self._keep(peer, link))
        return True

    async def _keep(self, peer: str, link: RoomLink) -> None:
        ignoring = asyncio.create_task(_ignore(link))
        try:
            await link.run()
        except ConnectionFailed as error:
            self.carried.pop(peer, None)
            self._refused.add(peer)
            self._bridge.refuse(peer, "carrier", str(error))
        finally:
            ignoring.cancel()

    def _drop(self, peer: str) -> None:
        """Its last words, then its leave."""
        if peer in self.carried and peer not in self._leaving:
            self._leaving.add(peer)
            task = asyncio.create_task(self._end_of(peer))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end_of(self, peer: str) -> None:
        link, task = self.carried[peer]
        await link.flush()
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(_ROUND_S)
        self.carried.pop(peer, None)
        self._leaving.discard(peer)
        self._let_go()  # it may have come again


async def _ignore(link: RoomLink) -> None:
    """What comes to somebody who was carried over comes to the bridge as well."""
    with suppress(asyncio.CancelledError):
        async for _ in link.incoming:
            pass
