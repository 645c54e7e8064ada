"""The stages in the order that a frame passes them: coroutines that read one channel and write the next.

A stage ends when its input ends, closes what it sends to, and raises into the task group of its conversation.
Whatever it takes that is older than the session's generation it drops. A frame of a new generation starts the
models from their initial state: not even a filter's tail of cancelled sound is heard.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TypeVar

import numpy as np

from .align import Trim
from .channel import Channel
from .clock import Clock
from .conceal import Conceal, Missing, ReceivedFrame
from .descriptor import Descriptor
from .engine import Kind
from .errors import PacketError
from .frames import MEL_FLOOR, Codes, Frame, Mel, Pcm, Reblock
from .generation import Generation
from .loop import Session
from .loss import GilbertLoss
from .packer import Packer
from .packet import CodePacket, preset_id, shape, unpack
from .statistics import Statistics

A = TypeVar("A", Pcm, Mel, Codes)
B = TypeVar("B", Pcm, Mel, Codes)
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

    def wanted(self, frame: Frame[T], channel: Channel[Frame[T]], n_frames: int = 1) -> bool:
        """Whether ``frame``, taken out of ``channel``, is of the present generation; if not, counts it."""
        if self.generation.is_stale(frame.generation):
            channel.drop("stale", n_frames)
            return False
        return True

    def leaving(self, stage: str, *came_s: float) -> float:
        """The time now, having noted how long each frame took that left the stage before at ``came_s``."""
        now_s = self.clock()
        for s in came_s:
            self.statistics.stage(stage).add(now_s - s)
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


async def model(
    kind: Kind,
    frames: Channel[Frame[A]],
    out: Channel[Frame[B]],
    line: Line,
    session: Session,
    tap: Tap[B] | None = None,
) -> None:
    """Frames through one of the engine's kinds: pcm -> mel -> codes, or mel -> pcm."""
    frame_s = session.descriptor.frame_ms / 1000
    generation = None
    async with out:
        async for frame in frames:
            if not line.wanted(frame, frames):
                continue
            answer = await session.step(kind, frame.data, frame.born_s + frame_s, fresh=frame.generation != generation)
            generation = frame.generation
            if kind == "encode":
                line.statistics.codes.add(answer)
            done = frame.carrying(answer, left_s=line.leaving(kind, frame.left_s))
            if tap:
                tap(done)
            await out.send(done)


async def pack(frames: Channel[Frame[Codes]], out: Channel[Wire], line: Line, packer: Packer) -> None:
    """`write` into a channel."""
    async with out:
        await write(frames, out.send, line, packer)


async def write(
    frames: Channel[Frame[Codes]], sink: Callable[[Wire], Awaitable[None]], line: Line, packer: Packer
) -> None:
    """Frames of codes -> packets to a file or a wire. The last one ends the talk, as does the first after a cancel.

    A frame gets its number at the moment it is handed over, so that a cancel leaves no gap in the numbers, which
    a receiver would fill with what was cancelled.
    """
    gathered: list[Frame[Codes]] = []
    last: Frame[Codes] | None = None  # of the talk that has not ended
    n_packets = 0

    async def send(packed: bytes, generation: int, born_s: float) -> None:
        nonlocal n_packets
        now_s = line.leaving("pack", *(frame.left_s for frame in gathered))
        gathered.clear()
        line.statistics.sent(len(packed), *shape(packed))
        n_packets += 1
        await sink(Frame(packed, n_packets - 1, generation, born_s, now_s))

    async def end(last: Frame[Codes]) -> None:
        if line.generation.is_stale(last.generation):
            frames.drop("stale", packer.restart())
            gathered.clear()
        await send(packer.finish(), line.generation.current, last.born_s)

    async for frame in frames:
        if last is not None and line.generation.is_stale(last.generation):
            await end(last)
            last = None
        if not line.wanted(frame, frames):
            continue
        last = frame
        gathered.append(frame)
        for packed in packer.push(frame.data):
            await send(packed, frame.generation, frame.born_s)
    if last is not None:
        await end(last)


async def drop(packets: Channel[Wire], out: Channel[Wire], line: Line, loss: GilbertLoss) -> None:
    """A bad wire: some packets are replaced by the word that they are missing."""
    async with out:
        async for packet in packets:
            if isinstance(packet.data, bytes) and loss.lost():
                n_frames, _ = shape(packet.data)
                line.statistics.counters["packets_lost"] += 1
                packets.drop("lost", n_frames)
                packet = packet.carrying(Missing(n_frames))
            await out.send(packet)


async def listen(source: AsyncIterable[bytes], out: Channel[Wire], line: Line) -> None:
    """Packets from a file or a wire -> frames that carry them."""
    seq = 0
    async with out:
        async for packed in source:
            now_s = line.clock()
            await out.send(Frame(packed, seq, line.generation.current, now_s, now_s))
            seq += 1


async def receive(
    packets: Channel[Wire],
    out: Channel[Frame[Codes]],
    line: Line,
    descriptor: Descriptor,
    patience_frames: int,
    tap: Tap[Codes] | None = None,
) -> None:
    """Packets -> frames of codes without a gap.

    Raises PacketError: a packet that is none, or is of another preset.
    """
    frame_s = descriptor.frame_ms / 1000
    conceal = Conceal(descriptor.books, descriptor.frame_ms, patience_frames, line.statistics.conceal)
    held: deque[float] = deque()  # when the word came of each frame that is held back
    last: Wire | None = None
    seq = 0

    async def send(settled: list[ReceivedFrame], packet: Wire) -> None:
        nonlocal seq
        before = len(settled) - (_n_frames(packet.data) if isinstance(packet.data, bytes) else 0)
        came_s = [held.popleft() if held and i < before else packet.left_s for i in range(len(settled))]
        while len(held) > conceal.pending:
            held.popleft()
        now_s = line.leaving("receive", *came_s)
        newest = conceal.pending + len(settled) - 1  # a packet is as old as its newest frame
        for i, frame in enumerate(settled):
            heard: Frame[Codes] = Frame(
                frame.codes[None],
                seq,
                packet.generation,
                packet.born_s - (newest - i) * frame_s,
                now_s,
                concealed=frame.concealed,
                books=frame.books,
                attenuation_db=frame.attenuation_db,
            )
            seq += 1
            if tap:
                tap(heard)
            await out.send(heard)

    def restart() -> None:
        packets.drop("stale", conceal.restart())
        held.clear()

    async with out:
        async for packet in packets:
            if not line.wanted(packet, packets, _n_frames(packet.data)):
                continue
            if last is not None and packet.generation != last.generation:
                restart()
            last = packet
            if isinstance(packet.data, Missing):
                held.extend([packet.left_s] * packet.data.n_frames)
                settled = conceal.missing(packet.data)
            else:
                settled = conceal.receive(_unpacked(packet.data, descriptor))
            await send(settled, packet)
        if last is not None and line.generation.is_stale(last.generation):
            restart()
        elif last is not None:
            await send(conceal.finish(), last.carrying(Missing(0)))


def _n_frames(data: bytes | Missing) -> int:
    return data.n_frames if isinstance(data, Missing) else shape(data)[0]


def _unpacked(packed: bytes, descriptor: Descriptor) -> CodePacket:
    """Raises PacketError."""
    packet = unpack(packed, descriptor.bits_per_code)
    if packet.preset_id != preset_id(descriptor.preset) or packet.codes.shape[1] > descriptor.books:
        raise PacketError(
            f"a packet of preset number {packet.preset_id} with {packet.codes.shape[1]} books "
            f"in a stream of {descriptor.preset} with at most {descriptor.books}"
        )
    return packet


async def decode(
    frames: Channel[Frame[Codes]],
    out: Channel[Frame[Mel]],
    line: Line,
    session: Session,
    tap: Tap[Mel] | None = None,
) -> None:
    """Frames of codes -> mel, faded where a frame was made up."""
    frame_s = session.descriptor.frame_ms / 1000
    generation = None
    faded_db = 0.0
    async with out:
        async for frame in frames:
            if not line.wanted(frame, frames):
                continue
            fresh = frame.generation != generation
            generation = frame.generation
            mel = await session.step("decode", frame.data, frame.born_s + frame_s, fresh=fresh)
            if frame.attenuation_db > 0:
                mel = fade(mel, 0.0 if fresh else faded_db, frame.attenuation_db)
            faded_db = frame.attenuation_db
            done = frame.carrying(mel, left_s=line.leaving("decode", frame.left_s))
            if tap:
                tap(done)
            await out.send(done)


def fade(mel: Mel, from_db: float, to_db: float) -> Mel:
    """``mel`` [t, n_mels], lowered along time until ``to_db`` below itself, never below the floor.

    A slope instead of a step: sound that breaks off would be heard as a click. There is no slope back up: what was
    received is not touched.
    """
    db = np.linspace(from_db, to_db, len(mel) + 1)[1:, None]
    lowered: Mel = np.maximum(mel - db * (math.log(10) / 20), MEL_FLOOR).astype(np.float32)
    return lowered


async def play(
    frames: Channel[Frame[Pcm]],
    sink: Callable[[Frame[Pcm]], Awaitable[None]],
    line: Line,
    trim: Trim | None,
    n_samples: Callable[[], int | None],
) -> int:
    """Frames of pcm -> the sink; with ``trim``, exactly in line with the original. Returns the samples given.

    ``n_samples`` is asked when the input has ended; None where the original's length is not known.
    """
    given = 0

    async def give(frame: Frame[Pcm]) -> None:
        nonlocal given
        line.statistics.level_out.add(frame.data)
        if len(frame.data):
            given += len(frame.data)
            await sink(frame)

    last: Frame[Pcm] | None = None
    async for frame in frames:
        if not line.wanted(frame, frames):
            continue
        last = frame
        await give(frame.carrying(trim.push(frame.data)) if trim else frame)
        line.statistics.age.add(line.leaving("play", frame.left_s) - frame.born_s)
    if trim and last is not None:
        await give(last.carrying(trim.finish(n_samples())))
    return given
