"""``sottovoce say --server``: the same ends as speech on this machine, the talker on another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass

from sottovoce.stream.clock import monotonic
from sottovoce.stream.errors import ServeError, UsageError
from sottovoce.stream.first_audio import PARTS
from sottovoce.stream.frames import Frame
from sottovoce.stream.messages import ServerMessage
from sottovoce.stream.server_messages import Hello, SegmentStart, Stats, Words
from sottovoce.stream.session_events import TextArrived
from sottovoce.stream.speech import LEAD_MS

from .audio_out import check_output
from .engines import check_books
from .interrupts import run
from .pipes import PIPE, check_apart, say, tell
from .quiet import quiet_libraries
from .say_ends import SayEnds
from .text_in import text_source

_AHEAD_MS = 2000.0
"""How far the server may go ahead of what is taken here."""


@dataclass(frozen=True, slots=True)
class RemoteSay:
    """What a person asks a server to say, and how."""

    server: str
    token: str | None
    text: str | None
    "``-`` or None: standard input."
    voice: str | None = None
    "None: the server's first."
    speed: float = 1.0
    output: str | None = None
    play: bool = False
    output_device: str | None = None
    words: bool = False
    books: int | None = None
    chat: str | None = None
    model: str = "default"
    system: str | None = None


def print_voices(server: str, token: str | None) -> None:
    """The names of the server's voices. Raises ConnectionFailed; UsageError: it cannot speak."""
    for name in _hello(server, token).voices:
        say(name)


def say_remote(options: RemoteSay) -> None:
    """Say it, then print how long the first sound took.

    To the speaker a line that breaks is mended, and the passage that broke off is said again; a file is whole, or not there.

    Raises:
        ConnectionFailed: there is no server, it refuses, or it went away and did not come back.
        UsageError: there is nothing to say, or the options cannot be carried out.
        SottovoceError: a file or a device is at fault, or who writes the text. No output file is left.
    """
    from .soundcard import SoundCard

    source = text_source(options.text, options.chat, options.model, options.system)
    heard = options.play or options.output is None
    check_apart(PIPE if options.text in (None, PIPE) else None, options.output)
    if options.output is not None:
        check_output(options.output)
    hello = _hello(options.server, options.token)
    descriptor = hello.codec.descriptor()
    check_books(options.books, descriptor)
    if options.voice is not None and options.voice not in hello.voices:
        raise UsageError(f"no voice {options.voice!r} at {options.server}; it has {', '.join(hello.voices)}")
    with quiet_libraries() if heard else nullcontext():
        card = None
        if heard:
            rate_hz = descriptor.rate_hz
            card = SoundCard(rate_hz, microphone=False, output_device=options.output_device, burst_s=LEAD_MS / 1000)
        with SayEnds(options.output, card, descriptor.rate_hz, LEAD_MS) as ends:
            lines = run(_narrate(options, hello, source, ends))
    for line in lines:
        (tell if options.output == PIPE or options.words or options.chat else say)(line)


def _hello(server: str, token: str | None) -> Hello:
    try:
        from .client import Client
    except ModuleNotFoundError as error:
        raise ServeError(f"{error.name} must be installed for this: pip install 'sottovoce[serve]'") from error
    hello = run(Client(server, token).hello())
    if "speak" not in hello.modes:
        raise UsageError(f"the server at {server} cannot speak: it has no talker")
    return hello


async def _narrate(options: RemoteSay, hello: Hello, source: AsyncIterator[TextArrived], ends: SayEnds) -> list[str]:
    """All of it, to the last sample heard; returns the lines to print."""
    from sottovoce.stream.client_messages import Format, Start

    from .client import Client
    from .narration import Narration

    newest: list[Stats] = []
    given_s: list[float] = []
    show = tell if options.output == PIPE else say

    def told(message: ServerMessage) -> None:
        match message:
            case Stats():
                newest[:] = [message]
            case Words(words=words):
                for word in words:
                    start_s, end_s = ((narration.earlier_ms + ms) / 1000 for ms in (word.start_ms, word.end_ms))
                    show(f"{start_s:9.3f} {end_s:9.3f}  {word.text}")
            case SegmentStart(text=text) if options.chat is not None and not options.words and text.strip():
                show(text.strip())

    def given() -> None:
        if not given_s:
            given_s.append(monotonic())

    form = Format("pcm", "f32le")
    start = Start(
        "speak", form, form, voice=options.voice, speed=options.speed, books=options.books, words=options.words,
        live=False, lead_ms=_AHEAD_MS,
    )  # fmt: skip
    client = Client(options.server, options.token)
    narration = Narration(client, start, source, mend=options.output is None, told=told, given=given)
    ends.start()
    n_samples = seq = 0
    first_s: float | None = None
    async with aclosing(narration.heard()) as pieces:  # type: ignore[type-var]  # it is a generator
        async for heard in pieces:
            now_s = monotonic()
            first_s = now_s if first_s is None else first_s
            await ends.sink(Frame(heard.pcm, seq, 0, now_s))
            n_samples += len(heard.pcm)
            seq += 1
    await ends.drain()
    if first_s is None:
        raise UsageError("there is nothing in this text that can be said")
    lines = [
        _line("voice", f"{options.voice or hello.voices[0]} at {options.server}"),
        _line("sound", f"{n_samples / hello.codec.rate_hz:.2f} s"),
        _line("first audio", f"{1000 * (first_s - given_s[0]):.0f} ms from the text, over the line{_parts(newest)}"),
    ]
    return lines + ([_line("reconnects", str(narration.breaks))] if narration.breaks else [])


def _parts(newest: list[Stats]) -> str:
    """What the wait was made of, as the server told; silent where it told nothing yet."""
    known = newest[0].first_audio_ms if newest else {}
    told = [f"{part} {known[part]:.0f}" for part in PARTS if part in known]
    silence = f", then {known['leading_silence']:.0f} ms of silence" if "leading_silence" in known else ""
    return (f" ({', '.join(told)})" if told else "") + silence


def _line(name: str, text: str) -> str:
    return f"{name:<17} {text}"
