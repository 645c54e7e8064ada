"""``sottovoce peer`` and ``sottovoce listen``: a voice in a room, between files and devices of any kind."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.stream.bridge import Bridge
from sottovoce.stream.engine import Engine
from sottovoce.stream.errors import AudioFileError
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.peer import Peer, PeerOptions
from sottovoce.stream.voice_activity import VoiceActivity

from .atomic import replacing, writing
from .engines import EngineOptions, make_engine
from .interrupts import run
from .keys import raw_keys
from .peer_report import summary
from .pipes import PIPE, check_apart, say, tell
from .quiet import quiet_libraries
from .room_address import RoomAddress
from .room_ends import RoomEndOptions, RoomEnds, check_devices
from .sound_files import remark

TALKERS = 4
"""Others that may be heard at once, by default."""
_LEAVE_S = 1.0


@dataclass(frozen=True, slots=True)
class PeerCommand:
    """What a person asks of a peer."""

    address: RoomAddress
    peer: PeerOptions
    engine: EngineOptions
    ends: RoomEndOptions
    seconds: float | None = None
    stats: Path | None = None
    bridge: RoomAddress | None = None
    talkers: int = TALKERS


def converse(command: PeerCommand) -> None:
    """Be in the room to the end.

    Raises:
        ConnectionFailed: no broker or server answers, or it refuses.
        SottovoceError: a file, a device, the weights or the options are at fault. No output file is left.
        KeyboardInterrupt: by a signal; what was heard until then is in the output file.
    """
    check_apart(command.ends.input, command.ends.output, command.stats)
    check_devices(command.ends)
    command.address.carrier(command.peer.room, None)  # is what it takes installed?
    engine = make_engine(command.engine, 1 + command.talkers)
    counts: dict[str, Any] = {}
    interrupted: KeyboardInterrupt | None = None
    with ExitStack() as stack:
        if command.stats is not None:
            name = stack.enter_context(replacing(command.stats, AudioFileError))
            stack.callback(_write_stats, name, command.stats, counts)
        devices = command.ends.hears_microphone or command.ends.output is None
        stack.enter_context(quiet_libraries() if devices else nullcontext())
        ends = stack.enter_context(RoomEnds(command.ends, engine.descriptor))
        try:
            run(_converse(command, engine, ends, counts))
        except KeyboardInterrupt as interrupt:  # the usual end of somebody who listens
            interrupted = interrupt
    if ends.sound:
        remark(ends.sound.remarks())
    for line in summary(counts) if counts else ():
        (tell if command.ends.output == PIPE else say)(line)
    if interrupted is not None:
        raise interrupted


async def _converse(command: PeerCommand, engine: Engine, ends: RoomEnds, counts: dict[str, Any]) -> None:
    carried: Counter[str] = Counter()
    quit_asked = asyncio.Event()
    async with AsyncExitStack() as stack:
        loop = await stack.enter_async_context(EngineLoop(engine))
        source, player = ends.start(quit_asked.is_set)
        activity = None if command.peer.push_to_talk else VoiceActivity(engine.descriptor.rate_hz)
        peer = Peer(
            command.peer,
            loop,
            lambda room, name: command.address.carrier(room, name, carried),
            activity,
            lambda line: tell(f"sottovoce: {line}"),
        )
        bridge = _bridge(command)
        keys = stack.enter_context(raw_keys())
        talking = asyncio.create_task(peer.run(source, player, command.seconds), name="peer")
        watching = asyncio.create_task(_watch(keys, peer, command.peer.push_to_talk, quit_asked), name="keys")
        tasks = {talking, watching}
        if bridge is not None:
            tasks.add(asyncio.create_task(bridge.run(), name="bridge"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if watching in done:
                await asyncio.wait({talking}, timeout=_LEAVE_S)  # a microphone has its last words
            for task in done:
                task.result()
            if bridge is not None:
                await asyncio.sleep(_LEAVE_S)  # what we said last is still on its way to it
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            counts.update(peer.told())
            counts["frame_ms"] = engine.descriptor.frame_ms
            counts["carrier"] = dict(carried)
            counts["late_frames"] = player.late
            if bridge is not None:
                counts["bridge"] = dict(bridge.counts)


async def _watch(keys: asyncio.Queue[str] | None, peer: Peer, pushes: bool, quit_asked: asyncio.Event) -> None:
    """Obey the keys until ``q``; the space bar takes the floor and gives it back."""
    pressed = False
    if keys is None:
        await asyncio.Event().wait()
    while keys is not None:
        key = await keys.get()
        if key in ("q", "Q"):
            quit_asked.set()
            return
        if key == " " and pushes:
            if pressed:
                peer.release()
                pressed = False
            else:
                pressed = peer.press()
            tell(f"sottovoce: {'you have the floor' if pressed else 'you listen'}")


def _bridge(command: PeerCommand) -> Bridge | None:
    if command.bridge is None:
        return None
    key, other = command.peer.key, command.bridge
    rooms = [address.room if key is None else key.room_level(address.room) for address in (command.address, other)]
    return Bridge(
        lambda peer: command.address.carrier(rooms[0], peer, listens=peer is None),
        lambda peer: other.carrier(rooms[1], peer, listens=peer is None),
        lambda line: tell(f"sottovoce: {line}"),
    )


def _write_stats(name: Path, path: Path, counts: dict[str, Any]) -> None:
    with writing(path, AudioFileError):
        name.write_text(json.dumps(counts, indent=1, default=float) + "\n", encoding="utf-8")
