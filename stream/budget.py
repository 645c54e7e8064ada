"""What a room's voice really costs on a link, header by header. Arithmetic only: nothing here is measured.

Counted from the IP packet up. Every payload is a TCP segment of its own, and is acknowledged by an empty one: so it is wherever
packets are further apart than a delayed acknowledgement (40 ms) and a link takes what is sent. On a link that is full TCP
joins what waits, and where both speak it acknowledges with what they say: then a little less is sent than is said here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .profiles import Profile
from .room_relay import DOWN_BYTES, UP_BYTES
from .room_transport import KEEP_ALIVE_S

IPV4_BYTES, IPV6_BYTES = 20, 40
TCP_BYTES = 20 + 12
"""With the timestamps option and its padding (RFC 7323), as every system of today has it."""
MTU_BYTES = 1500
TLS_BYTES = 5 + 1 + 16
"""A record of TLS 1.3 (RFC 8446, 5.2): header, type of content, tag."""
WEBSOCKET_BYTES, MASK_BYTES = 2, 4
"""A frame of up to 125 bytes (RFC 6455, 5.2), two more beyond; clients mask."""
ALIAS_BYTES = 3
"""The property Topic Alias of MQTT 5."""
_PING_BYTES = 4
"""What the library puts into the ping of a WebSocket."""
_SERVER_PING_S = 20
"""Between two of uvicorn's."""
SEAL_BYTES = 11
"""What `room_key.Sealer` adds; here so that a budget needs no cryptography."""

Way = Literal["up", "down"]
"""From the talker to broker or server, from there to a listener."""


@dataclass(frozen=True, slots=True)
class Codec:
    """What a preset puts into a frame."""

    frame_ms: float
    bits: int
    "Of one code."
    books: int


CODECS = {"base": Codec(40.0, 10, 8), "micro": Codec(16.0, 7, 2)}


@dataclass(frozen=True, slots=True)
class Link:
    """What carries a room."""

    name: str
    mqtt: Literal["3.1.1", "5"] | None
    "None: our WebSocket."
    tls: bool

    @property
    def echoes(self) -> bool:
        """Whether a talker is sent what it says itself, as it listens to the room and only MQTT 5 can except it."""
        return self.mqtt == "3.1.1"

    @property
    def words(self) -> str:
        """What it is, for people."""
        what = "WebSocket of a sottovoce server" if self.mqtt is None else f"MQTT {self.mqtt}"
        return what + (", topic alias upwards" if self.mqtt == "5" else "") + (", TLS 1.3" if self.tls else "")


LINKS: dict[str, Link] = {
    link.name: link
    for link in (
        Link("mqtt", "5", tls=False),
        Link("mqtts", "5", tls=True),
        Link("mqtt3", "3.1.1", tls=False),
        Link("mqtts3", "3.1.1", tls=True),
        Link("ws", None, tls=False),
        Link("wss", None, tls=True),
    )
}
"""``mqtt`` is what a peer does where the broker speaks MQTT 5, ``mqtt3`` elsewhere."""


@dataclass(frozen=True, slots=True)
class Route:
    """One peer's payloads through one link."""

    link: Link
    room: str
    peer: str
    "Room and peer as they travel: with a key they are 8 and 4 characters."
    ipv6: bool = False

    @property
    def empty_segment_bytes(self) -> int:
        """An acknowledgement."""
        return TCP_BYTES + (IPV6_BYTES if self.ipv6 else IPV4_BYTES)

    def layers(self, payload_bytes: int, way: Way, slot: str = "a") -> dict[str, int]:
        """Bytes that each layer adds to one payload of QoS 0, innermost first; 0 where it is not used."""
        link = self.link
        mqtt = websocket = 0
        if link.mqtt:
            mqtt = self._publish_bytes(payload_bytes, way, slot) - payload_bytes
        else:
            websocket = UP_BYTES if way == "up" else DOWN_BYTES + len(self.peer.encode())
            websocket += websocket_bytes(payload_bytes + websocket, masked=way == "up")
        tls = TLS_BYTES if link.tls else 0
        n_segments = -(-(payload_bytes + mqtt + websocket + tls) // (MTU_BYTES - self.empty_segment_bytes))
        tcp = n_segments * TCP_BYTES
        return {
            "mqtt": mqtt,
            "websocket": websocket,
            "tls": tls,
            "tcp": tcp,
            "ip": n_segments * (self.empty_segment_bytes - TCP_BYTES),
        }

    def wire_bytes(self, payload_bytes: int, way: Way, slot: str = "a") -> int:
        """One payload in IP packets, the acknowledgement not counted."""
        return payload_bytes + sum(self.layers(payload_bytes, way, slot).values())

    @property
    def alive_bit_per_s(self) -> tuple[float, float]:
        """Up and down: pings and their answers, by which a peer and its broker or server know that they are there.

        Each of them is acknowledged by itself, as it was wherever that was measured.
        """
        segment = (TLS_BYTES if self.link.tls else 0) + self.empty_segment_bytes
        if self.link.mqtt:
            up = down = 2 + segment  # PINGREQ, PINGRESP
            pings_per_s = 1 / KEEP_ALIVE_S
        else:  # the server asks as well
            up = WEBSOCKET_BYTES + MASK_BYTES + _PING_BYTES + segment
            down = WEBSOCKET_BYTES + _PING_BYTES + segment
            pings_per_s = 1 / KEEP_ALIVE_S + 1 / _SERVER_PING_S
        ack = self.empty_segment_bytes
        return 8 * (up + ack) * pings_per_s, 8 * (down + ack) * pings_per_s

    def _publish_bytes(self, payload_bytes: int, way: Way, slot: str) -> int:
        """A PUBLISH of QoS 0 (MQTT 5.0, 3.3), after the first on its connection."""
        topic = len(f"sv/{self.room}/{self.peer}/{slot}".encode())
        rest = 2 + topic + payload_bytes
        if self.link.mqtt == "5":
            rest += 1
            if way == "up":
                rest += ALIAS_BYTES - topic
        return 1 + _varint_bytes(rest) + rest


@dataclass(frozen=True, slots=True)
class Cost:
    """One way of a voice that does not pause."""

    way: Way
    layers: dict[str, int]
    "Bytes of one packet: ``codes``, ``repeated`` (book 0 of earlier frames), ``header``, ``seal``, then `Route.layers`."
    packets_per_s: float
    ack_bytes: int

    @property
    def packet_bytes(self) -> int:
        """On the wire."""
        return sum(self.layers.values())

    @property
    def bit_per_s(self) -> float:
        """On the wire, this way."""
        return 8 * self.packet_bytes * self.packets_per_s

    @property
    def ack_bit_per_s(self) -> float:
        """On the wire, the other way."""
        return 8 * self.ack_bytes * self.packets_per_s


@dataclass(frozen=True, slots=True)
class Budget:
    """What one profile costs on one route."""

    profile: Profile
    route: Route
    delay_ms: float
    "That cutting into packets adds."
    code_bit_per_s: float
    "The codes alone."
    up: Cost
    down: Cost
    talk_end_bytes: int
    "Up, once for each talk: the comfort noise."

    @property
    def talker_bit_per_s(self) -> tuple[float, float]:
        """All that the line of one who speaks carries, up and down: voice, acknowledgements, its echo, keeping alive."""
        alive_up, alive_down = self.route.alive_bit_per_s
        up, down = self.up.bit_per_s + alive_up, self.up.ack_bit_per_s + alive_down
        if self.route.link.echoes:  # which acknowledges as well
            up += self.down.ack_bit_per_s
            down += self.down.bit_per_s - self.up.ack_bit_per_s
        return up, down

    @property
    def listener_bit_per_s(self) -> tuple[float, float]:
        """All that the line of one who listens to one talker carries, up and down."""
        alive_up, alive_down = self.route.alive_bit_per_s
        return self.down.ack_bit_per_s + alive_up, self.down.bit_per_s + alive_down


def budget(profile: Profile, route: Route, codec: Codec, sealed: bool = False) -> Budget:
    """The cost of ``profile``; books beyond the codec's are not sent."""
    # Slow, and the names of links are wanted before anything slow is loaded.
    from .comfort_noise import COMFORT_NOISE_BYTES
    from .packet import HEADER_BYTES

    books, frames = min(profile.books, codec.books), profile.frames_per_packet
    code_bits, repeated_bits = frames * books * codec.bits, frames * profile.redundancy * codec.bits
    body = -(-(code_bits + repeated_bits) // 8)
    inner = {"codes": -(-code_bits // 8), "repeated": body - -(-code_bits // 8)}
    inner |= {"header": HEADER_BYTES, "seal": SEAL_BYTES if sealed else 0}
    payload_bytes = sum(inner.values())
    packets_per_s = 1000 / (frames * codec.frame_ms)

    def cost(way: Way) -> Cost:
        layers = inner | route.layers(payload_bytes, way)
        n_segments = layers["tcp"] // TCP_BYTES
        return Cost(way, layers, packets_per_s, n_segments * route.empty_segment_bytes)

    return Budget(
        profile,
        route,
        frames * codec.frame_ms,
        code_bits * packets_per_s,
        cost("up"),
        cost("down"),
        route.wire_bytes(COMFORT_NOISE_BYTES + inner["seal"], "up"),
    )


def websocket_bytes(payload_bytes: int, masked: bool) -> int:
    """The header of a frame."""
    longer = 0 if payload_bytes <= 125 else 2 if payload_bytes <= 0xFFFF else 8
    return WEBSOCKET_BYTES + longer + (MASK_BYTES if masked else 0)


def _varint_bytes(number: int) -> int:
    """As MQTT writes the remaining length: seven bits a byte."""
    return max(-(-number.bit_length() // 7), 1)
