"""``sottovoce loopback``: a voice goes through the codec and comes back, between files and devices of any kind."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from sottovoce.stream import pipeline
from sottovoce.stream.engine import Engine
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.packer import Dial
from sottovoce.stream.pipeline import Settings, Sink
from sottovoce.stream.statistics import Statistics

from .ends import EndOptions, Ends, check_ends
from .engines import EngineOptions, check_books, make_engine
from .interrupts import run
from .live import Live
from .picture import Picture
from .pipes import PIPE, check_apart, is_file, say, tell
from .quality import Excerpt, compare
from .quiet import quiet_libraries
from .report import Run, summary
from .sound_files import remark


@dataclass(frozen=True, slots=True)
class LoopbackOptions:
    """What a person asks of a loopback."""

    engine: EngineOptions
    ends: EndOptions
    settings: Settings
    picture: Path | None = None
    "Where to draw mel in, codes and mel out."
    report: bool = False
    "Measure the quality as well; needs a file at one end, as only then the sound is aligned."


def loopback(options: LoopbackOptions) -> None:
    """Carry it out, then print what there is to know.

    Raises:
        SottovoceError: a file, a device, the weights or the options are at fault. No output file is left, but for the sound
            where only the picture could not be written in the end.
    """
    check_apart(options.ends.input, options.ends.output, options.picture)
    check_ends(options.ends)
    engine = make_engine(options.engine)
    descriptor = engine.descriptor
    check_books(options.settings.books, descriptor)
    is_live = options.ends.input is None
    # Cutting the delay off holds samples back: not where somebody waits for them.
    aligned = not (is_live and options.ends.output is None)
    settings = replace(options.settings, live=is_live, aligned=aligned, repeatable=is_file(options.ends.input))
    picture = Picture(descriptor, options.picture) if options.picture else None
    devices = is_live or options.ends.output is None
    with (
        picture.saved() if picture else nullcontext(),  # last, when the sound is in its place
        quiet_libraries() if devices else nullcontext(),
        Ends(options.ends, descriptor, settings) as ends,
    ):
        lines = run(_converse(engine, ends, settings, picture, options.report and aligned))
    if ends.sound:
        remark(ends.sound.remarks())
    for line in lines:
        (tell if options.ends.output == PIPE else say)(line)


async def _converse(
    engine: Engine, ends: Ends, settings: Settings, picture: Picture | None, measure: bool
) -> list[str]:
    """Run the pipeline from end to end; returns the lines to print."""
    descriptor = engine.descriptor
    statistics = Statistics(descriptor)
    dial = Dial(descriptor.books, settings.books)
    said, heard = Excerpt(descriptor.rate_hz), Excerpt(descriptor.rate_hz)
    async with EngineLoop(engine) as loop:
        with loop.open() as session:
            ends.start()
            live = Live(ends.card, ends.speaker, statistics, dial) if ends.card else None
            source = ends.source(live.asked_to_quit if live else lambda: False)
            sink = ends.sink()
            if measure:
                source, sink = _noted(source, said), _heard(sink, heard)
            began_s = time.perf_counter()
            async with live.shown() if live else nullcontext():
                n_samples = await pipeline.loopback(
                    source, sink, session, settings, statistics, dial=dial, taps=picture.taps if picture else None
                )
                if ends.speaker:
                    await ends.speaker.drain()
            told = Run(
                statistics,
                settings,
                sound_s=n_samples / descriptor.rate_hz,
                wall_s=time.perf_counter() - began_s,
                engine_s=sum(latency.total_s for latency in loop.step_latency.values()),
                quality=None,
            )
            if measure:
                told = replace(told, quality=await compare(said, heard, session))
    return summary(told) + (live.summary() if live else [])


async def _noted(source: AsyncIterator[Pcm], excerpt: Excerpt) -> AsyncIterator[Pcm]:
    """``source``, the beginning of which is kept."""
    async for block in source:
        excerpt.add(block)
        yield block


def _heard(sink: Sink, excerpt: Excerpt) -> Sink:
    """``sink``, the beginning of what it gets kept."""

    async def keep(frame: Frame[Pcm]) -> None:
        excerpt.add(frame.data)
        await sink(frame)

    return keep
