"""``sottovoce load --mode speak``: many listeners of one server at once, to each of whom it speaks sentence by sentence.

A listener opens a session, gives a sentence, and plays what comes by its own clock, with credit when the first sound
has come and every tenth of a second, as a browser does. When it has heard the end it opens the next session: what the
wait for the first sound was made of is told once a session. Without a server's address one is started here, and timed
from the start of its process.
"""

from __future__ import annotations

import asyncio
import math
from asyncio import TaskGroup
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from sottovoce.stream.client_messages import Format, Start
from sottovoce.stream.clock import Clock, monotonic
from sottovoce.stream.continuity import Playout, share_within
from sottovoce.stream.errors import ConnectionFailed, SottovoceError
from sottovoce.stream.first_audio import PARTS
from sottovoce.stream.messages import ServerMessage
from sottovoce.stream.server_messages import Stats
from sottovoce.stream.wire import Kind

from .client import Client
from .interrupts import run
from .load import RESERVE_MS, Player, as_json, check_all_served, give_credit
from .own_server import OwnServer, own_server
from .pipes import say
from .sentences import SENTENCES
from .server_metrics import read_metrics
from .talk import Talk

LEAD_MS = 300.0
"""A browser's."""
_SPREAD_S = 1.0
"""In which all listeners begin, one after the other."""
_SENTENCE_S = 60.0
"""What a sentence may take before its listener gives up."""


@dataclass(frozen=True, slots=True)
class SpeakLoad:
    """What a person asks of it."""

    server: str | None
    "None: one is started here."
    clients: int = 4
    seconds: float = 60.0
    token: str | None = None
    voice: str | None = None
    "None: the server's first."
    json: bool = False
    serve: tuple[str, ...] = ()
    "Options of a server that is started here."


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of a duration."""

    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, values_ms: Iterable[float]) -> Percentiles:
        """NaN where there are none."""
        values = list(values_ms)
        return cls(*(float(p) for p in np.percentile(values, (50, 95, 99)))) if values else cls(*[math.nan] * 3)


@dataclass(frozen=True, slots=True)
class Cold:
    """A server that was started for this, in seconds from the start of its process."""

    ready_s: float
    first_audio_s: float
    "Until a client that came at once had the first piece of sound."


@dataclass(frozen=True, slots=True)
class SpeakResult:
    """What all listeners saw."""

    clients: int
    seconds: float
    sentences: int
    "Heard to their end: streams, of which the shares below are."
    failed: dict[str, int]
    "Listeners that gave up, by reason."
    sound_s: float
    cold: Cold | None
    first_audio: Percentiles
    "From the moment a client sent a text until it had the first piece of sound, over an open WebSocket, with a warm server."
    parts: dict[str, Percentiles]
    "What the server tells that this was made of, one after the other (`sottovoce.stream.first_audio`)."
    leading_silence: Percentiles
    "At the beginning of the sound, and no part of that."
    c50: float
    "Share of streams whose worst underrun, of a player without a reserve, was within 50 ms."
    c100: float
    worst_underrun_ms: float
    underruns: int
    "Times that a player with a reserve of 40 ms ran dry."
    real_time_factor: float | None
    "Time in the models over the sound they made, all sessions together; None where the server does not tell."
    server_cores: float | None
    "Processor time of the server's process over that of the clock."
    server_mib: tuple[float, float] | None
    "Its memory, before and after."


@dataclass
class Listened:
    """One sentence, as one listener had it."""

    playout: Playout = field(default_factory=Playout)
    player: Player = field(default_factory=Player)
    asked_s: float = 0.0
    "When the text was sent."
    first_audio_s: float | None = None
    parts_ms: dict[str, float] = field(default_factory=dict)
    "As the server tells it, the leading silence too."
    sound_s: float = 0.0

    @property
    def wait_ms(self) -> float | None:
        """From the text to the first piece of sound."""
        return None if self.first_audio_s is None else 1000 * (self.first_audio_s - self.asked_s)


def load_speak(options: SpeakLoad) -> SpeakResult:
    """Run it, and print what was seen.

    Raises:
        ConnectionFailed: there is no server at all, or not for every listener.
        ServeError: none could be started.
    """
    result = run(measure(options))
    for line in [as_json(result)] if options.json else lines(result):
        say(line)
    check_all_served(options.clients, result.failed)
    return result


async def measure(
    options: SpeakLoad, patience_s: float = 5.0, clock: Clock = monotonic, sentences: Sequence[str] = SENTENCES
) -> SpeakResult:
    """The same without printing."""
    async with _server(options, clock) as (url, started):
        cold = None
        if started is not None:
            first = await listen(Client(url, options.token, patience_s), sentences[0], options.voice, clock)
            if first.first_audio_s is not None:
                cold = Cold(started.ready_s - started.began_s, first.first_audio_s - started.began_s)
        else:
            await Client(url, options.token).hello()
        before, began_s = await asyncio.to_thread(read_metrics, url, options.token), clock()
        heard: list[Listened] = []
        failed: Counter[str] = Counter()

        async def one(number: int) -> None:
            await asyncio.sleep(_SPREAD_S * number / options.clients)
            turn = number
            try:
                while turn == number or clock() < began_s + options.seconds:
                    client = Client(url, options.token, patience_s)
                    heard.append(await listen(client, sentences[turn % len(sentences)], options.voice, clock))
                    turn += 1
            except SottovoceError as error:
                failed[str(error)] += 1

        async with TaskGroup() as tasks:
            for number in range(options.clients):
                tasks.create_task(one(number))
        wall_s, after = clock() - began_s, await asyncio.to_thread(read_metrics, url, options.token)
    worst = [one.playout.worst_underrun_ms for one in heard]
    sound_s = sum(one.sound_s for one in heard)
    factor = cores = mib = None
    if before is not None and after is not None:
        factor = (after.engine_s - before.engine_s) / sound_s if sound_s else None
        if before.cpu_s is not None and after.cpu_s is not None:
            cores = (after.cpu_s - before.cpu_s) / wall_s
        if before.memory_mib is not None and after.memory_mib is not None:
            mib = (before.memory_mib, after.memory_mib)
    return SpeakResult(
        clients=options.clients,
        seconds=options.seconds,
        sentences=len(heard),
        failed=dict(failed),
        sound_s=sound_s,
        cold=cold,
        first_audio=Percentiles.of(one.wait_ms for one in heard if one.wait_ms is not None),
        parts={part: _told(heard, part) for part in PARTS},
        leading_silence=_told(heard, "leading_silence"),
        c50=share_within(worst, 50) if worst else math.nan,
        c100=share_within(worst, 100) if worst else math.nan,
        worst_underrun_ms=max(worst, default=math.nan),
        underruns=sum(one.player.underruns for one in heard),
        real_time_factor=factor,
        server_cores=cores,
        server_mib=mib,
    )


def _told(heard: Iterable[Listened], part: str) -> Percentiles:
    return Percentiles.of(one.parts_ms[part] for one in heard if part in one.parts_ms)


@asynccontextmanager
async def _server(options: SpeakLoad, clock: Clock) -> AsyncIterator[tuple[str, OwnServer | None]]:
    if options.server is not None:
        yield options.server, None
        return
    async with own_server(("--rows", str(options.clients), *options.serve), clock=clock) as started:
        yield started.url, started


async def listen(client: Client, text: str, voice: str | None = None, clock: Clock = monotonic) -> Listened:
    """Have one sentence spoken, and play it to its end. Raises ConnectionFailed, ProtocolError, UsageError."""
    mine = Listened()
    explained = asyncio.Event()  # the server has told all there is to tell of the first sound

    def told(message: ServerMessage) -> None:
        if isinstance(message, Stats):
            mine.parts_ms = message.first_audio_ms
            if "network" in mine.parts_ms:
                explained.set()

    client.told = told
    form = Format("pcm", "s16le")
    start = Start("speak", form, form, voice=voice, words=True, live=False, lead_ms=LEAD_MS)
    try:
        async with asyncio.timeout(_SENTENCE_S), client.talk(start, plays_itself=True) as talk:
            helpers = [
                asyncio.create_task(_ask(talk, text, explained, mine, clock)),
                asyncio.create_task(give_credit(talk, mine.player, clock)),
            ]
            try:
                await _hear(talk, mine, clock)
            finally:
                for task in helpers:
                    task.cancel()
                    with suppress(asyncio.CancelledError, SottovoceError):
                        await task
    except TimeoutError:
        raise ConnectionFailed(f"a sentence was not spoken within {_SENTENCE_S:g} s") from None
    await asyncio.sleep(mine.player.buffered_ms(clock()) / 1000)
    return mine


async def _ask(talk: Talk, text: str, explained: asyncio.Event, mine: Listened, clock: Clock) -> None:
    mine.asked_s = clock()
    await talk.write(text)
    await talk.end_text()
    await explained.wait()
    await talk.end()


async def _hear(talk: Talk, mine: Listened, clock: Clock) -> None:
    rate_hz = talk.hello.codec.rate_hz
    async for heard in talk:
        if heard.media.kind != Kind.PCM or not len(heard.pcm):
            continue
        now_s = clock()
        if mine.first_audio_s is None:
            mine.first_audio_s = now_s
        mine.playout.add(now_s, heard.start_ms / 1000)
        mine.player.add(now_s, heard.start_ms, heard.start_ms + 1000 * len(heard.pcm) / rate_hz)
        mine.sound_s += len(heard.pcm) / rate_hz


def lines(result: SpeakResult) -> list[str]:
    """For a person."""
    told = {
        "listeners": f"{result.clients} for {result.seconds:g} s, {sum(result.failed.values())} failed; "
        f"{result.sentences} sentences, {result.sound_s:.1f} s of sound",
    }
    if result.cold is not None:
        told["cold"] = (
            f"ready {result.cold.ready_s:.2f} s after the server's process began, "
            f"the first sound {result.cold.first_audio_s:.2f} s"
        )
    told["first audio"] = f"{_percentiles(result.first_audio)}, from the text to the client; of that, in turn,"
    told |= {f"  {part}": _percentiles(result.parts[part]) for part in PARTS}
    told["  network"] += ", there and back"
    told["leading silence"] = f"{_percentiles(result.leading_silence)}, at the beginning of that sound"
    told["continuity"] = (
        f"C50 {100 * result.c50:.1f} %, C100 {100 * result.c100:.1f} %, "
        f"worst underrun {result.worst_underrun_ms:.1f} ms (a player without a reserve)"
    )
    told["player"] = f"{result.underruns} underruns with {RESERVE_MS:.0f} ms in reserve"
    if result.real_time_factor is not None:
        told["real-time factor"] = f"{result.real_time_factor:.3f} in the models"
    if result.server_cores is not None:
        told["server processor"] = f"{result.server_cores:.2f} of a core"
    if result.server_mib is not None:
        told["server memory"] = f"{result.server_mib[0]:.1f} MiB before, {result.server_mib[1]:.1f} MiB after"
    return [f"{name:<17} {text}" for name, text in told.items()]


def _percentiles(found: Percentiles) -> str:
    return f"p50 {found.p50_ms:.0f} ms, p95 {found.p95_ms:.0f} ms, p99 {found.p99_ms:.0f} ms"
