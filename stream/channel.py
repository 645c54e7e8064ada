"""A bounded, closable queue between two coroutines, with a stated policy for when it is full.

It belongs to one event loop and is not for threads. Every item that does not arrive is counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Literal, TypeVar

from .errors import ChannelClosed, ChannelFull

T = TypeVar("T")
Policy = Literal["wait", "drop_oldest", "refuse"]


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What a channel has seen so far."""

    name: str
    capacity: int
    policy: Policy
    sent: int
    "Items that went in."
    received: int
    "Items that came out."
    waiting: int
    "Items inside now."
    high_water: int
    "Most items that were ever inside."
    dropped: Mapping[str, int]
    "What was lost, by reason: ``overflow`` (drop_oldest), ``refused``, or what the holder gave to `drop`."


class Channel(Generic[T]):
    """A queue of at most ``capacity`` items.

    Policy when full: ``wait`` makes the sender wait (a stateful model must not miss a frame), ``drop_oldest``
    makes room by losing the oldest item (live capture), ``refuse`` raises `ChannelFull` in the sender.

    Iterating receives until the channel is closed and empty. ``async with channel`` closes it on the way out,
    which is how a stage tells the next one that it has ended, for whatever reason.
    """

    def __init__(self, capacity: int, policy: Policy = "wait", name: str = "") -> None:
        if capacity < 1:
            raise ValueError(f"a channel needs a capacity of at least 1, not {capacity}")
        if policy not in ("wait", "drop_oldest", "refuse"):
            raise ValueError(f"unknown policy {policy!r}")
        self.name = name
        self.capacity = capacity
        self.policy = policy
        self._items: deque[T] = deque()
        self._senders: deque[asyncio.Future[None]] = deque()
        self._receivers: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._sent = 0
        self._received = 0
        self._high_water = 0
        self._dropped: Counter[str] = Counter()

    @property
    def closed(self) -> bool:
        """Whether nothing more can be sent. What is inside can still be received."""
        return self._closed

    @property
    def waiting(self) -> int:
        """Items inside now."""
        return len(self._items)

    async def send(self, item: T) -> None:
        """Put ``item`` in; waits only under the policy ``wait``.

        Cancelling a waiting send means that the item was not sent.

        Raises:
            ChannelClosed: the channel is, or while waiting was, closed.
            ChannelFull: the policy is ``refuse`` and there is no room.
        """
        while len(self._items) >= self.capacity and not self._closed:
            if self.policy == "drop_oldest":
                self._items.popleft()
                self._dropped["overflow"] += 1
            elif self.policy == "refuse":
                self._dropped["refused"] += 1
                raise ChannelFull(f"channel {self.name or 'without name'} is full ({self.capacity} items)")
            else:
                await self.room()
        if self._closed:
            raise ChannelClosed(f"channel {self.name or 'without name'} is closed")
        self._items.append(item)
        self._sent += 1
        if len(self._items) > self._high_water:
            self._high_water = len(self._items)
        if self._receivers:
            _wake_one(self._receivers)

    async def room(self) -> None:
        """Wait, under any policy, until there is room for an item or the channel is closed."""
        while not self._closed and not self._has_room():
            await self._wait(self._senders, self._has_room)

    async def receive(self) -> T:
        """Take the oldest item, waiting for one if need be. Cancelling loses nothing.

        Raises:
            ChannelClosed: closed, and everything inside has been received.
        """
        while not self._items:
            if self._closed:
                raise ChannelClosed(f"channel {self.name or 'without name'} is closed")
            await self._wait(self._receivers, self._has_items)
        return self._take()

    def take_if(self, fits: Callable[[T], bool]) -> T | None:
        """The oldest item, if one is there and it ``fits``; never waits."""
        return self._take() if self._items and fits(self._items[0]) else None

    def close(self) -> None:
        """No more sending; receivers get what is left. Closing twice is fine."""
        self._closed = True
        for waiters in (self._senders, self._receivers):
            while waiters:
                _wake_one(waiters)

    def drop(self, reason: str, n_items: int = 1) -> None:
        """Count items that their receiver threw away after taking them out (stale ones, say); 0 leaves no trace."""
        if n_items:
            self._dropped[reason] += n_items

    def statistics(self) -> ChannelStatistics:
        """A copy of the counters."""
        return ChannelStatistics(
            name=self.name,
            capacity=self.capacity,
            policy=self.policy,
            sent=self._sent,
            received=self._received,
            waiting=len(self._items),
            high_water=self._high_water,
            dropped=dict(self._dropped),
        )

    def __aiter__(self) -> Channel[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            await self._wait(self._receivers, self._has_items)
        return self._take()

    async def __aenter__(self) -> Channel[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> T:
        item = self._items.popleft()
        self._received += 1
        if self._senders:
            _wake_one(self._senders)
        return item

    def _has_room(self) -> bool:
        return len(self._items) < self.capacity

    def _has_items(self) -> bool:
        return bool(self._items)

    async def _wait(self, waiters: deque[asyncio.Future[None]], worthwhile: Callable[[], bool]) -> None:
        """Sleep until woken. One that was woken and cancelled at once passes the wake-up on."""
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in waiters:
                waiters.remove(waiter)
            elif worthwhile():
                _wake_one(waiters)
            raise


def _wake_one(waiters: deque[asyncio.Future[None]]) -> None:
    while waiters:
        waiter = waiters.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return
