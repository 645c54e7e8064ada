"""The stages in the order that a frame passes them.

Those that wait, for sound or for the engine, are coroutines that read a channel; what needs no waiting, the wire between
the two visits of the engine, is plain objects that are pushed. A coroutine ends when its input ends, and raises into the
task group of its conversation. Whatever a stage takes that is older than the session's generation it drops. A frame of a new
generation starts the models from their initial state: not even a filter's tail of cancelled sound is heard.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from .admission import CHUNKS, HEARD
from .align import Trim
from .channel import Channel
from .clock import Clock
from .conceal import Conceal, Missing, ReceivedFrame
from .descriptor import Descriptor
from .engine import Kind
from .errors import PacketError
from .frames import MEL_FLOOR, Codes, Frame, Mel, Pcm, Reblock
from .generation import Generation
from .loop import Session, Visit
from .loss import GilbertLoss
from .packer import Packer
from .packet import CodePacket, preset_id, shape, unpack
from .statistics import Statistics

A = TypeVar("A", Pcm, Mel, Codes)
T = TypeVar("T")

Wire = Frame[bytes | Missing]
"""What crosses the wire: a packet, or the word that one is not coming. ``seq`` counts packets."""
Tap = Callable[[Frame[A]], None]
"""Looks at frames as they pass, on the event loop: must be quick and must not change them."""


class Line:
    """What the stages of one conversation share: what is still wanted, the time, and what was counted."""

    def __init__(self, generation: Generation, clock: Clock, statistics: Statistics) -> None:
        self.generation = generation
        self.clock = clock
        self.statistics = statistics

    def wanted(self, frame: Frame[T], place: str, n_frames: int = 1) -> bool:
        """Whether ``frame``, which comes from ``place``, is of the present generation; if not, counts it."""
        if self.generation.is_stale(frame.generation):
            self.statistics.drop(place, "stale", n_frames)
            return False
        return True

    def leaving(self, stage: str, came_s: Iterable[float]) -> float:
        """The time now, having noted how long each frame took that left the stage before at ``came_s``."""
        now_s, latency = self.clock(), self.statistics.stage(stage)
        for s in came_s:
            latency.add(now_s - s)
        return now_s

    def visited(self, kinds: tuple[Kind, Kind], visit: Visit, came_s: Iterable[float]) -> float:
        """The same of two stages that were one visit of the engine."""
        now_s, first, second = self.clock(), self.statistics.stage(kinds[0]), self.statistics.stage(kinds[1])
        for s in came_s:
            first.add(now_s - s - visit.last_s)
            second.add(visit.last_s)
        return now_s


async def capture(
    source: AsyncIterable[Pcm], out: Channel[Frame[Pcm]], line: Line, descriptor: Descriptor, flush: bool
) -> int:
    """Blocks of any size -> frames of pcm. Returns how many samples ``source`` gave.

    A frame carries the generation in which the block with its first sample came.
    With ``flush``, zeros follow the sound until all of it has passed the codec's delay and filled its frame.
    """
    reblock = Reblock(descriptor.frame_samples)
    n_samples = seq = 0
    began = line.generation.current

    async def send(block: Pcm) -> None:
        nonlocal seq, began
        came = line.generation.current
        if not reblock.pending:
            began = came
        for pcm in reblock.push(block):
            now_s = line.clock()
            line.statistics.level_in.add(pcm)
            await out.send(Frame(pcm, seq, began, now_s, now_s))
            seq += 1
            began = came

    async with out:
        async for block in source:
            n_samples += len(block)
            await send(block)
        if flush and n_samples:
            wanted = -(-(n_samples + descriptor.delay_samples) // descriptor.frame_samples)
            while seq < wanted:
                await out.room()  # zeros must push out nothing that was said
                await send(np.zeros(descriptor.frame_samples - reblock.pending, np.float32))
    return n_samples


async def fill(frames: Channel[Frame[Pcm]], out: Channel[Frame[Pcm]], descriptor: Descriptor) -> None:
    """Frames of pcm, and silence in place of those that were pushed out: a file keeps its length and its time."""
    seq = 0
    async with out:
        async for frame in frames:
            for lost in range(seq, frame.seq):
                born_s = frame.born_s - (frame.seq - lost) * descriptor.frame_ms / 1000
                await out.send(frame.carrying(np.zeros(descriptor.frame_samples, np.float32), seq=lost, born_s=born_s))
            await out.send(frame)
            seq = frame.seq + 1


_SPEAK: tuple[Kind, Kind] = ("mel", "encode")


async def speak(
    frames: Channel[Frame[Pcm]],
    sink: Callable[[Frame[Codes]], Awaitable[None]],
    line: Line,
    session: Session,
    tap: Tap[Mel] | None = None,
) -> None:
    """Frames of pcm -> mel -> codes, in one visit of the engine."""
    frame_s = session.descriptor.frame_ms / 1000
    generation = None
    async for frame in frames:
        if not line.wanted(frame, frames.name):
            continue
        fresh, generation = frame.generation != generation, frame.generation
        visit = await session.visit(_SPEAK, frame.data, frame.born_s + frame_s, fresh=fresh)
        mel, codes = visit.answers
        line.statistics.codes.add(codes)
        now_s = line.visited(_SPEAK, visit, [frame.left_s])
        if tap:
            tap(frame.carrying(mel, left_s=now_s))
        await sink(frame.carrying(codes, left_s=now_s))


class Write:
    """Frames of codes -> packets for a file or a wire. `finish` ends the talk, as does the first frame after a cancel.

    A frame gets its number at the moment it is handed over, so that a cancel leaves no gap in the numbers, which
    a receiver would fill with what was cancelled.
    """

    def __init__(self, line: Line, packer: Packer) -> None:
        self._line = line
        self._packer = packer
        self._gathered: list[float] = []  # when the stage before let go of each frame of the next packet
        self._last: Frame[Codes] | None = None  # of the talk that has not ended
        self._n_packets = 0

    def push(self, frame: Frame[Codes]) -> Iterator[Wire]:
        """The packets that ``frame`` completes."""
        if self._last is not None and self._line.generation.is_stale(self._last.generation):
            yield from self.finish()
        if self._line.wanted(frame, "encoded"):
            self._last = frame
            self._gathered.append(frame.left_s)
            for packed in self._packer.push(frame.data):
                yield self._packet(packed, frame.generation, frame.born_s)

    def finish(self) -> Iterator[Wire]:
        """The end of the talk, if there was one."""
        if self._last is None:
            return
        last, self._last = self._last, None
        if self._line.generation.is_stale(last.generation):
            self._line.statistics.drop("encoded", "stale", self._packer.restart())
            self._gathered.clear()
        yield self._packet(self._packer.finish(), self._line.generation.current, last.born_s)

    def _packet(self, packed: bytes, generation: int, born_s: float) -> Wire:
        now_s = self._line.leaving("pack", self._gathered)
        self._gathered.clear()
        self._line.statistics.sent(len(packed), *shape(packed))
        self._n_packets += 1
        return Frame(packed, self._n_packets - 1, generation, born_s, now_s)


def lose(packet: Wire, line: Line, loss: GilbertLoss) -> Wire:
    """A bad wire: some packets are replaced by the word that they are missing."""
    if isinstance(packet.data, Missing) or not loss.lost():
        return packet
    n_frames, _ = shape(packet.data)
    line.statistics.counters["packets_lost"] += 1
    line.statistics.drop("sent", "lost", n_frames)
    return packet.carrying(Missing(n_frames))


class Receive:
    """Packets -> frames of codes without a gap.

    `push` raises PacketError: a packet that is none, or is of another preset.
    """

    def __init__(self, line: Line, descriptor: Descriptor, patience_frames: int, tap: Tap[Codes] | None = None) -> None:
        self._line = line
        self._descriptor = descriptor
        self._tap = tap
        self._conceal = Conceal(descriptor.books, descriptor.frame_ms, patience_frames, line.statistics.conceal)
        self._held: deque[float] = deque()  # when the word came of each frame that is held back
        self._last: Wire | None = None
        self._seq = 0

    def push(self, packet: Wire) -> Iterator[Frame[Codes]]:
        """The frames that ``packet`` settles."""
        n_frames = packet.data.n_frames if isinstance(packet.data, Missing) else shape(packet.data)[0]
        if not self._line.wanted(packet, "arrived", n_frames):
            return
        if self._last is not None and packet.generation != self._last.generation:
            self._restart()
        self._last = packet
        if isinstance(packet.data, Missing):
            self._held.extend([packet.left_s] * n_frames)
            yield from self._frames(self._conceal.missing(packet.data), packet)
        else:
            settled = self._conceal.receive(_unpacked(packet.data, self._descriptor))
            yield from self._frames(settled, packet, n_frames)

    def finish(self) -> Iterator[Frame[Codes]]:
        """What was held back, if it is still wanted."""
        if self._last is not None and self._line.generation.is_stale(self._last.generation):
            self._restart()
        elif self._last is not None:
            yield from self._frames(self._conceal.finish(), self._last)

    def _frames(self, settled: list[ReceivedFrame], packet: Wire, n_new: int = 0) -> Iterator[Frame[Codes]]:
        """What `_conceal` has ``settled`` because of ``packet``, which brought the last ``n_new`` of them."""
        held, frame_s = self._held, self._descriptor.frame_ms / 1000
        before = len(settled) - n_new
        came_s = [held.popleft() if held and i < before else packet.left_s for i in range(len(settled))]
        while len(held) > self._conceal.pending:
            held.popleft()
        now_s = self._line.leaving("receive", came_s)
        newest = self._conceal.pending + len(settled) - 1  # a packet is as old as its newest frame
        for i, frame in enumerate(settled):
            heard: Frame[Codes] = Frame(
                frame.codes[None],
                self._seq,
                packet.generation,
                packet.born_s - (newest - i) * frame_s,
                now_s,
                concealed=frame.concealed,
                books=frame.books,
                attenuation_db=frame.attenuation_db,
            )
            self._seq += 1
            if self._tap:
                self._tap(heard)
            yield heard

    def _restart(self) -> None:
        self._line.statistics.drop("arrived", "stale", self._conceal.restart())
        self._held.clear()


def _unpacked(packed: bytes, descriptor: Descriptor) -> CodePacket:
    """Raises PacketError."""
    packet = unpack(packed, descriptor.bits_per_code)
    if packet.preset_id != preset_id(descriptor.preset) or packet.codes.shape[1] > descriptor.books:
        raise PacketError(
            f"a packet of preset number {packet.preset_id} with {packet.codes.shape[1]} books "
            f"in a stream of {descriptor.preset} with at most {descriptor.books}"
        )
    return packet


async def hear(
    frames: Channel[Frame[Codes]],
    sink: Callable[[Frame[Pcm]], Awaitable[None]],
    line: Line,
    session: Session,
    tap: Tap[Mel] | None = None,
    trim: Trim | None = None,
    n_samples: Callable[[], int | None] = lambda: None,
    repeatable: bool = False,
) -> int:
    """Frames of codes -> mel -> pcm, in one visit of the engine, -> the sink. Returns the samples given.

    What waits is taken together, a few frames at a time: a talker sends them so, and a backlog is caught up with. With
    ``repeatable`` it is always as many as go together, whose last bits then do not depend on what waited. The sink
    gets them one by one. With ``trim`` the samples are exactly in line with the original, for whose length ``n_samples`` is
    asked when the input has ended; None where that is not known. A frame that was made up is faded in the mel, which takes a
    visit for each half.
    """
    frame_s = session.descriptor.frame_ms / 1000
    generation, faded_db, given = None, 0.0, 0
    last: Frame[Pcm] | None = None

    async def give(frame: Frame[Pcm]) -> None:
        nonlocal given
        line.statistics.level_out.add(frame.data)
        if len(frame.data):
            given += len(frame.data)
            await sink(frame)

    async for chunk in _chunks(frames, line, repeatable):
        frame = chunk[0]
        fresh, generation = frame.generation != generation, frame.generation
        due_s = frame.born_s + frame_s if frame.due_s is None else frame.due_s
        if frame.attenuation_db > 0:
            known = await session.step("decode", frame.data, due_s, fresh=fresh)
            mel = fade(known, 0.0 if fresh else faded_db, frame.attenuation_db)
            left_s = line.leaving("decode", [frame.left_s])
            pcm = await session.step("vocode", mel, due_s, fresh=fresh)
            left_s = line.leaving("vocode", [left_s])
        else:
            codes = frame.data if len(chunk) == 1 else np.concatenate([one.data for one in chunk])
            visit = await session.visit(HEARD, codes, due_s, fresh=fresh)
            mel, pcm = visit.answers
            left_s = line.visited(HEARD, visit, [one.left_s for one in chunk])
        faded_db = frame.attenuation_db
        for one, its_mel, its_pcm in zip(chunk, _cut(mel, len(chunk)), _cut(pcm, len(chunk)), strict=True):
            if tap:
                tap(one.carrying(its_mel, left_s=left_s))
            if not line.wanted(one, "vocoded"):
                continue
            last = one.carrying(trim.push(its_pcm) if trim else its_pcm, left_s=left_s)
            if one.due_s is not None:  # what is made ahead of its time is new; what is late is as old as it is late
                last = last._replace(born_s=min(line.clock(), one.due_s))
            await give(last)
            line.statistics.age.add(line.leaving("play", [left_s]) - last.born_s)
    if trim and last is not None:
        await give(last.carrying(trim.finish(n_samples())))
    return given


def _cut(data: A, n_frames: int) -> list[A]:
    """Its frames. Mostly there is one, for which numpy would take as long as a stage does."""
    return [data] if n_frames == 1 else np.split(data, n_frames)


async def _chunks(frames: Channel[Frame[Codes]], line: Line, repeatable: bool) -> AsyncIterator[list[Frame[Codes]]]:
    """Frames that are made sound together."""
    chunk: list[Frame[Codes]] = []
    async for frame in frames:
        if not line.wanted(frame, frames.name):
            continue
        alone = frame.attenuation_db > 0
        if chunk and (alone or frame.generation != chunk[0].generation):
            yield chunk
            chunk = []
        chunk.append(frame)
        if not repeatable and not alone and frames.waiting:
            chunk += _waiting(frames, frame.generation)
        if not repeatable or alone or len(chunk) == CHUNKS[0]:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _waiting(frames: Channel[Frame[Codes]], generation: int) -> Iterator[Frame[Codes]]:
    """The frames that are there besides the first, as many as go into one piece."""
    n = next(n for n in CHUNKS if n <= 1 + frames.waiting)
    while n > 1 and (frame := frames.take_if(lambda it: it.generation == generation and it.attenuation_db == 0)):
        yield frame
        n -= 1


def fade(mel: Mel, from_db: float, to_db: float) -> Mel:
    """``mel`` [t, n_mels], lowered along time until ``to_db`` below itself, never below the floor.

    A slope instead of a step: sound that breaks off would be heard as a click. There is no slope back up: what was
    received is not touched.
    """
    db = np.linspace(from_db, to_db, len(mel) + 1)[1:, None]
    lowered: Mel = np.maximum(mel - db * (math.log(10) / 20), MEL_FLOOR).astype(np.float32)
    return lowered
