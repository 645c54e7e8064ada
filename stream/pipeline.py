"""Whole conversations: stages joined by bounded channels in one task group.

`loopback` is the chain from a microphone to a speaker on one machine; `encode` and `decode` are its halves,
made of the same stages, so that a file that is encoded and decoded gives the same samples as a loopback. A channel stands
where one side may have to wait for the other: behind the source, and before the second visit of the engine.
"""

from __future__ import annotations

from asyncio import Task, TaskGroup
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from . import stages
from .align import Trim
from .channel import Channel, Policy
from .clock import Clock, monotonic
from .errors import ChannelClosed
from .frames import Codes, Frame, Mel, Pcm
from .generation import Generation
from .loop import Session
from .loss import GilbertLoss
from .packer import Dial, Packer
from .ramp import MOST
from .stages import Line, Tap, Wire
from .statistics import Statistics

Source = AsyncIterable[Pcm]
"""Blocks of mono float32 sound of any size, at the descriptor's rate."""
Sink = Callable[[Frame[Pcm]], Awaitable[None]]
"""Takes sound; a slow one slows the whole chain down."""
PacketSource = AsyncIterable[bytes]
PacketSink = Callable[[bytes], Awaitable[None]]

WAITING_FRAMES = 1
"""Room between two visits of the engine: with one frame in each hand it stays busy; more would only add delay."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a conversation is carried."""

    books: int | None = None
    "Codebooks to send; None: all. A `Dial` changes it on the way."
    frames_per_packet: int = 1
    redundancy: int = 0
    "How many packets back every packet repeats the coarsest book."
    loss: float = 0.0
    "Share of packets that the wire loses in a loopback."
    burst: float | None = None
    "Mean length of a run of lost packets."
    seed: int = 0
    "Of the losses."
    live: bool = False
    "The source does not wait: captured frames beyond ``capture_frames`` push out the oldest; silence if ``aligned``."
    aligned: bool = True
    "Cut the codec's delay off, so that the sink gets exactly the samples of the source: for files, not for cancelling."
    capture_frames: int = 5
    repeatable: bool = False
    "Codes wait until as many are there as are made sound at once: for files, whose samples are the same every time."


@dataclass(frozen=True, slots=True)
class Taps:
    """Who looks at passing frames (a display, a picture). Called on the event loop; must be quick."""

    mel_in: Tap[Mel] | None = None
    codes: Tap[Codes] | None = None
    "As received: -1 where absent."
    mel_out: Tap[Mel] | None = None


class _Conversation:
    """The parts that the three conversations share, and the channels between their stages."""

    def __init__(
        self,
        session: Session,
        settings: Settings,
        statistics: Statistics,
        dial: Dial | None,
        taps: Taps | None,
        generation: Generation | None,
        clock: Clock,
    ) -> None:
        if settings.aligned and generation is not None:
            raise ValueError("what may be cancelled cannot be aligned with its source")
        self.session = session
        self.descriptor = session.descriptor
        self.settings = settings
        self.statistics = statistics
        self.taps = taps or Taps()
        self.line = Line(generation or Generation(), clock, statistics)
        self.dial = dial or Dial(self.descriptor.books, settings.books)

    def channel(self, name: str, capacity: int = WAITING_FRAMES, policy: Policy = "wait") -> Channel[Any]:
        """A channel that the statistics show."""
        channel: Channel[Any] = Channel(capacity, policy, name)
        self.statistics.watch(channel)
        return channel

    def received(self) -> Channel[Frame[Codes]]:
        """Between the wire and the second visit of the engine; what is not live waits there to go several frames at a time."""
        return self.channel("received", MOST if self.settings.aligned and not self.settings.live else WAITING_FRAMES)

    def capture(self, tasks: TaskGroup, source: Source) -> tuple[Task[int], Channel[Frame[Pcm]]]:
        """Sound in frames; the task's result is how many samples came in."""
        # Only what a live source gives is ever lost: the models behind it must not miss a frame.
        policy: Policy = "drop_oldest" if self.settings.live else "wait"
        pcm: Channel[Frame[Pcm]] = self.channel("captured", self.settings.capture_frames, policy)
        capturing = stages.capture(source, pcm, self.line, self.descriptor, flush=self.settings.aligned)
        captured = tasks.create_task(capturing, name="capture")
        if self.settings.live and self.settings.aligned:
            whole: Channel[Frame[Pcm]] = self.channel("filled")
            tasks.create_task(stages.fill(pcm, whole, self.descriptor), name="fill")
            pcm = whole
        return captured, pcm

    def write(self) -> stages.Write:
        """Raises ValueError: settings out of range."""
        packer = Packer(self.descriptor, self.dial, self.settings.frames_per_packet, self.settings.redundancy)
        return stages.Write(self.line, packer)

    def receive(self) -> stages.Receive:
        """The other end of the wire."""
        patience_frames = self.settings.redundancy * self.settings.frames_per_packet
        return stages.Receive(self.line, self.descriptor, patience_frames, self.taps.codes)

    def hear(
        self, tasks: TaskGroup, codes: Channel[Frame[Codes]], sink: Sink, n_samples: Callable[[], int | None]
    ) -> Task[int]:
        """Codes -> sound; the task's result is how many samples went out."""
        descriptor = self.descriptor
        trim = Trim(descriptor.delay_samples, descriptor.frame_samples) if self.settings.aligned else None
        again = self.settings.repeatable
        hearing = stages.hear(codes, sink, self.line, self.session, self.taps.mel_out, trim, n_samples, again)
        return tasks.create_task(hearing, name="hear")


async def loopback(
    source: Source,
    sink: Sink,
    session: Session,
    settings: Settings,
    statistics: Statistics,
    *,
    dial: Dial | None = None,
    loss: GilbertLoss | None = None,
    taps: Taps | None = None,
    generation: Generation | None = None,
    clock: Clock = monotonic,
) -> int:
    """Sound -> mel -> codes -> packets -> codes -> mel -> sound. Returns how many samples ``source`` gave in all.

    Cancelling it ends every stage; the session stays open and is the caller's to close.

    Args:
        source: what is said. An empty one gives nothing.
        sink: where it is heard.
        session: a row of the engine that nothing else uses meanwhile.
        settings: how it is carried.
        statistics: filled on the way.
        dial: to turn the bitrate on the way; by default fixed at ``settings.books``.
        loss: to turn the losses on the way; by default fixed at those of ``settings``.
        taps: who looks on.
        generation: to cancel everything under way; by default nothing is cancelled.
        clock: what delays are measured with.

    Raises:
        ValueError: settings out of range, or ``aligned`` with a ``generation``.
        SottovoceError: whatever ended a stage; also anything that ``source`` or ``sink`` raise.
    """
    talk = _Conversation(session, settings, statistics, dial, taps, generation, clock)
    line, write, receive = talk.line, talk.write(), talk.receive()
    loss = loss or GilbertLoss(settings.loss, settings.burst, settings.seed)
    received = talk.received()

    async def cross(packets: Iterable[Wire]) -> None:
        for packet in packets:
            for frame in receive.push(stages.lose(packet, line, loss)):
                await received.send(frame)

    async def speak(pcm: Channel[Frame[Pcm]]) -> None:
        async with received:
            await stages.speak(pcm, lambda frame: cross(write.push(frame)), line, session, talk.taps.mel_in)
            await cross(write.finish())
            for frame in receive.finish():
                await received.send(frame)

    async with first_error(), TaskGroup() as tasks:
        captured, pcm = talk.capture(tasks, source)
        tasks.create_task(speak(pcm), name="speak")
        # The source has ended before its last frame can have reached the end of the chain.
        talk.hear(tasks, received, sink, lambda: captured.result())
    return captured.result()


async def encode(
    source: Source,
    sink: PacketSink,
    session: Session,
    settings: Settings,
    statistics: Statistics,
    *,
    dial: Dial | None = None,
    taps: Taps | None = None,
    generation: Generation | None = None,
    clock: Clock = monotonic,
) -> int:
    """The first half of `loopback`: sound -> packets. Returns how many samples ``source`` gave.

    If ``aligned``, the packets also hold what it takes to decode all of them through the codec's delay.
    """
    talk = _Conversation(session, settings, statistics, dial, taps, generation, clock)
    write = talk.write()

    async def send(packets: Iterable[Wire]) -> None:
        for packet in packets:
            assert isinstance(packet.data, bytes)
            await sink(packet.data)

    async def speak(pcm: Channel[Frame[Pcm]]) -> None:
        await stages.speak(pcm, lambda frame: send(write.push(frame)), talk.line, session, talk.taps.mel_in)
        await send(write.finish())

    async with first_error(), TaskGroup() as tasks:
        captured, pcm = talk.capture(tasks, source)
        tasks.create_task(speak(pcm), name="speak")
    return captured.result()


async def decode(
    source: PacketSource,
    sink: Sink,
    session: Session,
    settings: Settings,
    statistics: Statistics,
    n_samples: Callable[[], int | None] = lambda: None,
    *,
    taps: Taps | None = None,
    generation: Generation | None = None,
    clock: Clock = monotonic,
) -> int:
    """The second half of `loopback`: packets -> sound. Returns how many samples went to ``sink``.

    ``n_samples`` is asked at the end for the length of the original, as only the end of a code file tells.
    """
    talk = _Conversation(session, settings, statistics, None, taps, generation, clock)
    line, receive = talk.line, talk.receive()
    received = talk.received()

    async def listen() -> None:
        async with received:
            seq = 0
            async for packed in source:
                now_s = line.clock()
                for frame in receive.push(Frame(packed, seq, line.generation.current, now_s, now_s)):
                    await received.send(frame)
                seq += 1
            for frame in receive.finish():
                await received.send(frame)

    async with first_error(), TaskGroup() as tasks:
        tasks.create_task(listen(), name="listen")
        played = talk.hear(tasks, received, sink, n_samples)
    return played.result()


@asynccontextmanager
async def first_error() -> AsyncIterator[None]:
    """Raises the one error that ended a task group, not the group: its users catch errors by type."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
    else:
        return
    # A channel that closed is the echo of some other stage's failure.
    raise next((error for error in errors if not isinstance(error, ChannelClosed)), errors[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error
