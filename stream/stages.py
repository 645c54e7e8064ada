"""The stages in the order that a frame passes them: coroutines that read one channel and write the next.

A stage ends when its input ends, closes what it sends to, and raises into the task group of its conversation.
Whatever is older than the session's generation it drops, before and after its work. A frame of a new
generation starts the models from their initial state: not even a filter's tail of cancelled sound is heard.
"""

from __future__ import annotations

import math
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
from .packet import preset_id, unpack
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

    def wanted(self, frame: Frame[T], channel: Channel[Frame[T]]) -> bool:
        """Whether ``frame``, taken out of ``channel``, is of the present generation; if not, counts it."""
        if self.generation.is_stale(frame.generation):
            channel.drop("stale")
            return False
        return True

    def leaving(self, stage: str, frame: Frame[T]) -> float:
        """The time now, having noted how long ``frame`` took from the stage before to the end of this one."""
        now_s = self.clock()
        self.statistics.stage(stage).add(now_s - frame.left_s)
        return now_s


async def capture(
    source: AsyncIterable[Pcm], out: Channel[Frame[Pcm]], line: Line, descriptor: Descriptor, flush: bool
) -> int:
    """Blocks of any size -> frames of pcm. Returns how many samples ``source`` gave.

    With ``flush``, zeros follow the sound until all of it has passed the codec's delay and filled its frame.
    """
    reblock = Reblock(descriptor.frame_samples)
    n_samples = seq = 0
    began = line.generation.current  # when the first sample of the unfinished frame came

    async def send(block: Pcm) -> None:
        nonlocal seq, began
        if not reblock.pending:
            began = line.generation.current
        for pcm in reblock.push(block):
            now_s = line.clock()
            line.statistics.level_in.add(pcm)
            await out.send(Frame(pcm, seq, began, now_s, now_s))
            seq += 1
            began = line.generation.current

    async with out:
        async for block in source:
            n_samples += len(block)
            await send(block)
        if flush and n_samples:
            wanted = -(-(n_samples + descriptor.delay_samples) // descriptor.frame_samples)
            while seq < wanted:
                await send(np.zeros(descriptor.frame_samples - reblock.pending, np.float32))
    return n_samples


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
            done = frame.carrying(answer, left_s=line.leaving(kind, frame))
            if not line.wanted(frame, frames):  # cancelled while the engine worked
                continue
            if tap:
                tap(done)
            await out.send(done)


async def pack(frames: Channel[Frame[Codes]], out: Channel[Wire], line: Line, packer: Packer) -> None:
    """Frames of codes -> packets, the last of which ends the talk."""
    counters = line.statistics.counters
    last: Frame[Codes] | None = None

    async def send(packed: bytes, frame: Frame[Codes]) -> None:
        counters["packets"] += 1
        counters["packet_bytes"] += len(packed)
        now_s = line.leaving("pack", frame)
        await out.send(Frame(packed, counters["packets"] - 1, frame.generation, frame.born_s, now_s))

    async with out:
        async for frame in frames:
            if not line.wanted(frame, frames):
                continue
            if last is not None and frame.generation != last.generation:
                packer.restart()
            last = frame
            counters["frames_sent"] += len(frame.data)
            for packed in packer.push(frame.data):
                await send(packed, frame)
        if last is not None and line.wanted(last, frames):
            await send(packer.finish(), last)


async def drop(packets: Channel[Wire], out: Channel[Wire], line: Line, loss: GilbertLoss, bits: int) -> None:
    """A bad wire: some packets are replaced by the word that they are missing."""
    async with out:
        async for frame in packets:
            if isinstance(frame.data, bytes) and loss.lost():
                line.statistics.counters["packets_lost"] += 1
                packets.drop("lost")
                frame = frame.carrying(Missing(len(unpack(frame.data, bits).codes)))
            await out.send(frame)


async def write(packets: Channel[Wire], sink: Callable[[bytes], Awaitable[None]], line: Line) -> None:
    """Packets -> a file or a wire."""
    async for frame in packets:
        if isinstance(frame.data, bytes) and line.wanted(frame, packets):
            await sink(frame.data)


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
    preset = preset_id(descriptor.preset)
    conceal: Conceal | None = None
    last: Wire | None = None
    seq = 0

    async def send(settled: list[ReceivedFrame], packet: Wire) -> None:
        nonlocal seq
        now_s = line.leaving("receive", packet)
        for i, frame in enumerate(settled):
            heard: Frame[Codes] = Frame(
                frame.codes[None],
                seq,
                packet.generation,
                packet.born_s - (len(settled) - 1 - i) * frame_s,  # a packet is as old as its newest frame
                now_s,
                concealed=frame.concealed,
                books=frame.books,
                attenuation_db=frame.attenuation_db,
            )
            seq += 1
            if tap:
                tap(heard)
            await out.send(heard)

    async with out:
        async for packet in packets:
            if not line.wanted(packet, packets):
                continue
            if conceal is None or last is None or packet.generation != last.generation:
                conceal = Conceal(descriptor.books, descriptor.frame_ms, patience_frames, line.statistics.conceal)
            last = packet
            if isinstance(packet.data, Missing):
                settled = conceal.missing(packet.data)
            else:
                found = unpack(packet.data, descriptor.bits_per_code)
                if found.preset_id != preset or found.codes.shape[1] > descriptor.books:
                    raise PacketError(
                        f"a packet of preset number {found.preset_id} with {found.codes.shape[1]} books "
                        f"in a stream of {descriptor.preset} with at most {descriptor.books}"
                    )
                settled = conceal.receive(found)
            await send(settled, packet)
        if conceal is not None and last is not None and line.wanted(last, packets):
            await send(conceal.finish(), last)


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
            done = frame.carrying(mel, left_s=line.leaving("decode", frame))
            if not line.wanted(frame, frames):
                continue
            if tap:
                tap(done)
            await out.send(done)


def fade(mel: Mel, from_db: float, to_db: float) -> Mel:
    """``mel`` [t, n_mels], lowered along time until ``to_db`` below itself, never below the floor.

    A slope instead of a step: a jump in loudness would be heard as a click.
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
        line.statistics.age.add(line.leaving("play", frame) - frame.born_s)
    if trim and last is not None:
        await give(last.carrying(trim.finish(n_samples())))
    return given
