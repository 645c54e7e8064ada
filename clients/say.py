"""``sottovoce say``: a text, or what a language model writes, is spoken while it comes, to the speaker or into a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sottovoce.stream.channel import Channel
from sottovoce.stream.clock import monotonic
from sottovoce.stream.errors import UsageError
from sottovoce.stream.first_audio import FirstAudio
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.packer import Dial
from sottovoce.stream.reader import Reader
from sottovoce.stream.session_events import TextArrived
from sottovoce.stream.speech import LEAD_MS, Context, Speech, speak
from sottovoce.stream.statistics import Statistics
from sottovoce.stream.talk import PassageBegan, TalkEvent, Words
from sottovoce.stream.talk_engine import TalkEngine, add_talker, read_voices, talker_path
from sottovoce.stream.talk_work import Manner, Voice, voice_number

from .audio_out import check_output
from .engines import ECHO, EngineOptions, check_books, make_engine
from .interrupts import run
from .pipes import PIPE, check_apart, say, tell
from .quiet import quiet_libraries
from .say_ends import SayEnds
from .text_in import text_source

if TYPE_CHECKING:
    from sottovoce.stream.numerals import Accent

_WAITING_PIECES = 4096
"""Text that may wait: a model writes faster than anybody speaks, and a server does not wait for ever."""


@dataclass(frozen=True, slots=True)
class SayOptions:
    """What a person asks to be said, and how."""

    engine: EngineOptions
    text: str | None
    "``-`` or None: standard input."
    manner: Manner = field(default_factory=Manner)
    "But for the voice."
    voice: str | None = None
    "None: the first there is."
    output: str | None = None
    play: bool = False
    "Also where there is an output."
    output_device: str | None = None
    words: bool = False
    "Print when each word is spoken."
    lexicon: Path | None = None
    books: int | None = None
    chat: str | None = None
    "Where a language model is; it answers the text."
    model: str = "default"
    system: str | None = None


def print_voices(options: EngineOptions) -> None:
    """The voices of the talker. Raises WeightsError: there is none."""
    _check_speaks(options)
    for voice in read_voices(options.preset, options.weights):
        say(f"{voice.name:<16} {voice.sex:<7} {voice.language:<6} {voice.licence}")


class ClosableWords(Words, Protocol):
    """A `reader.Reader`."""

    def close(self) -> None:
        """Called once, in the end."""
        ...


def say_text(options: SayOptions, make_reader: Callable[[Path | None, Accent], ClosableWords] = Reader) -> None:
    """Say it, then print how long the first sound took and what all of it cost.

    Raises:
        UsageError: there is nothing to say, or the options cannot be carried out.
        ThinkerError: the language model failed; what it wrote until then was heard.
        SottovoceError: a file, a device or the weights are at fault. No output file is left.
    """
    _check_speaks(options.engine)
    source = text_source(options.text, options.chat, options.model, options.system)
    heard = options.play or options.output is None
    check_apart(PIPE if options.text in (None, PIPE) else None, options.output)
    if options.output is not None:
        check_output(options.output)
    talker_path(options.engine.preset, options.engine.weights)  # before anything that takes a while
    with quiet_libraries() if heard else nullcontext():
        if heard:
            _check_speaker(options.output_device)
        engine = add_talker(make_engine(options.engine), options.engine.weights)
        check_books(options.books, engine.descriptor)
        number = voice_number(engine.voices, options.voice)
        voice = engine.voices[number]
        dial = Dial(engine.descriptor.books, options.books)
        # As fast as it is taken: a speaker takes it at its own pace.
        speech = Speech(replace(options.manner, voice=number), lead_ms=None, dial=dial, most_chars=None)
        # Where the text comes at its writer's pace, or the sound goes at its listener's, the whole says nothing of us.
        at_our_pace = not heard and options.output != PIPE and options.chat is None and options.text not in (None, PIPE)
        with (
            closing(make_reader(options.lexicon, "gb" if voice.language == "en-GB" else "us")) as reader,
            _ends(options, engine, heard) as ends,
        ):
            lines = run(_speak(engine, reader, source, speech, ends, _printer(options), voice, at_our_pace))
    for line in lines:
        (tell if options.output == PIPE or options.words or options.chat else say)(line)


def _check_speaks(options: EngineOptions) -> None:
    """Raises UsageError."""
    if options.preset == ECHO:
        raise UsageError("the echo engine cannot speak; leave out --backend echo")


def _check_speaker(name: str | None) -> None:
    """Raises DeviceError: there is none, or the name is not clear. At once, before a model is loaded."""
    from .devices import choose, list_devices

    choose(list_devices(), name, "output")


def _ends(options: SayOptions, engine: TalkEngine, heard: bool) -> SayEnds:
    card = None
    rate_hz = engine.descriptor.rate_hz
    if heard:
        from .soundcard import SoundCard

        card = SoundCard(rate_hz, microphone=False, output_device=options.output_device, burst_s=LEAD_MS / 1000)
    return SayEnds(options.output, card, rate_hz, LEAD_MS)


def _printer(options: SayOptions) -> Callable[[TalkEvent], None]:
    """Prints words, or an answer, as they are spoken."""
    show = tell if options.output == PIPE else say

    def shown(event: TalkEvent) -> None:
        if isinstance(event, PassageBegan):
            if options.words:
                for word in event.words:
                    show(f"{word.start_ms / 1000:9.3f} {word.end_ms / 1000:9.3f}  {word.text}")
            elif options.chat is not None and event.text.strip():
                show(event.text.strip())

    return shown


async def _speak(
    engine: TalkEngine,
    reader: Words,
    source: AsyncIterator[TextArrived],
    speech: Speech,
    ends: SayEnds,
    shown: Callable[[TalkEvent], None],
    voice: Voice,
    in_all: bool,
) -> list[str]:
    """All of it, to the last sample heard; returns the lines to print. ``in_all``: how long it took means something."""
    async with EngineLoop(engine) as loop:
        with loop.open() as row:
            context = Context(row, reader, Statistics(engine.descriptor))
            texts: Channel[TextArrived] = Channel(_WAITING_PIECES, "wait", "text")
            ends.start()
            began_s = monotonic()
            feeding = asyncio.create_task(_feed(source, texts, context.first_audio), name="text")
            try:
                n_samples = await speak(texts, ends.sink, speech, context, shown)
                wall_s = monotonic() - began_s
                await ends.drain()
                await feeding  # what was wrong with the text is told when what there was of it was heard
            finally:
                feeding.cancel()
                await asyncio.wait([feeding])  # lets go of the line to a model
                if not feeding.cancelled():
                    feeding.exception()  # of two failures the first one is told
            if not n_samples:
                raise UsageError("there is nothing in this text that can be said")
            engine_s = sum(latency.total_s for latency in loop.step_latency.values())
    sound_s = n_samples / engine.descriptor.rate_hz
    return [
        _line("voice", f"{voice.name}, codec {engine.descriptor.preset} {engine.descriptor.model_hash}"),
        _line("sound", f"{sound_s:.2f} s"),
        _line("first audio", _first_audio(context.first_audio)),
        _line(
            "real-time factor",
            f"{engine_s / sound_s:.3f} in the models" + (f", {wall_s / sound_s:.3f} in all" if in_all else ""),
        ),
    ]


async def _feed(source: AsyncIterator[TextArrived], texts: Channel[TextArrived], first: FirstAudio) -> None:
    async with texts:
        async for piece in source:
            first.mark("given", monotonic())
            await texts.send(piece)


def _first_audio(first: FirstAudio) -> str:
    """The parts of the wait, from the first piece of text until the first sound was ready, with everything loaded."""
    parts = first.parts_ms()
    text, talker, rest = (parts.get(name, 0.0) for name in ("queue", "talker", "decode"))
    told = f"{text + talker + rest:.0f} ms (text {text:.0f}, talker {talker:.0f}, decode and vocode {rest:.0f})"
    silence = parts.get("leading_silence")
    return told + ("" if silence is None else f", then {silence:.0f} ms of silence")


def _line(name: str, text: str) -> str:
    return f"{name:<17} {text}"
