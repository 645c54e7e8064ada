"""A peer of a room that does nothing but talk without a pause, or listen: what `room_budget` measures the traffic of.

    python -m sottovoce.training.room_traffic 10.2.0.2 --link mqtts3 --talk normal --key room.key --ca broker.pem

Its packets are those of the product's sender; what is in them is chance.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import numpy as np
from aiomqtt import ProtocolVersion

from sottovoce.stream.budget import LINKS
from sottovoce.stream.clock import monotonic
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.frames import Pcm
from sottovoce.stream.mqtt_room import PORT as PLAIN_PORT
from sottovoce.stream.mqtt_room import TLS_PORT, Broker, MqttRoom
from sottovoce.stream.profiles import PROFILES
from sottovoce.stream.room_key import RoomKey
from sottovoce.stream.room_link import RoomLink
from sottovoce.stream.room_messages import write_descriptor
from sottovoce.stream.room_sender import RoomSender

BASE = Descriptor("base", "0123456789ab", 24_000, 960, 4, 128, 8, 1024, 512)
ROOM, TALKER, LISTENER = "room", "anna", "bert"


class _Always:
    """A detector that hears a voice in everything."""

    def push(self, frame: Pcm) -> bool:
        return True


async def _peer(args: argparse.Namespace) -> None:
    link, key = LINKS[args.link], RoomKey.from_text(args.key.read_text()) if args.key else None
    name = TALKER if args.talk else LISTENER
    room = ROOM if key is None else key.room_level(ROOM)
    level = name if key is None else key.peer_level(ROOM, name)
    port = TLS_PORT if link.tls else PLAIN_PORT
    carrier = MqttRoom(Broker(args.host, port, tls=link.tls, authorities=args.ca), room, level)
    if link.mqtt == "3.1.1":
        carrier.version = ProtocolVersion.V311
    sealer = None if key is None else key.sealer(room, level)
    line = RoomLink(carrier.connect)

    def publish(slot: str, payload: bytes) -> None:
        line.publish(slot, payload if sealer is None else sealer.seal(slot, payload))  # type: ignore[arg-type]

    publish("d", write_descriptor(BASE))
    running = asyncio.create_task(line.run())
    async for _ in line.incoming:  # the line is up
        break
    print("in room", flush=True)
    if args.talk:
        sender, random = RoomSender(BASE, PROFILES[args.talk], _Always()), np.random.default_rng(0)
        frame_s, began_s = BASE.frame_ms / 1000, monotonic()
        pcm = np.zeros(BASE.frame_samples, np.float32)
        for i in range(round(args.seconds / frame_s)):
            await asyncio.sleep(began_s + i * frame_s - monotonic())
            codes = random.integers(0, BASE.book_size, (1, BASE.books)).astype(np.int16)
            for payload in sender.push(codes, pcm, monotonic()):
                publish("a", payload)
        running.cancel()
    else:
        async for _ in line.incoming:
            pass
    await asyncio.wait([running])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("--link", choices=[name for name, link in LINKS.items() if link.mqtt], default="mqtt")
    parser.add_argument("--talk", choices=tuple(PROFILES), help="by which profile; default: listen")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--ca")
    asyncio.run(_peer(parser.parse_args()))


if __name__ == "__main__":
    main()
