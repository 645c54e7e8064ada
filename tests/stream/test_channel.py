"""Channels: bounded, closable, nothing lost without being counted."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.channel import Channel
from sottovoce.stream.errors import ChannelClosed, ChannelFull
from support import virtual_time


def test_waiting_senders_lose_nothing_and_keep_order() -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(2)

        async def send() -> None:
            async with channel:
                for i in range(10):
                    await channel.send(i)

        sender = asyncio.create_task(send())
        assert [i async for i in channel] == list(range(10))
        await sender
        seen = channel.statistics()
        assert (seen.sent, seen.received, seen.waiting, seen.high_water, seen.dropped) == (10, 10, 0, 2, {})

    virtual_time.run(main())


def test_drop_oldest_keeps_the_newest_and_counts() -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(3, "drop_oldest")
        for i in range(10):
            await channel.send(i)
        channel.close()
        assert [i async for i in channel] == [7, 8, 9]
        assert channel.statistics().dropped == {"overflow": 7}

    virtual_time.run(main())


def test_refuse_tells_the_sender_and_counts() -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(1, "refuse", "door")
        await channel.send(1)
        with pytest.raises(ChannelFull, match="door"):
            await channel.send(2)
        assert await channel.receive() == 1
        await channel.send(3)
        assert channel.statistics().dropped == {"refused": 1}

    virtual_time.run(main())


def test_closing_lets_what_is_inside_out_and_wakes_everybody() -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(1)
        await channel.send(1)
        blocked = [asyncio.create_task(channel.send(i)) for i in (2, 3)]
        await asyncio.sleep(1)
        channel.close()
        channel.close()
        ends = await asyncio.gather(*blocked, return_exceptions=True)
        assert [type(end) for end in ends] == [ChannelClosed, ChannelClosed]
        assert await channel.receive() == 1
        with pytest.raises(ChannelClosed):
            await channel.receive()
        with pytest.raises(ChannelClosed):
            await channel.send(4)

        empty: Channel[int] = Channel(1)
        waiting = [asyncio.create_task(empty.receive()) for _ in range(2)]
        await asyncio.sleep(1)
        empty.close()
        nothing = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in nothing] == [ChannelClosed, ChannelClosed]

    virtual_time.run(main())


def test_a_cancelled_sender_has_not_sent_and_a_cancelled_receiver_has_not_received() -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(1)
        await channel.send(1)
        sender = asyncio.create_task(channel.send(2))
        await asyncio.sleep(1)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        assert await channel.receive() == 1
        receiver = asyncio.create_task(channel.receive())
        other = asyncio.create_task(channel.receive())
        await asyncio.sleep(1)
        await channel.send(3)  # wakes the first receiver,
        receiver.cancel()  # which is cancelled before it runs: the second gets the item
        assert await other == 3
        assert receiver.cancelled()

    virtual_time.run(main())


def test_a_woken_sender_that_is_cancelled_passes_its_turn_on() -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(1)
        await channel.send(0)
        first, second = (asyncio.create_task(channel.send(i)) for i in (1, 2))
        await asyncio.sleep(1)
        assert await channel.receive() == 0
        first.cancel()
        await second
        assert await channel.receive() == 2

    virtual_time.run(main())


def test_who_may_push_out_can_wait_for_room_instead() -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(1, "drop_oldest")
        await channel.room()
        await channel.send(1)
        waiting = asyncio.create_task(channel.room())
        await asyncio.sleep(1)
        assert not waiting.done()
        assert await channel.receive() == 1
        await waiting
        await channel.send(2)
        closing = asyncio.create_task(channel.room())
        await asyncio.sleep(1)
        channel.close()
        await closing
        assert not channel.statistics().dropped

    virtual_time.run(main())


def test_waiting_for_nothing_is_seen_as_a_deadlock() -> None:
    with pytest.raises(virtual_time.Deadlock):
        virtual_time.run(Channel[int](1).receive())


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError):
        Channel[int](0)
    with pytest.raises(ValueError):
        Channel[int](1, "perhaps")  # type: ignore[arg-type]


@given(
    capacity=st.integers(1, 4),
    pauses=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30),
    policy=st.sampled_from(["wait", "drop_oldest", "refuse"]),
)
def test_everything_sent_is_received_or_counted(capacity: int, pauses: list[tuple[int, int]], policy: str) -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(capacity, policy)  # type: ignore[arg-type]
        refused = 0
        got = []

        async def send() -> None:
            nonlocal refused
            async with channel:
                for i, (pause, _) in enumerate(pauses):
                    await asyncio.sleep(pause)
                    try:
                        await channel.send(i)
                    except ChannelFull:
                        refused += 1

        async def receive() -> None:
            async for i in channel:
                got.append(i)
                await asyncio.sleep(pauses[i][1])

        await asyncio.gather(send(), receive())
        seen = channel.statistics()
        assert seen.high_water <= capacity
        assert got == sorted(got)
        assert seen.received == len(got)
        assert seen.dropped.get("refused", 0) == refused
        assert len(got) + sum(seen.dropped.values()) == len(pauses)
        assert policy != "wait" or got == list(range(len(pauses)))

    virtual_time.run(main())
