"""A peer of a room as it runs: what the microphone hears goes out, what the others say is mixed and played.

Tasks: the line (`RoomLink`), `_listen` for what it brings, `_speak` to feed the `RoomSender`, `_play` and `_look_around`.
"""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .adaptation import ReportGate
from .channel import Channel
from .clock import Clock, monotonic
from .engine import Kind
from .errors import ProtocolError
from .floor import Floor
from .frames import Frame, Pcm
from .generation import Generation
from .loop import EngineLoop
from .lost_frames import LostFrames
from .pipeline import Source, first_error
from .profiles import Profile
from .remote_peer import RemotePeer
from .room_link import RoomLink
from .room_messages import Presence, Press, Release, Report, read_control, write_control, write_descriptor
from .room_sender import RoomSender
from .room_transport import KEEP_ALIVE_S, Connect, LineDown, LineUp, RoomMessage, Slot
from .stages import Line, capture
from .statistics import Statistics
from .voice_activity import Activity

if TYPE_CHECKING:
    from .room_key import RoomKey  # needs cryptography, which a room without a key does not

MOST_PEERS = 64
"""That are kept apart."""
LOOK_S = 2.0
"""How often to report, and to look who is gone."""
RENEW_S = 1200.0
"""How often to say again what a broker shall keep."""
_CAPTURED_FRAMES, _AT_ONCE = 5, 4  # frames; messages
_SPEAK: tuple[Kind, Kind] = ("mel", "encode")


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """Who we are in which room."""

    room: str
    name: str
    profile: Profile
    key: RoomKey | None = None
    push_to_talk: bool = False
    live: bool = True
    "The source does not wait. False: it is a file, which begins when the line is there, and with it the press."


class Player(Protocol):
    """The speaker, whose clock is the listener's."""

    async def wanted(self) -> None:
        """Returns when the next frame is due."""
        ...

    async def play(self, frame: Frame[Pcm]) -> None:
        """Take it."""
        ...


class Peer:
    """One of them, ours.

    Attributes:
        link: the line to the room.
        counts: ``in.REASON`` for messages that nobody could use, ``frames_played``, ``clipped``.
        floor: who may talk, among those who press.
    """

    def __init__(
        self,
        options: PeerOptions,
        loop: EngineLoop,
        carrier: Callable[[str, str | None], Connect],
        activity: Activity | None = None,
        told: Callable[[str], None] = lambda line: None,
        *,
        clock: Clock = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            options: who and where.
            loop: an engine; a row of it is taken for us, and one for each peer while it speaks.
            carrier: connects to a room as a peer, both named as they travel.
            activity: tells when we speak; None with ``push_to_talk`` only.
            told: gets one line about everything that a person wants to know.
        """
        self._options = options
        self._loop = loop
        self._told = told
        self._clock = clock
        self._sleep = sleep
        self._descriptor = loop.descriptor
        key = options.key
        self._room_level = options.room if key is None else key.room_level(options.room)
        self.level = options.name if key is None else key.peer_level(options.room, options.name)
        self._sender = RoomSender(loop.descriptor, options.profile, activity, options.push_to_talk)
        self._sealer = None if key is None else key.sealer(self._room_level, self.level)
        self.link = RoomLink(
            carrier(self._room_level, self.level),
            self._introduce,
            stale_s=options.profile.patience_ms / 1000,
            clock=clock,
            sleep=sleep,
        )
        self.floor = Floor(self.level)
        self.counts: Counter[str] = Counter()
        self.statistics = Statistics(loop.descriptor)
        self._others: dict[str, RemotePeer] = {}
        self._gates: dict[str, ReportGate] = {}
        self._left: deque[bytes] = deque(maxlen=1024)  # sessions that are over, of everybody: none is heard twice
        self._up_s = 0.0  # when the line came
        self._came_up = asyncio.Event()

    async def run(self, source: Source | None, player: Player, seconds: float | None = None) -> None:
        """Be there until ``source`` has ended and all is sent, or for ``seconds`` with a line; without both until cancelled.

        Raises:
            ConnectionFailed, RoomRefused: there is no room.
            EngineStopped, and whatever ``source`` and ``player`` raise.
        """
        async with first_error(), TaskGroup() as tasks:
            running = [
                tasks.create_task(self.link.run(), name="line"),
                tasks.create_task(self._listen(), name="listen"),
                tasks.create_task(self._play(player), name="play"),
                tasks.create_task(self._look_around(), name="look"),
            ]
            speaking = None if source is None else tasks.create_task(self._speak(source), name="speak")
            try:
                await self._until(speaking, seconds)
                self._publish_all(self._sender.finish(self._clock()))
                await self.link.flush()
            finally:
                for task in [*running, speaking]:
                    if task is not None:
                        task.cancel()
                for other in self._others.values():
                    other.close()

    async def _until(self, speaking: asyncio.Task[None] | None, seconds: float | None) -> None:
        if seconds is not None:
            await self._came_up.wait()
            await self._sleep(seconds)
        elif speaking is not None:
            await asyncio.wait([speaking])
        else:
            await asyncio.Event().wait()

    # ---- push to talk ----------------------------------------------------------------------------------------

    def press(self) -> bool:
        """We want to talk; whether we may."""
        now_s = self._clock()
        if self.floor.has(now_s):
            return True
        press = self.floor.press(now_s) if self.link.is_up else None
        if press is None:
            holder = self.floor.holder(now_s)
            self._told("there is no line" if holder is None else f"{self._name(holder)} has the floor")
            return False
        self._publish("c", write_control(press))
        self._sender.press()
        return True

    def release(self) -> None:
        """We have done."""
        self._publish_all(self._sender.release(self._clock()))
        if (release := self.floor.release()) is not None:
            self._publish("c", write_control(release))

    def _give_way(self) -> None:
        """Somebody who pressed when we did goes first."""
        now_s = self._clock()
        if self.floor.again() is not None and not self.floor.has(now_s):
            self._told(f"{self._name(self.floor.holder(now_s) or '')} was first")
            self.release()

    # ---- what we say -----------------------------------------------------------------------------------------

    async def _speak(self, source: Source) -> None:
        line, live = Line(Generation(), self._clock, self.statistics), self._options.live
        if not live:
            await self._came_up.wait()
            if self._options.push_to_talk:
                self.press()
        frame_s = self._descriptor.frame_ms / 1000
        frames: Channel[Frame[Pcm]] = Channel(_CAPTURED_FRAMES, "drop_oldest" if live else "wait", "captured")
        self.statistics.watch(frames)
        lost = LostFrames(frame_s) if live else None
        with self._loop.open() as row:
            async with TaskGroup() as tasks:
                tasks.create_task(capture(source, frames, line, self._descriptor, flush=not live), name="capture")
                async for frame in frames:
                    if lost and (n_frames := lost.before(frame.seq, frame.born_s)):
                        self._publish_all(self._sender.lose(n_frames))
                    _, codes = (await row.visit(_SPEAK, frame.data, frame.born_s + frame_s)).answers
                    self._publish_all(self._sender.push(codes, frame.data, self._clock()))
        self._publish_all(self._sender.finish(self._clock()))

    def _introduce(self) -> None:
        """A session begins: a new seal, and what stands in it."""
        options = self._options
        if options.key is not None:
            self._sealer = options.key.sealer(self._room_level, self.level)
        self._renew()

    def _renew(self) -> None:
        options = self._options
        talk: Any = "push" if options.push_to_talk else "open"
        frames = self._sender.adaptation.frames_per_packet
        self._publish("d", write_descriptor(self._descriptor))
        self._publish("s", Presence(options.name, talk, frames).to_bytes())

    def _publish_all(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._publish("a", payload)

    def _publish(self, slot: Slot, payload: bytes) -> None:
        self.link.publish(slot, payload if self._sealer is None else self._sealer.seal(slot, payload))

    # ---- what comes ------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        async for event in self.link.incoming:
            match event:
                case LineUp():
                    self._up_s = self._clock()
                    self._came_up.set()
                    self._told(f"in room {self._options.room} as {self._options.name}")
                case LineDown(reason):
                    self._told(f"the line is lost: {reason}")
                    self._publish_all(self._sender.release(self._clock()))
                    self.floor.release()
                    for other in self._others.values():
                        self.floor.gone(other.level)
                case RoomMessage():
                    self.counts["in.messages"] += 1
                    if self.counts["in.messages"] % _AT_ONCE == 0:
                        await asyncio.sleep(0)  # what came all at once must not hold up the speaker
                    try:
                        self._take(event)
                    except ProtocolError:
                        self.counts["in.malformed"] += 1

    def _take(self, message: RoomMessage) -> None:
        """Raises ProtocolError: what is inside is none of ours."""
        now_s = self._clock()
        if (other := self._other(message.peer)) is None:
            return
        if not message.payload:
            if message.slot == "s":
                self._gone(other)
            return
        if (payload := other.open(message.slot, message.payload)) is None:
            self.counts["in.unopened"] += 1
            return
        other.seen_s = now_s
        match message.slot:
            case "d":
                self._described(other, payload)
            case "s":
                self._arrived(other, payload)
            case "a" if not other.pushes or self.floor.talks(other.level, now_s):
                other.hear(payload, now_s)
            case "a":
                other.counts["unheard.no_floor"] += 1
            case "c":
                self._control(other, payload, now_s)

    def _other(self, level: str) -> RemotePeer | None:
        if level not in self._others:
            if len(self._others) >= MOST_PEERS and not self._forget_somebody():
                self.counts["in.too_many_peers"] += 1
                return None
            key = self._options.key
            opener = None if key is None else key.opener(self._room_level, level, self._left)
            self._others[level] = RemotePeer(level, opener, self._descriptor, self._options.profile.patience_ms)
        return self._others[level]

    def _forget_somebody(self) -> bool:
        """Whether there is one who is not here any more: strangers go first, of them who was silent for longest."""
        if gone := [other for other in self._others.values() if not other.here]:
            other = min(gone, key=lambda other: (other.proved, other.described, other.seen_s))
            other.forget()
            del self._others[other.level]
            self._gates.pop(other.level, None)
            self.floor.gone(other.level)
        return bool(gone)

    def _described(self, other: RemotePeer, payload: bytes) -> None:
        before = other.refused_model
        other.describe(payload)
        theirs, ours = other.refused_model, self._descriptor
        if theirs is not None and theirs != before:
            self._told(
                f"{other.name} cannot be heard: it speaks {theirs.preset} {theirs.model_hash}, "
                f"the model here is {ours.preset} {ours.model_hash}; use the same weights on both ends"
            )

    def _arrived(self, other: RemotePeer, payload: bytes) -> None:
        if other.arrive(payload):
            self._told(f"{other.name} is here")
            if (press := self.floor.again()) is not None:
                self._publish("c", write_control(press))

    def _gone(self, other: RemotePeer) -> None:
        self.floor.gone(other.level)
        if other.leave():
            self._told(f"{other.name} has gone")

    def _control(self, other: RemotePeer, payload: bytes, now_s: float) -> None:
        match read_control(payload):
            case Report(peer, loss, lag_ms) if peer == self.level:
                self._sender.strain(now_s, loss, lag_ms)
            case Press() | Release() as message:
                self.floor.hear(other.level, message, now_s)
                self._give_way()

    def _name(self, level: str) -> str:
        return self._others[level].name if level in self._others else level

    # ---- what is heard ---------------------------------------------------------------------------------------

    async def _play(self, player: Player) -> None:
        seq = 0
        while True:
            await player.wanted()
            now_s = self._clock()
            heard = await asyncio.gather(*(other.frame(self._loop, now_s) for other in list(self._others.values())))
            mix = np.zeros(self._descriptor.frame_samples, np.float32)
            for sound in heard:
                mix += sound
            if np.abs(mix).max() > 1:
                self.counts["clipped"] += 1
                np.clip(mix, -1, 1, out=mix)
            self.statistics.level_out.add(mix)
            await player.play(Frame(mix, seq, 0, now_s))
            self.counts["frames_played"] += 1
            seq += 1

    # ---- now and then ----------------------------------------------------------------------------------------

    async def _look_around(self) -> None:
        renewed_s = self._clock()
        while True:
            await self._sleep(LOOK_S)
            now_s = self._clock()
            if not self.link.is_up:
                continue
            self._sender.strain(now_s, 0.0, 1000 * self.link.lag_s)
            for other in list(self._others.values()):
                if other.here and other.seen_s < self._up_s < now_s - 1.5 * KEEP_ALIVE_S:
                    self._gone(other)  # it has not come back after the line was lost
                self._report(other)
            if now_s - renewed_s >= RENEW_S:
                renewed_s = now_s
                self._renew()

    def _report(self, other: RemotePeer) -> None:
        report = other.report()
        if report is not None and self._gates.setdefault(other.level, ReportGate()).passes(report):
            self._publish("c", write_control(report))

    def told(self) -> dict[str, Any]:
        """Every counter there is, for people and programs."""
        sender = self._sender
        return {
            "room": self._options.room,
            "name": self._options.name,
            "line": dict(self.link.counts),
            "incoming": dict(self.link.incoming.statistics().dropped),
            "sender": {
                **asdict(sender.sent),
                "books": sender.adaptation.books,
                "frames_per_packet": sender.adaptation.frames_per_packet,
                "steps_down": sender.adaptation.steps_down,
                "steps_up": sender.adaptation.steps_up,
            },
            "captured": dict(self.statistics.dropped),
            "counts": dict(self.counts),
            "peers": {other.level: other.statistics() for other in self._others.values()},
        }
