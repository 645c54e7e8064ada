"""A peer of a room whose sound card runs faster or slower than its computer: what `room_long` starts two of.

    python -m sottovoce.training.room_card 10.2.0.2 --name anna --ppm 150 --said talk.wav --seconds 600 --log anna.jsonl

The peer is the product's; only its microphone and its speaker are a file and nothing, paced by a clock that drifts. Every ten
seconds, and at the end, it writes all its counters as a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import soundfile

from sottovoce.stream.clock import Clock, monotonic
from sottovoce.stream.engine import EchoEngine, Engine
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.mqtt_room import Broker, MqttRoom
from sottovoce.stream.onnx_engine import OnnxEngine
from sottovoce.stream.pacing import paced
from sottovoce.stream.peer import Peer, PeerOptions
from sottovoce.stream.profiles import PROFILES
from sottovoce.stream.voice_activity import VoiceActivity

from .recordings import resampled

EVERY_S = 10.0
_BLOCK_S = 0.01


def drifting(ppm: float) -> Clock:
    """The clock of a card that is so much faster than ours, in its own seconds."""
    began_s = monotonic()
    return lambda: began_s + (monotonic() - began_s) * (1 + 1e-6 * ppm)


class Ear:
    """A speaker that nobody hears: it wants a frame whenever its clock says so."""

    def __init__(self, clock: Clock, frame_s: float) -> None:
        self._clock, self._frame_s = clock, frame_s
        self._began_s = clock()
        self._n = 0

    async def wanted(self) -> None:
        """As `peer.Player.wanted`."""
        await asyncio.sleep(max(self._began_s + self._n * self._frame_s - self._clock(), 0.0))
        self._n += 1

    async def play(self, frame: Frame[Pcm]) -> None:
        """As `peer.Player.play`."""


async def _talk(pcm: Pcm, from_s: float, rate_hz: int) -> AsyncIterator[Pcm]:
    """The same talk again and again, from a place in it."""
    n = round(_BLOCK_S * rate_hz)
    starts = list(range(0, len(pcm) - n, n))
    first = round(from_s / _BLOCK_S) % len(starts)
    for start in cycle([*starts[first:], *starts[:first]]):
        yield pcm[start : start + n]


async def _peer(args: argparse.Namespace) -> None:
    engine: Engine = EchoEngine(2) if args.echo else OnnxEngine("base", 2)
    shape = engine.descriptor
    pcm, rate_hz = soundfile.read(args.said, dtype="float32")
    pcm = resampled(pcm, rate_hz, shape.rate_hz)
    card = drifting(args.ppm)
    async with EngineLoop(engine) as loop:
        peer = Peer(
            PeerOptions("measured", args.name, PROFILES[args.profile]),
            loop,
            lambda room, name: MqttRoom(Broker(args.host), room, name).connect,
            VoiceActivity(shape.rate_hz),
            lambda line: print(line, flush=True),
        )
        talk = _talk(pcm, args.from_s, shape.rate_hz)
        source = paced(talk, shape.rate_hz, round(_BLOCK_S * shape.rate_hz), card)
        with args.log.open("w") as log:
            began_s = time.monotonic()

            def note() -> None:
                log.write(json.dumps(_told(time.monotonic() - began_s, peer.told)) + "\n")
                log.flush()

            noting = asyncio.create_task(_every(EVERY_S, note))
            try:
                await peer.run(source, Ear(card, shape.frame_ms / 1000), args.seconds)
            finally:
                noting.cancel()
                note()


def _told(at_s: float, told: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"at_s": at_s, "rss_mib": pages * 4096 / 2**20, "cpu_s": time.process_time(), **told()}


async def _every(seconds: float, call: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        call()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("--name", required=True)
    parser.add_argument("--ppm", type=float, default=0.0, help="how much faster the card's clock is")
    parser.add_argument("--said", type=Path, required=True, help="sound file that it says, again and again")
    parser.add_argument("--from-s", type=float, default=0.0, help="where in it to begin")
    parser.add_argument("--echo", action="store_true", help="without a model, which takes most of the processor")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="normal")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--log", type=Path, required=True)
    asyncio.run(_peer(parser.parse_args()))


if __name__ == "__main__":
    main()
