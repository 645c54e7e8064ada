"""A room on any MQTT broker, through aiomqtt: topics ``sv/ROOM/PEER/SLOT`` (PROTOCOL.md, section 3).

MQTT 5 where the broker has it, else 3.1.1. With MQTT 5 our topics shrink to an alias of five bytes, what we say ourselves does
not come back, and what is retained expires once nobody renews it.
"""

from __future__ import annotations

import math
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiomqtt import Client, MqttError, ProtocolVersion, TLSParameters, Will
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from .errors import ConnectionFailed, RoomRefused
from .room_transport import (
    KEEP_ALIVE_S,
    MOST_PAYLOAD_BYTES,
    RETAINED,
    SLOTS,
    UNSENT_BYTES,
    Connection,
    RoomMessage,
    Slot,
    is_name,
)

PORT = 1883
TLS_PORT = 8883
EXPIRY_S = 3600
"""What is retained is gone so long after its peer was, even where no last will could be carried out."""
_CONNECT_S = 5.0
_MOST_PACKET_BYTES = MOST_PAYLOAD_BYTES + 1024
_ALIAS: dict[Slot, int] = {"a": 1, "c": 2}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and how it is asked."""

    host: str
    port: int = PORT
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    authorities: str | None = None
    "File of certificates to trust instead of the system's."

    @property
    def place(self) -> str:
        """How to call it in messages."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"


class MqttRoom:
    """Connects one peer to one room of a broker, again and again: `connect` is what a `RoomLink` needs.

    Attributes:
        version: of MQTT; what the broker was found to speak, None before.
        counts: ``in.foreign`` for topics that are none of ours, ``in.oversized``, ``in.retained`` for speech that somebody
            had the broker keep, ``in.echo`` for our own.
    """

    def __init__(
        self, broker: Broker, room: str, peer: str | None, counts: Counter[str] | None = None, listens: bool = True
    ) -> None:
        """``room`` and ``peer``: as they travel; without a ``peer`` only to listen, without ``listens`` only to speak."""
        self.version: ProtocolVersion | None = None
        self.counts: Counter[str] = Counter() if counts is None else counts
        self._broker = broker
        self._room = room
        self._peer = peer
        self._listens = listens
        self._identifier = f"sv-{secrets.token_hex(8)}"  # a new connection takes the place of one that is half dead

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """A line, subscribed. Raises ConnectionFailed; RoomRefused: the broker does not let us in, or cannot be trusted."""
        if self.version is None:
            # Those that know no MQTT 5 may take what it adds for something else, and never answer: so nothing is added yet.
            with suppress(RoomRefused):  # as they who refuse us without a password know what was asked
                async with self._connected(ProtocolVersion.V5, bare=True):
                    pass
            self.version = ProtocolVersion.V5
        async with self._connected(self.version) as client:
            line = _Line(client, self._room, self._peer, self.version, self.counts)
            if self._listens:
                await line.subscribe()
            yield line

    @asynccontextmanager
    async def _connected(self, version: ProtocolVersion, bare: bool = False) -> AsyncIterator[_Client]:
        """Raises ConnectionFailed, RoomRefused."""
        client = self._client(version, bare)
        try:
            await client.__aenter__()
        except BaseException as error:
            client.abandon()
            if isinstance(error, MqttError | ssl.SSLError):
                raise self._failed(error, version) from error
            raise
        try:
            yield client
        except MqttError as error:
            raise ConnectionFailed(f"{self._broker.place} went away") from error
        finally:
            with suppress(MqttError):
                await client.__aexit__(None, None, None)
            client.abandon()

    def _client(self, version: ProtocolVersion, bare: bool) -> _Client:
        broker, v5 = self._broker, version == ProtocolVersion.V5
        last = None
        if self._peer is not None and not bare:
            last = Will(topic(self._room, self._peer, "s"), b"", 1, True)
        connecting: Any = _properties(PacketTypes.CONNECT)
        connecting.MaximumPacketSize = _MOST_PACKET_BYTES
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            options.append((socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES))
        return _Client(
            broker.host,
            broker.port,
            identifier=self._identifier,
            username=None if bare else broker.user,
            password=None if bare else broker.password,
            protocol=version,
            will=last,
            clean_session=None if v5 else True,
            timeout=_CONNECT_S,
            keepalive=KEEP_ALIVE_S,
            properties=connecting if v5 and not bare else None,
            tls_params=TLSParameters(ca_certs=broker.authorities) if broker.tls else None,
            max_queued_incoming_messages=1024,
            socket_options=options,
        )

    def _failed(self, error: MqttError | ssl.SSLError, version: ProtocolVersion) -> ConnectionFailed:
        """What a failed attempt means; a broker that knows no MQTT 5 is asked in 3.1.1 the next time."""
        place, reason = self._broker.place, str(error)
        if isinstance(error, MqttConnectError):
            code = error.rc.value if isinstance(error.rc, ReasonCode) else error.rc
            if code in (1, 132):
                self.version = ProtocolVersion.V311
                return ConnectionFailed(f"{place} speaks no MQTT 5")
            if code in (2, 133, 4, 134, 5, 135, 138, 140):
                return RoomRefused(f"{place} does not let us in ({error.rc}); check user and password")
            return ConnectionFailed(f"{place} does not take us ({error.rc})")
        if "CERTIFICATE_VERIFY_FAILED" in reason or isinstance(error, ssl.SSLError):
            return RoomRefused(f"{place}: its certificate cannot be trusted ({reason}); see --ca")
        if (
            isinstance(error, _HungUp) or "timed out" in reason
        ):  # so do those that do not understand what they are asked
            self.version = ProtocolVersion.V311 if version == ProtocolVersion.V5 else None
        return ConnectionFailed(f"{place} cannot be reached ({reason}); is the broker running?")


def topic(room: str, peer: str, slot: str) -> str:
    """Where ``peer`` says it; ``+`` in place of a name: all of them."""
    return f"sv/{room}/{peer}/{slot}"


def _properties(packet: int) -> Any:
    """What MQTT 5 adds to a packet of that type."""
    return Properties(packet)  # type: ignore[no-untyped-call]


class _HungUp(MqttError):
    """The broker closed the connection in place of an answer."""


class _Client(Client):
    """aiomqtt's, which forgets what the broker said of itself, and the sockets of attempts that came to nothing."""

    most_aliases = 0

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: ReasonCode, properties: Properties | None = None
    ) -> None:
        self.most_aliases = getattr(properties, "TopicAliasMaximum", 0)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: ReasonCode, properties: Properties | None = None
    ) -> None:
        if not self._connected.done():  # aiomqtt would wait for an answer that cannot come
            self._connected.set_exception(_HungUp("it hung up"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def abandon(self) -> None:
        """Close the socket, if there is one; the event loop then forgets it."""
        self._client._sock_close()


class _Line:
    """One connection."""

    def __init__(
        self, client: _Client, room: str, peer: str | None, version: ProtocolVersion, counts: Counter[str]
    ) -> None:
        self._client = client
        self._room = room
        self._peer = peer
        self._v5 = version == ProtocolVersion.V5
        self._counts = counts
        self._known: set[Slot] = set()  # topics that the broker has our alias of

    async def subscribe(self) -> None:
        wanted = [(topic(self._room, "+", slot), 1 if slot in RETAINED else 0) for slot in SLOTS]
        if self._v5:
            await self._client.subscribe([(where, SubscribeOptions(qos, noLocal=True)) for where, qos in wanted])
        else:
            await self._client.subscribe(wanted)

    async def send(self, slot: Slot, payload: bytes) -> None:
        if self._peer is None:
            return
        where = topic(self._room, self._peer, slot)
        properties = _properties(PacketTypes.PUBLISH) if self._v5 else None
        alias = _ALIAS.get(slot, 0)
        if properties is not None and 0 < alias <= self._client.most_aliases:
            properties.TopicAlias = alias
            if slot in self._known:
                where = ""
            self._known.add(slot)
        if properties is not None and slot in RETAINED and payload:
            properties.MessageExpiryInterval = EXPIRY_S
        retained = slot in RETAINED
        try:
            await self._client.publish(
                where, payload, qos=int(retained), retain=retained, properties=properties,
                timeout=None if retained else math.inf,
            )  # fmt: skip
        except (MqttError, ValueError) as error:
            raise ConnectionFailed("the broker went away") from error

    async def messages(self) -> AsyncIterator[RoomMessage]:
        try:
            async for message in self._client.messages:
                if (
                    known := self._known_message(message.topic.value, message.payload, bool(message.retain))
                ) is not None:
                    yield known
        except MqttError as error:
            raise ConnectionFailed("the broker went away") from error

    def _known_message(self, where: str, payload: Any, retained: bool) -> RoomMessage | None:
        """What it is; None, and counted, where it is not for us."""
        parts = where.split("/")
        if len(parts) != 4 or parts[3] not in SLOTS or not is_name(parts[2]) or not isinstance(payload, bytes):
            reason = "foreign"
        elif parts[2] == self._peer:
            reason = "echo"
        elif len(payload) > MOST_PAYLOAD_BYTES:
            reason = "oversized"
        elif retained and parts[3] not in RETAINED:
            reason = "retained"
        else:
            return RoomMessage(parts[2], parts[3], payload)
        self._counts[f"in.{reason}"] += 1
        return None
