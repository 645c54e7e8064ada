"""Two rooms as one: who is carried over, who is not, and what happens when a side is lost."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sottovoce.stream.bridge import MOST_PEERS, SETTLE_S, Bridge
from sottovoce.stream.errors import ConnectionFailed
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.room_key import RoomKey
from support import virtual_time
from support.conversation import tone
from support.rooms import MemoryRoom, run, someone, speech
from support.virtual_time import now_s

S = 16_000


def bridge(one: MemoryRoom, other: MemoryRoom, lines: list[str] | None = None) -> Bridge:
    told = [] if lines is None else lines
    return Bridge(lambda peer: one.carrier("r", peer), lambda peer: other.carrier("r", peer), told.append, now_s)


def bridged(use: Callable[[MemoryRoom, MemoryRoom, Bridge, "asyncio.Task[None]"], Awaitable[None]]) -> None:
    async def main() -> None:
        one, other = MemoryRoom(), MemoryRoom()
        carrying = bridge(one, other)
        task = asyncio.create_task(carrying.run())
        await asyncio.sleep(SETTLE_S + 0.1)
        await use(one, other, carrying, task)
        task.cancel()
        await asyncio.wait([task])

    virtual_time.run(main())


def heard(room: MemoryRoom, peer: str) -> list[tuple[str, bytes]]:
    return [(slot, payload) for _, who, slot, payload in room.said if who == peer]


@pytest.mark.parametrize("key", [None, RoomKey(bytes(32))], ids=["open", "sealed"])
def test_a_voice_crosses_a_bridge_sealed_or_not(key: RoomKey | None) -> None:
    async def use(loop: EngineLoop, one: MemoryRoom) -> None:
        other = MemoryRoom()
        carrying = asyncio.create_task(bridge(one, other).run())
        bert = someone(loop, other, "bert", key=key).begin()
        await asyncio.sleep(1.5)
        anna = someone(loop, one, "anna", key=key).begin(speech(tone(2 * S)), seconds=3)
        await asyncio.sleep(2)
        assert bert.told("anna is here")
        assert anna.told("bert is here")
        assert bert.ear.loud(2, 3) == 1
        await asyncio.wait([anna.task])
        await asyncio.sleep(0.5)
        assert bert.told("anna has gone")
        assert bert.peer.told()["peers"][anna.peer.level]["receiver"]["concealed"] == 0
        await bert.leave()
        carrying.cancel()
        await asyncio.wait([carrying])

    run(use)


def test_everything_crosses_in_order_and_once() -> None:
    async def use(one: MemoryRoom, other: MemoryRoom, carrying: Bridge, task: object) -> None:
        said = [("d", b"descriptor"), ("s", b"here"), ("a", b"1"), ("a", b"2"), ("c", b"3")]
        for slot, payload in said:
            one.say("anna", slot, payload)  # type: ignore[arg-type]
            await asyncio.sleep(0.1)
        assert heard(other, "anna") == said
        assert heard(one, "anna") == said  # and not a second time
        one.say("anna", "a", b"last words")
        one.say("anna", "s", b"")
        one.say("anna", "d", b"")
        await asyncio.sleep(0.1)
        assert heard(other, "anna") == [*said, ("a", b"last words"), ("s", b""), ("d", b"")]
        assert other.kept == {}
        assert carrying.counts["carried.a"] == 3
        one.say("anna", "s", b"here again")
        await asyncio.sleep(2)
        assert other.kept == {("anna", "s"): b"here again"}
        assert [slot for slot, _ in heard(one, "anna")].count("a") == 3  # nothing came back

    bridged(use)


def test_two_bridges_make_no_circle() -> None:
    async def use(one: MemoryRoom, other: MemoryRoom, carrying: Bridge, task: object) -> None:
        second = bridge(one, other)
        also = asyncio.create_task(second.run())
        await asyncio.sleep(SETTLE_S + 0.1)
        one.say("anna", "s", b"here")
        other.say("bert", "s", b"here")
        await asyncio.sleep(1)
        for i in range(20):
            one.say("anna", "a", b"%d" % i)
        await asyncio.sleep(1)
        assert len(heard(one, "anna")) == 21
        assert len(heard(other, "anna")) <= 2 * 21  # at worst both carry it, but nothing comes back
        also.cancel()
        await asyncio.wait([also])

    bridged(use)


def test_a_name_that_is_in_both_rooms_is_not_carried_over() -> None:
    async def main() -> None:
        one, other, lines = MemoryRoom(), MemoryRoom(), list[str]()
        one.say("anna", "s", b"here")
        other.say("anna", "s", b"another anna")
        carrying = bridge(one, other, lines)
        task = asyncio.create_task(carrying.run())
        await asyncio.sleep(SETTLE_S + 0.1)
        other.say("anna", "a", b"speech")
        one.say("anna", "s", b"here still")
        await asyncio.sleep(0.1)
        assert heard(one, "anna") == [("s", b"here"), ("s", b"here still")]
        assert heard(other, "anna") == [("s", b"another anna"), ("a", b"speech")]
        assert lines == ["anna is not carried over: somebody there has that name"] * 2
        assert carrying.counts == {"refused.name_taken": 2}
        task.cancel()
        await asyncio.wait([task])

    virtual_time.run(main())


def test_so_many_are_carried_over_and_no_more() -> None:
    async def use(one: MemoryRoom, other: MemoryRoom, carrying: Bridge, task: object) -> None:
        for i in range(MOST_PEERS + 5):
            one.say(f"peer{i}", "s", b"here")
        await asyncio.sleep(0.5)
        assert len({who for who, _ in other.kept}) == MOST_PEERS
        assert carrying.counts["refused.too_many"] == 5

    bridged(use)


def test_when_a_side_is_lost_its_people_are_gone_on_the_other_until_it_is_back() -> None:
    async def use(one: MemoryRoom, other: MemoryRoom, carrying: Bridge, task: object) -> None:
        one.say("anna", "s", b"here")
        await asyncio.sleep(0.1)
        assert ("anna", "s") in other.kept
        one.kill()
        await asyncio.sleep(0.1)
        assert other.kept == {}
        other.say("bert", "s", b"came meanwhile")
        await asyncio.sleep(1)
        one.revive()
        one.say("anna", "s", b"here again")
        await asyncio.sleep(3.5)
        assert other.kept[("anna", "s")] == b"here again"
        assert one.kept[("bert", "s")] == b"came meanwhile"

    bridged(use)


def test_when_the_bridge_ends_nobody_it_carried_is_left() -> None:
    async def use(one: MemoryRoom, other: MemoryRoom, carrying: Bridge, task: "asyncio.Task[None]") -> None:
        one.say("anna", "s", b"here")
        other.say("bert", "s", b"here")
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.1)
        assert one.kept == {("anna", "s"): b"here"}
        assert other.kept == {("bert", "s"): b"here"}

    bridged(use)


def test_a_room_that_cannot_be_reached_is_an_error() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionFailed):
            await bridge(MemoryRoom(), MemoryRoom(up=False)).run()

    virtual_time.run(main())
