"""A line to a room: what it keeps, what it throws away, when it tries again."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from sottovoce.stream.errors import ConnectionFailed, RoomRefused
from sottovoce.stream.room_link import RoomLink
from sottovoce.stream.room_outbox import MOST_WAITING, STALE_S, RoomOutbox
from sottovoce.stream.room_transport import LineDown, LineUp, RoomMessage, check_name, is_name
from support import virtual_time
from support.rooms import MemoryRoom
from support.virtual_time import now_s


def link_to(room: MemoryRoom, peer: str = "anna", **options: float) -> RoomLink:
    return RoomLink(room.carrier("r", peer), clock=now_s, **options)  # type: ignore[arg-type]


def test_names_are_what_topics_and_urls_can_hold() -> None:
    for name in ("anna", "Jürgen-2", "a.b_c-d", "x" * 64, "名前"):
        assert is_name(name)
    for name in ("", "a/b", "a+b", "#", "a b", "x" * 65, "a\x00", "$SYS", "a?b"):
        assert not is_name(name)
        with pytest.raises(ValueError, match="letters, digits"):
            check_name(name, "a name")


def test_an_outbox_keeps_order_and_forgets_what_is_stale() -> None:
    counts: Counter[str] = Counter()
    outbox = RoomOutbox(counts)
    outbox.put("a", b"old", 0.0)
    outbox.put("c", b"control", 0.0)
    outbox.put("a", b"new", STALE_S)
    assert outbox.waiting_s(STALE_S) == STALE_S
    assert outbox.take_live(STALE_S + 0.1) == ("c", b"control")
    assert outbox.take_live(STALE_S + 0.1) == ("a", b"new")
    assert outbox.lag_s == pytest.approx(0.1)
    assert outbox.take_live(STALE_S + 0.1) is None
    assert outbox.is_empty
    assert counts == {"out.stale": 1}


def test_an_outbox_tells_the_newest_of_what_stands_and_all_of_it_after_the_line_was_lost() -> None:
    counts: Counter[str] = Counter()
    outbox = RoomOutbox(counts)
    for payload in (b"1", b"2"):
        outbox.put("d", payload, 0.0)
        outbox.put("s", payload, 0.0)
    assert [outbox.take_announcement() for _ in range(3)] == [("d", b"2"), ("s", b"2"), None]
    outbox.put("a", b"speech", 0.0)
    outbox.restart()
    assert outbox.take_live(0.0) is None
    assert [outbox.take_announcement() for _ in range(3)] == [("d", b"2"), ("s", b"2"), None]
    assert counts == {"out.line_down": 1}


def test_an_outbox_is_bounded() -> None:
    counts: Counter[str] = Counter()
    outbox = RoomOutbox(counts, stale_s=1e9)
    for i in range(MOST_WAITING + 10):
        outbox.put("a", b"%d" % i, 0.0)
    assert outbox.take_live(0.0) == ("a", b"10")
    assert counts == {"out.overflow.a": 10}


def test_what_is_said_before_the_line_is_there_is_not_said_later_but_for_what_stands() -> None:
    async def main() -> None:
        room = MemoryRoom()
        link = link_to(room)
        link.publish("d", b"descriptor")
        link.publish("a", b"too early")
        task = asyncio.create_task(link.run())
        await asyncio.sleep(0.1)
        link.publish("a", b"in time")
        await link.flush()
        assert [(slot, payload) for _, _, slot, payload in room.said] == [("d", b"descriptor"), ("a", b"in time")]
        assert link.counts["out.line_down"] == 1
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert room.kept == {}  # it has taken its leave
        assert [event async for event in link.incoming] == [LineUp()]

    virtual_time.run(main())


def test_attempts_come_ever_slower_but_no_slower_than_every_two_seconds() -> None:
    async def main() -> None:
        room = MemoryRoom()
        link = link_to(room)
        task = asyncio.create_task(link.run())
        await asyncio.sleep(1)
        room.kill()
        await asyncio.sleep(60)
        pauses_s = [b - a for a, b in zip(room.attempts_s[1:], room.attempts_s[2:], strict=False)]
        assert pauses_s[0] < 0.51
        assert 1.4 < max(pauses_s) <= 2.0
        assert 25 < len(pauses_s) < 50
        room.revive()
        revived_s = now_s()
        await asyncio.sleep(2.1)
        assert link.is_up
        assert room.attempts_s[-1] - revived_s <= 2.0
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert [type(event) async for event in link.incoming] == [LineUp, LineDown, LineUp]

    virtual_time.run(main())


def test_before_it_was_ever_up_its_patience_ends_and_a_refusal_ends_it_at_once() -> None:
    async def main() -> None:
        room = MemoryRoom(up=False)
        with pytest.raises(ConnectionFailed):
            await link_to(room, patience_s=3).run()
        assert 1.3 < now_s() < 3
        room.refuses = RoomRefused("no")
        with pytest.raises(RoomRefused):
            await link_to(room).run()

    virtual_time.run(main())


def test_a_refusal_after_a_time_ends_it_too() -> None:
    async def main() -> None:
        room = MemoryRoom()
        link = link_to(room)
        task = asyncio.create_task(link.run())
        await asyncio.sleep(1)
        room.refuses = RoomRefused("your password has changed")
        room.kill()
        with pytest.raises(RoomRefused):
            await task
        assert not link.is_up

    virtual_time.run(main())


def test_flushing_waits_for_what_is_in_hand_but_not_for_ever() -> None:
    async def main() -> None:
        room = MemoryRoom()
        link = link_to(room)
        task = asyncio.create_task(link.run())
        await asyncio.sleep(0.1)
        room.flows.clear()
        link.publish("a", b"x")
        before_s = now_s()
        await link.flush()
        assert 0.9 < now_s() - before_s < 1.1
        assert link.lag_s == 0  # it is in hand
        link.publish("a", b"y")
        await asyncio.sleep(0.5)
        assert link.lag_s == pytest.approx(0.5)
        room.flows.set()
        await link.flush()
        assert [payload for _, _, slot, payload in room.said if slot == "a"] == [b"x", b"y"]
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    virtual_time.run(main())


def test_a_flood_pushes_out_the_oldest_and_is_counted() -> None:
    async def main() -> None:
        room = MemoryRoom()
        link = link_to(room)
        task = asyncio.create_task(link.run())
        await asyncio.sleep(0.1)
        for i in range(3000):
            room.say("bert", "a", b"%d" % i)
        await asyncio.sleep(0.1)
        assert link.counts["received.a"] == 3000
        statistics = link.incoming.statistics()
        assert statistics.dropped["overflow"] == 3000 + 1 - statistics.capacity
        assert await link.incoming.receive() == RoomMessage("bert", "a", b"%d" % (3000 - statistics.capacity))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    virtual_time.run(main())
