"""The rooms of a server: who is told what, and what nobody can do to it. Without a network, and then over a real socket."""

import asyncio
import json
import random
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from sottovoce.stream.errors import ConnectionFailed, ProtocolError, RoomRefused
from sottovoce.stream.guard import Rules
from sottovoce.stream.room_link import RoomLink
from sottovoce.stream.room_mode import attend
from sottovoce.stream.room_relay import Relayed, read_down
from sottovoce.stream.room_transport import KEEP_ALIVE_S, MOST_PAYLOAD_BYTES, LineUp, RoomMessage, Slot
from sottovoce.stream.rooms import Join, Member, RoomLimits, Rooms
from sottovoce.stream.server import ServerOptions
from sottovoce.stream.ws_room import RoomServer, WsRoom
from support import virtual_time
from support.fake_socket import FakeSocket
from support.serving import get, health, serving


def taken(member: Member) -> list[tuple[str, Slot, bytes]]:
    """All that waits for it."""
    said = []
    while (message := member.take()) is not None:
        relayed = read_down(message)
        assert relayed is not None
        said.append((relayed.peer, relayed.slot, relayed.payload))
    return said


def join(rooms: Rooms, peer: str | None, room: str = "r", session: str = "", listen: bool = True) -> Member:
    return rooms.join(Join(room, peer, listen, session), lambda: None)


def test_what_one_says_the_others_of_its_room_hear() -> None:
    rooms = Rooms()
    anna, bert, carl, other = (
        join(rooms, name, room) for name, room in (("anna", "r"), ("bert", "r"), ("carl", "r"), ("bert", "q"))
    )
    anna.say(Relayed("a", b"1"))
    anna.say(Relayed("c", b"2"))
    for member in (bert, carl):
        assert taken(member) == [("anna", "a", b"1"), ("anna", "c", b"2")]
    assert taken(anna) == taken(other) == []
    assert rooms.n_members == 4


def test_who_comes_late_is_told_what_stands_and_who_leaves_is_taken_back() -> None:
    rooms = Rooms()
    anna = join(rooms, "anna")
    anna.say(Relayed("d", b"old"))
    anna.say(Relayed("d", b"descriptor"))
    anna.say(Relayed("s", b"here"))
    anna.say(Relayed("a", b"gone by"))
    bert = join(rooms, "bert")
    assert taken(bert) == [("anna", "d", b"descriptor"), ("anna", "s", b"here")]
    anna.leave()
    assert taken(bert) == [("anna", "s", b""), ("anna", "d", b"")]
    anna.leave()
    anna.say(Relayed("a", b"from the dead"))
    assert taken(bert) == []
    assert taken(join(rooms, "carl")) == []
    assert rooms.counts["unheard"] == 1


def test_of_what_stands_a_slow_member_is_told_the_newest_only_and_of_speech_the_newest_part() -> None:
    rooms = Rooms(RoomLimits(waiting=3))
    anna, bert = join(rooms, "anna"), join(rooms, "bert")
    for i in range(10):
        anna.say(Relayed("d", b"%d" % i))
        anna.say(Relayed("a", b"%d" % i))
    assert taken(bert) == [("anna", "a", b"7"), ("anna", "a", b"8"), ("anna", "d", b"9"), ("anna", "a", b"9")]
    assert rooms.counts["overflow.a"] == 7


def test_what_waits_for_somebody_who_leaves_is_counted() -> None:
    rooms = Rooms()
    anna, bert = join(rooms, "anna"), join(rooms, "bert")
    for payload in (b"1", b"2", b"3"):
        anna.say(Relayed("a", payload))
    assert bert.take() is not None
    bert.leave()
    assert bert.take() is None
    assert (rooms.counts["passed.a"], rooms.counts["unsent.a"]) == (3, 2)


def test_who_only_listens_is_unseen_and_unheard_and_who_only_speaks_is_told_nothing() -> None:
    rooms = Rooms()
    ear, mouth, anna = join(rooms, None), join(rooms, "mouth", listen=False), join(rooms, "anna")
    ear.say(Relayed("a", b"?"))
    mouth.say(Relayed("a", b"!"))
    anna.say(Relayed("s", b"here"))
    assert taken(anna) == [("mouth", "a", b"!")]
    assert taken(mouth) == []
    assert taken(ear) == [("mouth", "a", b"!"), ("anna", "s", b"here")]
    ear.leave()
    assert taken(anna) == []


def test_a_name_is_taken_but_its_owner_may_come_back() -> None:
    rooms = Rooms()
    first = join(rooms, "anna", session="1")
    first.say(Relayed("s", b"here"))
    for session in ("", "2"):
        with pytest.raises(ProtocolError, match="choose another") as refused:
            join(rooms, "anna", session=session)
        assert refused.value.code == "name_taken"
    bert = join(rooms, "bert")
    again = join(rooms, "anna", session="1")
    assert first.ended_by == "name_taken"
    assert again.ended_by is None
    assert taken(bert) == [("anna", "s", b"")]
    assert rooms.counts["refused.name_taken"] == 2


@pytest.mark.parametrize(
    ("room", "peer"),
    [
        ("", "anna"),
        ("a/b", "anna"),
        ("r", ""),
        ("r", "a b"),
        ("r", "\x00"),
        ("x" * 65, "anna"),
        ("r", "\U0001d400" * 64),
    ],
)
def test_names_that_are_none_are_refused(room: str, peer: str) -> None:
    with pytest.raises(ProtocolError, match="letters, digits"):
        join(Rooms(), peer, room)


def test_rooms_and_their_members_are_limited() -> None:
    rooms = Rooms(RoomLimits(rooms=2, members=2))
    members = [join(rooms, name, room) for room in ("a", "b") for name in ("1", "2")]
    for room, words in (("a", "as many as there may be"), ("c", "all 2 rooms")):
        with pytest.raises(ProtocolError, match=words) as refused:
            join(rooms, "3", room)
        assert refused.value.code == "no_slot"
    for member in members[:2]:
        member.leave()
    join(rooms, "3", "c")  # the empty one made place


# ---- one socket ------------------------------------------------------------------------------------------------


class RoomSocket(FakeSocket):
    """One that carries a room: what is sent is kept as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.raw: list[str | bytes] = []

    async def send(self, message: str | bytes) -> None:
        if self.stalled:
            await asyncio.Event().wait()
        self.raw.append(message)

    @property
    def controls(self) -> list[dict[str, Any]]:
        return [json.loads(message) for message in self.raw if isinstance(message, str)]


def attended(*said: str | bytes, hold: bool = False, then_s: float = 1.0) -> tuple[RoomSocket, Rooms]:
    """What becomes of a client that says this, and then leaves or keeps silent."""
    socket, rooms = RoomSocket(), Rooms()

    async def main() -> None:
        task = asyncio.create_task(attend(socket, rooms, virtual_time.now_s))
        for message in said:
            socket.say(message)
        if not hold:
            socket.leave()
        await asyncio.sleep(then_s)
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    virtual_time.run(main())
    return socket, rooms


JOIN = '{"type":"join","room":"r","peer":"anna"}'


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"\x00", "join must come first"),
        ("", "must be JSON"),
        ("[]", "must be a JSON object"),
        ('{"type":"start","mode":"loopback"}', "join must come first"),
        ('{"type":"join"}', "join lacks room"),
        ('{"type":"join","room":7}', "join.room must be text"),
        ('{"type":"join","room":"a/b"}', "letters, digits"),
        ('{"type":"join","room":"r","peer":"anna","listen":"yes"}', "join.listen must be true or false"),
        ('{"type":"join","room":"' + "r" * 2000 + '"}', "at most 1000 characters"),
    ],
)
def test_a_first_message_that_is_no_join_ends_it_with_one_line(first: str | bytes, words: str) -> None:
    socket, rooms = attended(first)
    (error,) = socket.controls
    assert error["type"] == "error"
    assert words in error["message"]
    assert socket.closed == 1002
    assert rooms.n_members == 0


def test_later_messages_that_are_malformed_end_it_and_unknown_ones_do_not() -> None:
    socket, rooms = attended(JOIN, b"", b"x", b"zzz", "text of a later version", hold=True)
    assert socket.closed is None
    assert [control["type"] for control in socket.controls] == ["joined"]
    socket, rooms = attended(JOIN, b"a" + bytes(MOST_PAYLOAD_BYTES + 1), hold=True)
    assert socket.closed == 1002
    assert "at most" in socket.controls[-1]["message"]
    assert rooms.n_members == 0


def test_who_says_nothing_is_sent_away() -> None:
    socket, _ = attended(hold=True, then_s=6)
    assert socket.closed == 1000  # before it joined
    socket, rooms = attended(JOIN, hold=True, then_s=1.5 * KEEP_ALIVE_S - 1)
    assert socket.closed is None
    socket, rooms = attended(JOIN, hold=True, then_s=1.5 * KEEP_ALIVE_S + 1)
    assert socket.closed == 1000
    assert rooms.n_members == 0


def test_who_says_too_much_is_heard_slowly() -> None:
    async def main() -> None:
        rooms, socket = Rooms(RoomLimits(messages_per_s=10)), RoomSocket()
        heard = join(rooms, None)
        task = asyncio.create_task(attend(socket, rooms, virtual_time.now_s))
        socket.say(JOIN)
        for _ in range(100):
            socket.say(b"a1")
        await asyncio.sleep(1)
        assert 29 <= rooms.counts["passed.a"] <= 30  # two seconds' worth at once, and one second more
        await asyncio.sleep(5)
        assert 79 <= rooms.counts["passed.a"] <= 80
        assert heard.take()
        task.cancel()
        await asyncio.wait([task])

    virtual_time.run(main())


def test_who_takes_nothing_is_left_and_keeps_nobody_waiting() -> None:
    async def main() -> None:
        rooms, socket = Rooms(), RoomSocket()
        socket.stalled = True
        task = asyncio.create_task(attend(socket, rooms, virtual_time.now_s))
        socket.say(JOIN)
        await asyncio.sleep(1)
        bert = join(rooms, "bert")
        for _ in range(1000):
            bert.say(Relayed("a", b"x"))
        assert rooms.n_members == 2
        await asyncio.sleep(10)
        assert task.done()
        assert rooms.n_members == 1

    virtual_time.run(main())


# ---- a real server ---------------------------------------------------------------------------------------------


async def opened(place: str, **headers: str) -> ClientConnection:
    return await connect(
        f"ws://{place}/v1/room",
        subprotocols=[Subprotocol("sottovoce.room.v1")],
        additional_headers=headers,
        compression=None,
        close_timeout=1,
    )


async def next_message(link: RoomLink) -> RoomMessage:
    while True:
        event = await link.incoming.receive()
        if isinstance(event, RoomMessage):
            return event


def test_two_links_meet_on_a_server_that_takes_no_row_for_them() -> None:
    async def main() -> None:
        async with serving(rows=1) as place:
            server = RoomServer(f"ws://{place}")
            links = [RoomLink(WsRoom(server, "r", name).connect) for name in ("anna", "bert")]
            anna, bert = links
            tasks = []
            for link in links:
                link.publish("d", b"descriptor")
                link.publish("s", b"here")
                tasks.append(asyncio.create_task(link.run()))
            assert [await next_message(bert) for _ in range(2)] == [
                RoomMessage("anna", "d", b"descriptor"),
                RoomMessage("anna", "s", b"here"),
            ]
            assert (await health(place))["rows_taken"] == 0
            anna.publish("a", b"speech")
            assert await next_message(bert) == RoomMessage("anna", "a", b"speech")
            with pytest.raises(RoomRefused, match="choose another"):
                await RoomLink(WsRoom(server, "r", "anna").connect).run()
            tasks[0].cancel()
            assert await next_message(bert) == RoomMessage("anna", "s", b"")
            tasks[1].cancel()
            await asyncio.wait(tasks)

    asyncio.run(main())


def test_a_server_tells_prometheus_of_its_rooms() -> None:
    async def main() -> None:
        async with serving() as place:

            async def told() -> dict[str, float]:
                text = (await get(place, "/metrics"))[1]
                lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("sottovoce_room"))
                return {
                    name.removeprefix("sottovoce_"): float(number)
                    for name, _, number in lines
                    if "_created" not in name
                }

            assert await told() == {"rooms_open": 0, "room_peers": 0}
            server = RoomServer(f"ws://{place}")
            anna, bert = (RoomLink(WsRoom(server, "r", name).connect) for name in ("anna", "bert"))
            anna.publish("s", b"here")
            tasks = [asyncio.create_task(link.run()) for link in (anna, bert)]
            await next_message(bert)
            anna.publish("a", b"speech")
            await next_message(bert)
            with pytest.raises(RoomRefused):
                await RoomLink(WsRoom(server, "r", "anna").connect).run()
            listener = WsRoom(server, "r", None)
            async with listener.connect() as unheard:
                await unheard.send("a", b"?")
                now = await told()
                while 'room_dropped_total{reason="unheard"}' not in now:
                    now = await told()
            assert now == {
                "rooms_open": 1,
                "room_peers": 3,
                "room_joined_total": 3,
                'room_refused_total{reason="name_taken"}': 1,
                'room_payloads_total{slot="a"}': 1,
                'room_payloads_total{slot="s"}': now['room_payloads_total{slot="s"}'],
                'room_dropped_total{reason="unheard"}': 1,
            }
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            now = await told()
            while now["room_peers"]:
                now = await told()
            assert now['room_left_total{reason="gone"}'] == 3

    asyncio.run(main())


def test_a_peer_whose_connection_breaks_is_told_of_and_takes_its_place_again() -> None:
    async def main() -> None:
        async with serving() as place:
            server = RoomServer(f"ws://{place}")
            bert = RoomLink(WsRoom(server, "r", "bert").connect)
            room = WsRoom(server, "r", "anna")
            anna = RoomLink(room.connect)
            anna.publish("s", b"here")
            connections = []
            opening = room._open

            async def noted() -> ClientConnection:
                connections.append(await opening())
                return connections[-1]

            room._open = noted  # type: ignore[method-assign]
            tasks = [asyncio.create_task(bert.run()), asyncio.create_task(anna.run())]
            assert await next_message(bert) == RoomMessage("anna", "s", b"here")
            connections[0].transport.abort()
            assert await next_message(bert) == RoomMessage("anna", "s", b"")
            assert await next_message(bert) == RoomMessage("anna", "s", b"here")
            assert anna.counts["reconnects"] == 1
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    asyncio.run(main())


def test_the_guard_stands_before_rooms_too() -> None:
    async def main() -> None:
        async with serving(options=ServerOptions(rules=Rules(token="s3cret-token"))) as place:
            with pytest.raises(InvalidStatus, match="403"):
                await opened(place, Origin="http://evil.example")
            for token, words in ((None, "needs its token"), ("wrong-token", "not the token of this server")):
                link = RoomLink(WsRoom(RoomServer(f"ws://{place}", token), "r", "anna").connect)
                with pytest.raises(RoomRefused, match=words):
                    await link.run()
            link = RoomLink(WsRoom(RoomServer(f"ws://{place}", "s3cret-token"), "r", "anna").connect)
            task = asyncio.create_task(link.run())
            assert await link.incoming.receive() == LineUp()
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(main())


def test_a_hundred_strangers_leave_nothing_behind() -> None:
    async def main() -> None:
        chance = random.Random(5)
        async with serving() as place:
            for i in range(100):
                client = await opened(place)
                try:
                    if i % 2:
                        await client.send(JOIN)
                    for _ in range(3):
                        await client.send(chance.randbytes(chance.randrange(200)))
                    if i % 3:
                        client.transport.abort()
                except ConnectionClosed:
                    pass
                await client.close()
            link = RoomLink(WsRoom(RoomServer(f"ws://{place}"), "r", "anna").connect)
            task = asyncio.create_task(link.run())
            assert await link.incoming.receive() == LineUp()
            assert (await health(place))["status"] == "ok"
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(main())


def test_what_is_no_server_of_ours_is_told_apart() -> None:
    async def main() -> None:
        async with serving() as place:
            with pytest.raises(ConnectionFailed, match="cannot be reached"):
                await RoomLink(WsRoom(RoomServer("ws://127.0.0.1:9"), "r", "anna").connect, patience_s=0).run()
            elsewhere = RoomServer(f"ws://{place}/nothing")
            with pytest.raises(RoomRefused, match="refuses with HTTP"):
                await RoomLink(WsRoom(elsewhere, "r", "anna").connect).run()

    asyncio.run(main())
