"""A room whose carrier is this process, and peers in it, in virtual time: everything that is said is on record."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sottovoce.stream.engine import ECHO, EchoEngine
from sottovoce.stream.errors import ConnectionFailed
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.pacing import paced
from sottovoce.stream.peer import Peer, PeerOptions
from sottovoce.stream.profiles import PROFILES
from sottovoce.stream.room_key import RoomKey
from sottovoce.stream.room_transport import RETAINED, Connect, Connection, RoomMessage, Slot

from . import virtual_time
from .virtual_time import now_s

FRAME_S = ECHO.frame_ms / 1000


class MemoryLine:
    """One peer's connection."""

    def __init__(self, room: "MemoryRoom", peer: str | None) -> None:
        self.room = room
        self.peer = peer
        self.inbox: asyncio.Queue[RoomMessage | None] = asyncio.Queue()
        self.broken = False

    async def send(self, slot: Slot, payload: bytes) -> None:
        await self.room.flows.wait()
        if self.broken:
            raise ConnectionFailed("the line is broken")
        if self.peer is not None:
            self.room.say(self.peer, slot, payload)

    async def messages(self) -> AsyncIterator[RoomMessage]:
        while (message := await self.inbox.get()) is not None:
            yield message
        raise ConnectionFailed("the line is broken")

    def cut(self) -> None:
        self.broken = True
        self.inbox.put_nowait(None)


@dataclass
class MemoryRoom:
    """What a broker does."""

    kept: dict[tuple[str, Slot], bytes] = field(default_factory=dict)
    lines: list[MemoryLine] = field(default_factory=list)
    said: list[tuple[float, str, Slot, bytes]] = field(default_factory=list)
    "When, who, where, what."
    up: bool = True
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    "Cleared while it takes nothing, though the lines stand."
    refuses: Exception | None = None
    attempts_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.flows.set()

    def carrier(self, room: str, peer: str | None) -> Connect:
        """As `Peer` wants it; there is one room."""

        @asynccontextmanager
        async def connect() -> AsyncIterator[Connection]:
            self.attempts_s.append(now_s())
            if self.refuses is not None:
                raise self.refuses
            if not self.up:
                raise ConnectionFailed("nobody answers")
            line = MemoryLine(self, peer)
            for (other, slot), payload in self.kept.items():
                line.inbox.put_nowait(RoomMessage(other, slot, payload))
            self.lines.append(line)
            try:
                yield line
            finally:
                if line in self.lines:
                    self.lines.remove(line)

        return connect

    def say(self, peer: str, slot: Slot, payload: bytes) -> None:
        """As that peer."""
        self.said.append((now_s(), peer, slot, payload))
        if slot in RETAINED:
            if payload:
                self.kept[peer, slot] = payload
            else:
                self.kept.pop((peer, slot), None)
        for line in self.lines:
            if line.peer != peer:
                line.inbox.put_nowait(RoomMessage(peer, slot, payload))

    def kill(self) -> None:
        """Gone, with all that it kept."""
        self.up = False
        self.kept.clear()
        for line in self.lines:
            line.cut()
        self.lines.clear()
        self.flows.set()

    def revive(self) -> None:
        self.up = True

    def lose(self, peer: str) -> None:
        """That peer's machine is gone: its last will is carried out."""
        for line in [line for line in self.lines if line.peer == peer]:
            self.lines.remove(line)
            line.broken = True
        self.say(peer, "s", b"")

    def of(self, peer: str, slot: Slot) -> list[bytes]:
        """What it said there."""
        return [payload for _, who, where, payload in self.said if (who, where) == (peer, slot)]


class Ear:
    """A speaker that wants a frame every frame's time, and remembers."""

    def __init__(self) -> None:
        self.frames: list[Pcm] = []
        self._next_s: float | None = None

    async def wanted(self) -> None:
        self._next_s = now_s() if self._next_s is None else self._next_s + FRAME_S
        await asyncio.sleep(max(self._next_s - now_s(), 0))

    async def play(self, frame: Frame[Pcm]) -> None:
        self.frames.append(frame.data)

    @property
    def pcm(self) -> Pcm:
        return np.concatenate([np.zeros(0, np.float32), *self.frames])

    def loud(self, from_s: float = 0.0, to_s: float = 1e9) -> float:
        """Share of the frames in that time in which something is heard."""
        frames = self.frames[round(from_s / FRAME_S) : round(min(to_s, 1e6) / FRAME_S)]
        return float(np.mean([np.abs(frame).max() > 0.01 for frame in frames])) if frames else 0.0


class Loud:
    """A detector to whom every sound is a voice."""

    def push(self, frame: Pcm) -> bool:
        return bool(np.abs(frame).max() > 0.01)


def speech(*pieces: Pcm, then: Callable[[], Any] | None = None) -> AsyncIterator[Pcm]:
    """At the rate of speech."""

    async def blocks() -> AsyncIterator[Pcm]:
        for piece in pieces:
            yield piece
        if then is not None:
            then()

    return paced(blocks(), ECHO.rate_hz, ECHO.frame_samples, now_s, asyncio.sleep)


def silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * ECHO.rate_hz), np.float32)


@dataclass
class Someone:
    """A peer, what it hears, and what it was told."""

    peer: Peer
    ear: Ear
    lines: list[str]
    task: "asyncio.Task[None] | None" = None

    def begin(self, source: AsyncIterator[Pcm] | None = None, seconds: float | None = None) -> "Someone":
        self.task = asyncio.create_task(self.peer.run(source, self.ear, seconds))
        return self

    async def leave(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()

    def told(self, words: str) -> bool:
        return any(words in line for line in self.lines)


def someone(
    loop: EngineLoop,
    room: MemoryRoom,
    name: str,
    *,
    profile: str = "live",
    key: RoomKey | None = None,
    push_to_talk: bool = False,
    live: bool = True,
) -> Someone:
    lines: list[str] = []
    options = PeerOptions("r", name, PROFILES[profile], key, push_to_talk, live)
    activity = None if push_to_talk else Loud()
    return Someone(Peer(options, loop, room.carrier, activity, lines.append, clock=now_s), Ear(), lines)


def run(use: Callable[[EngineLoop, MemoryRoom], Coroutine[Any, Any, None]], rows: int = 12) -> None:
    """In virtual time, with one engine for all."""

    async def main() -> None:
        async with EngineLoop(EchoEngine(rows), asyncio.get_running_loop().time) as loop:
            virtual_time.hold_for(lambda: loop.waiting > 0)
            try:
                await use(loop, MemoryRoom())
            finally:
                virtual_time.hold_for(lambda: True)  # the thread is about to end

    virtual_time.run(main())
