"""A whole conversation of the other kind: text in, sound or packets out.

read -> talk -> decode and vocode -> sink, each in a task of its own, joined by channels of a frame or a few: a sink that is
slow, as one is that plays, holds back everything up to who writes the text.
"""

from __future__ import annotations

import asyncio
import math
from asyncio import TaskGroup
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from . import stages
from .channel import Channel
from .clock import Clock, monotonic
from .first_audio import FirstAudio
from .frames import Codes, Frame, Pcm
from .generation import Generation
from .lead import Lead
from .loop import Session
from .packer import Dial, Packer
from .pipeline import WAITING_FRAMES, PacketSink, Sink, Taps, first_error
from .ramp import MOST, Ramp
from .session_events import TextArrived
from .stages import Line, Wire
from .statistics import Statistics
from .talk import MOST_CHARS, Passage, TalkEvent, TextEnd, Words, read, talk
from .talk_work import Manner

LEAD_MS = 300.0


@dataclass(frozen=True, slots=True)
class Speech:
    """What is asked of a speaker."""

    manner: Manner = field(default_factory=Manner)
    lead_ms: float | None = LEAD_MS
    "How far ahead of its playing sound is made; None: as fast as it is taken."
    dial: Dial | None = None
    "How many codebooks are decoded; None: all."
    most_chars: int | None = MOST_CHARS
    "In a text; None: any number."


@dataclass(frozen=True, slots=True)
class Context:
    """What a speaker works with."""

    session: Session
    "A row of a loop whose engine is a `talk_engine.TalkEngine`; nothing else uses it meanwhile."
    reader: Words
    statistics: Statistics
    generation: Generation = field(default_factory=Generation)
    "To cancel everything under way."
    clock: Clock = monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    first_audio: FirstAudio = field(default_factory=FirstAudio)
    "Its moments but ``given`` and ``received`` are marked here."
    taps: Taps = field(default_factory=Taps)


Tell = Callable[[TalkEvent], None]


async def speak(
    texts: AsyncIterable[TextArrived], sink: Sink, speech: Speech, context: Context, tell: Tell = lambda event: None
) -> int:
    """Text to sound, which goes to ``sink``. Returns how many samples.

    Raises:
        UsageError: a text is too long.
        SottovoceError: whatever ended a stage; also anything that ``texts`` or ``sink`` raise.
    """
    session, line = context.session, _line(context)

    async def hand_over(frame: Frame[Pcm]) -> None:
        context.first_audio.mark("ready", context.clock())
        context.first_audio.heard(frame.data, session.descriptor.rate_hz)
        await sink(frame)

    async with first_error(), TaskGroup() as tasks:
        codes = _talk(tasks, texts, speech, context, line, tell, in_chunks=True)
        hearing = stages.hear(codes, hand_over, line, session, context.taps.mel_out)
        heard = tasks.create_task(hearing, name="hear")
    return heard.result()


async def write(
    texts: AsyncIterable[TextArrived], sink: PacketSink, packer: Packer, speech: Speech, context: Context,
    tell: Tell = lambda event: None,
) -> None:  # fmt: skip
    """Text to code packets. Raises as `speak`."""

    line = _line(context)
    writing = stages.Write(line, packer)

    async def send(packets: Iterable[Wire]) -> None:
        for packet in packets:
            assert isinstance(packet.data, bytes)
            context.first_audio.mark("ready", context.clock())
            await sink(packet.data)

    async with first_error(), TaskGroup() as tasks:
        async for frame in _talk(tasks, texts, speech, context, line, tell):
            await send(writing.push(frame))
        await send(writing.finish())


def _line(context: Context) -> Line:
    return Line(context.generation, context.clock, context.statistics)


def _channel(context: Context, name: str, capacity: int = WAITING_FRAMES) -> Channel[Any]:
    channel: Channel[Any] = Channel(capacity, "wait", name)
    context.statistics.watch(channel)
    return channel


def _talk(
    tasks: TaskGroup, texts: AsyncIterable[TextArrived], speech: Speech, context: Context, line: Line, tell: Tell,
    in_chunks: bool = False,
) -> Channel[Frame[Codes]]:  # fmt: skip
    """The first two stages, and the channel that they fill."""
    session, first = context.session, context.first_audio
    lead = Lead(session.descriptor.frame_ms / 1000, math.inf if speech.lead_ms is None else speech.lead_ms / 1000)
    ramp = Ramp(lead, session.chunks) if in_chunks else None
    passages: Channel[Frame[Passage | TextEnd]] = _channel(context, "read")
    codes: Channel[Frame[Codes]] = _channel(context, "talked", MOST if in_chunks else WAITING_FRAMES)

    def told(event: TalkEvent) -> None:
        first.mark("written", context.clock())
        tell(event)

    def begun() -> None:
        first.mark("begun", context.clock())

    tasks.create_task(
        read(texts, passages, line, session, context.reader, speech.manner, speech.most_chars, begun), name="read"
    )
    talking = talk(passages, codes, line, session, lead, speech.dial, told, context.sleep, context.taps.codes, ramp)
    tasks.create_task(talking, name="talk")
    return codes
