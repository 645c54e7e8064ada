"""Rooms on real brokers: mosquitto (MQTT 5) and amqtt (3.1.1), in real time, waiting for what has to come."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiomqtt import Client, ProtocolVersion

from sottovoce.stream.errors import ConnectionFailed, RoomRefused
from sottovoce.stream.mqtt_room import Broker, MqttRoom
from sottovoce.stream.room_link import RoomLink
from sottovoce.stream.room_transport import MOST_PAYLOAD_BYTES, LineDown, LineUp, RoomEvent, RoomMessage
from support.brokers import Proxy, amqtt, free_port, mosquitto, needs_mosquitto

BROKERS = [pytest.param("mosquitto", marks=needs_mosquitto), "amqtt"]


@asynccontextmanager
async def running(kind: str, folder: Path) -> AsyncIterator[int]:
    """The port of a broker."""
    if kind == "amqtt":
        async with amqtt() as port:
            yield port
    else:
        async with mosquitto(folder) as broker:
            yield broker.port


class Place:
    """One peer's place in room ``r``, and all that came there."""

    def __init__(self, port: int, name: str | None, broker: Broker | None = None, listens: bool = True) -> None:
        self.room = MqttRoom(broker or Broker("127.0.0.1", port), "r", name, listens=listens)
        self.link = RoomLink(self.room.connect)
        if name is not None:
            self.link.publish("d", b"descriptor of " + name.encode())
            self.link.publish("s", name.encode() + b" is here")
        self.events: list[RoomEvent] = []
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Place":
        self.task = asyncio.create_task(self.link.run())
        self._listening = asyncio.create_task(self._listen())
        await self.until(lambda: LineUp() in self.events)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await self._listening

    async def _listen(self) -> None:
        async for event in self.link.incoming:
            self.events.append(event)
            self._news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Something has come."""
        async with asyncio.timeout(15):
            while not true():
                self._news.clear()
                waiting = asyncio.create_task(self._news.wait())
                await asyncio.wait([waiting, self.task], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if self.task.done():
                    self.task.result()

    async def has(self, peer: str, slot: str, payload: bytes) -> None:
        await self.until(lambda: RoomMessage(peer, slot, payload) in self.events)  # type: ignore[arg-type]

    def heard(self, slot: str = "a") -> list[bytes]:
        return [e.payload for e in self.events if isinstance(e, RoomMessage) and e.slot == slot]


@pytest.mark.parametrize("kind", BROKERS)
def test_peers_hear_each_other_and_late_ones_are_told_who_is_there(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(kind, tmp_path) as port, Place(port, "anna") as anna, Place(port, "bert") as bert:
            await bert.has("anna", "d", b"descriptor of anna")
            await bert.has("anna", "s", b"anna is here")
            await anna.has("bert", "s", b"bert is here")
            for i in range(20):
                anna.link.publish("a", bytes([i]))
            anna.link.publish("c", b"over")
            await bert.has("anna", "c", b"over")
            await bert.has("anna", "a", bytes([19]))
            assert bert.heard() == [bytes([i]) for i in range(20)]
            async with Place(port, "carl") as carl:
                await carl.has("anna", "d", b"descriptor of anna")
                await carl.has("bert", "s", b"bert is here")
                assert carl.heard() == []
            await anna.has("carl", "s", b"")  # it has taken its leave
            await anna.link.flush()
            assert anna.heard() == []
            version = ProtocolVersion.V5 if kind == "mosquitto" else ProtocolVersion.V311
            assert anna.room.version == bert.room.version == version
        async with running(kind, tmp_path):
            pass  # it could be ended: nobody holds on to it

    asyncio.run(main())


@pytest.mark.parametrize("kind", BROKERS)
def test_a_peer_that_is_killed_is_told_of_by_its_last_will(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(kind, tmp_path) as port, Proxy(port) as proxy, Place(port, "bert") as bert:
            anna = Place(proxy.port, "anna")
            async with anna:
                await bert.has("anna", "s", b"anna is here")
                anna.link._connect = _nobody  # it does not come back
                proxy.cut()
                await bert.has("anna", "s", b"")
                await anna.until(lambda: any(isinstance(event, LineDown) for event in anna.events))

    asyncio.run(main())


@asynccontextmanager
async def _nobody() -> AsyncIterator[None]:
    raise ConnectionFailed("nobody answers")
    yield


@needs_mosquitto
def test_a_broker_that_is_killed_and_started_again_carries_on_within_three_seconds_and_nothing_stale(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with (
            mosquitto(tmp_path) as broker,
            Place(broker.port, "anna") as anna,
            Place(broker.port, "bert") as bert,
        ):
            await bert.has("anna", "s", b"anna is here")
            anna.link.publish("a", b"before")
            await bert.has("anna", "a", b"before")
            broker.kill()
            for place in (anna, bert):
                await place.until(lambda place=place: any(isinstance(event, LineDown) for event in place.events))
            for _ in range(5):
                anna.link.publish("a", b"stale")
            bert.events.clear()
            await broker.start()
            back_s = time.monotonic()
            while b"after" not in bert.heard():
                anna.link.publish("a", b"after" if anna.link.is_up and bert.link.is_up else b"stale")
                await asyncio.sleep(0.02)
                assert time.monotonic() - back_s < 3
            await bert.has("anna", "d", b"descriptor of anna")  # which the broker had lost
            assert b"stale" not in bert.heard()
            assert anna.link.counts["reconnects"] == bert.link.counts["reconnects"] == 1
            assert anna.link.counts["out.line_down"] >= 5

    asyncio.run(main())


@needs_mosquitto
def test_with_mqtt_5_a_packet_costs_eight_bytes_more_than_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            mosquitto(tmp_path) as broker,
            Proxy(broker.port) as proxy,
            Place(broker.port, "bert") as bert,
            Place(proxy.port, "anna") as anna,
        ):
            await bert.has("anna", "s", b"anna is here")
            anna.link.publish("a", b"the first tells the topic")
            await bert.has("anna", "a", b"the first tells the topic")
            before = proxy.up_bytes
            anna.link.publish("a", bytes(40))
            await bert.has("anna", "a", bytes(40))
            assert proxy.up_bytes - before == 40 + 2 + 2 + 1 + 3

    asyncio.run(main())


@needs_mosquitto
def test_what_strangers_put_on_the_topics_is_counted_and_goes_no_further(tmp_path: Path) -> None:
    async def main() -> None:
        async with mosquitto(tmp_path) as broker, Place(broker.port, "bert") as bert:
            async with Client("127.0.0.1", broker.port) as stranger:
                await stranger.publish("sv/r/b b/a", b"no name", qos=1)
                await stranger.publish("sv/r/anna/x", b"no slot", qos=1)
                await stranger.publish("sv/r/anna/a", bytes(MOST_PAYLOAD_BYTES + 1), qos=1)
                await stranger.publish("sv/other/anna/a", b"another room", qos=1)
                await stranger.publish("sv/r/bert/s", b"", qos=1)
                await stranger.publish("sv/r/anna/a", b"good", qos=1)
                await bert.has("anna", "a", b"good")
                await stranger.publish("sv/r/anna/a", b"old", qos=1, retain=True)
            async with Place(broker.port, "carl") as carl:
                await carl.has("bert", "d", b"descriptor of bert")
                carl.link.publish("a", b"x")
                await bert.has("carl", "a", b"x")
                assert carl.heard() == []
                assert carl.room.counts["in.retained"] == 1
            assert bert.heard() == [b"good", b"old", b"x"]
            assert dict(bert.room.counts) == {"in.foreign": 1, "in.oversized": 1, "in.echo": 1}

    asyncio.run(main())


@needs_mosquitto
def test_who_is_not_let_in_is_told_so_at_once(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    tool = shutil.which("mosquitto_passwd")
    assert tool is not None
    subprocess.run([tool, "-b", passwords, "anna", "geheim"], check=True)

    async def main() -> None:
        lines = "allow_anonymous false", f"password_file {passwords}"
        async with mosquitto(tmp_path, *lines) as broker:
            for password in (None, "falsch"):
                refused = Place(0, "anna", Broker("127.0.0.1", broker.port, "anna", password))
                with pytest.raises(RoomRefused, match="check user and password"):
                    await refused.link.run()
            async with Place(0, "anna", Broker("127.0.0.1", broker.port, "anna", "geheim")) as anna:
                assert anna.room.version == ProtocolVersion.V5

    asyncio.run(main())


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves the socket to the collector
@needs_mosquitto
def test_behind_tls_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")

    async def main() -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
        lines = "allow_anonymous true", f"certfile {tmp_path}/server.pem", f"keyfile {tmp_path}/server.pem"
        async with mosquitto(tmp_path, *lines) as broker:
            strange = Place(0, "anna", Broker("127.0.0.1", broker.port, tls=True))
            with pytest.raises(RoomRefused, match="cannot be trusted"):
                await strange.link.run()
            known = Broker("127.0.0.1", broker.port, tls=True, authorities=str(tmp_path / "ca.pem"))
            async with Place(0, "anna", known) as anna, Place(0, "bert", known) as bert:
                await bert.has("anna", "s", b"anna is here")
                anna.link.publish("a", b"sealed by TLS")
                await bert.has("anna", "a", b"sealed by TLS")

    asyncio.run(main())


def test_where_no_broker_is_one_line_says_so() -> None:
    async def main() -> None:
        link = RoomLink(MqttRoom(Broker("127.0.0.1", free_port()), "r", "anna").connect, patience_s=0)
        with pytest.raises(ConnectionFailed, match=r"mqtt://127.0.0.1:\d+ cannot be reached .*is the broker running"):
            await link.run()

    asyncio.run(main())
