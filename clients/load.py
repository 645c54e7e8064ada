"""``sottovoce load``: many clients of one server at once, each of which talks and plays as a browser does.

A client says a tone, frame by frame at the rate of speech, plays what comes back by its own clock, and gives credit every tenth
of a second. What is told of it is whether the sound came in time: see `sottovoce.stream.continuity`.
"""

from __future__ import annotations

import asyncio
import json
import math
from asyncio import TaskGroup
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sottovoce.stream.client_messages import Format, Start
from sottovoce.stream.clock import Clock, monotonic
from sottovoce.stream.continuity import Playout, share_within
from sottovoce.stream.errors import ConnectionFailed, SottovoceError
from sottovoce.stream.frames import Pcm
from sottovoce.stream.wire import Kind

from .client import Client
from .interrupts import run
from .pipes import say
from .server_metrics import read_metrics
from .talk import Heard, Talk

RESERVE_MS = 40.0
"""Of a browser's player."""
_CREDIT_S = 0.1


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a person asks of it."""

    server: str
    clients: int = 32
    seconds: float = 60.0
    token: str | None = None
    json: bool = False


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What all clients saw."""

    clients: int
    seconds: float
    failed: dict[str, int]
    "Clients that did not get through, by reason."
    c50: float
    "Share of the others whose worst underrun, of a player without a reserve, was within 50 ms."
    c100: float
    worst_underrun_ms: float
    underruns: int
    "Times that a player with a reserve of 40 ms ran dry."
    first_audio_p50_ms: float
    "From the first sample said to the first sample heard, the codec's delay in it."
    first_audio_p95_ms: float
    missing_ms: float
    "Sound that was said and did not come back, of the client that missed most; what the codec's delay holds is not counted."
    server_mib: tuple[float, float] | None
    "Memory of the server's process, before and after; None where it does not tell."
    server_frame_ms: float | None
    "Processor time of the server's process for a frame that a client said."


class Player:
    """A browser's: it starts on the first piece and a reserve, and starts so again when it ran dry. Sans I/O."""

    def __init__(self, reserve_ms: float = RESERVE_MS) -> None:
        self.underruns = 0
        self._reserve_s = reserve_ms / 1000
        self._end_s = 0.0  # of what came, in time of the stream
        self._starts_s: float | None = None  # when stream time 0 is, or would have been, played

    def add(self, now_s: float, start_ms: float, end_ms: float) -> None:
        """A piece came."""
        if self._starts_s is not None and now_s - self._starts_s > self._end_s:
            self.underruns += 1
            self._starts_s = None
        if self._starts_s is None:
            self._starts_s = now_s + self._reserve_s - start_ms / 1000
        self._end_s = end_ms / 1000

    def played_ms(self, now_s: float) -> float:
        """How far it is."""
        return 0.0 if self._starts_s is None else 1000 * min(max(now_s - self._starts_s, 0.0), self._end_s)

    def buffered_ms(self, now_s: float) -> float:
        """What it holds."""
        return 1000 * self._end_s - self.played_ms(now_s)


@dataclass
class _Seen:
    """By one client."""

    playout: Playout
    player: Player
    said_s: float | None = None
    first_audio_ms: float | None = None
    said_ms: float = 0.0
    heard_ms: float = 0.0


def load(options: LoadOptions) -> LoadResult:
    """Run it, and print what was seen. Raises ConnectionFailed: there is no server at all, or not for every client."""
    result = run(measure(options))
    for line in [as_json(result)] if options.json else _lines(result):
        say(line)
    check_all_served(options.clients, result.failed)
    return result


async def measure(options: LoadOptions, patience_s: float = 5.0, clock: Clock = monotonic) -> LoadResult:
    """The same without printing."""
    codec = (await Client(options.server, options.token).hello()).codec
    before = await asyncio.to_thread(read_metrics, options.server, options.token)
    seen: list[_Seen] = []
    failed: dict[str, int] = {}

    async def one(number: int) -> None:
        await asyncio.sleep(codec.frame_ms / 1000 * number / options.clients)  # they do not all speak in step
        mine = _Seen(Playout(), Player())
        try:
            client = Client(options.server, options.token, patience_s)
            await _client(client, options.seconds, number, mine, clock)
            seen.append(mine)
        except SottovoceError as error:
            failed[str(error)] = failed.get(str(error), 0) + 1

    async with TaskGroup() as tasks:
        for number in range(options.clients):
            tasks.create_task(one(number))
    after = await asyncio.to_thread(read_metrics, options.server, options.token)
    worst = [mine.playout.worst_underrun_ms for mine in seen]
    first = [mine.first_audio_ms for mine in seen if mine.first_audio_ms is not None]
    p50, p95 = np.percentile(first, (50, 95)) if first else (math.nan, math.nan)
    n_frames = sum(mine.said_ms for mine in seen) / codec.frame_ms
    mib = frame_ms = None
    if before is not None and after is not None:
        if before.memory_mib is not None and after.memory_mib is not None:
            mib = (before.memory_mib, after.memory_mib)
        if before.cpu_s is not None and after.cpu_s is not None and n_frames:
            frame_ms = 1000 * (after.cpu_s - before.cpu_s) / n_frames
    return LoadResult(
        options.clients,
        options.seconds,
        failed,
        share_within(worst, 50) if worst else math.nan,
        share_within(worst, 100) if worst else math.nan,
        max(worst, default=math.nan),
        sum(mine.player.underruns for mine in seen),
        float(p50),
        float(p95),
        max((mine.said_ms - mine.heard_ms for mine in seen), default=math.nan),
        mib,
        frame_ms,
    )


async def _client(client: Client, seconds: float, number: int, mine: _Seen, clock: Clock) -> None:
    form = Format("pcm", "s16le")
    async with client.talk(Start("loopback", form, form, lead_ms=500.0), plays_itself=True) as talk:
        codec = talk.hello.codec
        block: Pcm = np.sin(np.arange(codec.frame_samples) * 2 * math.pi * (200 + 10 * number) / codec.rate_hz)
        block = (0.2 * block).astype(np.float32)
        helpers = [
            asyncio.create_task(_speak(talk, block, round(seconds * 1000 / codec.frame_ms), mine, clock)),
            asyncio.create_task(give_credit(talk, mine.player, clock)),
        ]
        try:
            async for heard in talk:
                if heard.media.kind == Kind.PCM and len(heard.pcm):
                    _hear(heard, codec.rate_hz, mine, clock())
        finally:
            for task in helpers:
                task.cancel()
                with suppress(asyncio.CancelledError, SottovoceError):
                    await task


def _hear(heard: Heard, rate_hz: int, mine: _Seen, now_s: float) -> None:
    end_ms = heard.start_ms + 1000 * len(heard.pcm) / rate_hz
    if mine.first_audio_ms is None and mine.said_s is not None:
        mine.first_audio_ms = 1000 * (now_s - mine.said_s)
    mine.playout.add(now_s, heard.start_ms / 1000)
    mine.player.add(now_s, heard.start_ms, end_ms)
    mine.heard_ms += 1000 * len(heard.pcm) / rate_hz


async def _speak(talk: Talk, block: Pcm, n_blocks: int, mine: _Seen, clock: Clock) -> None:
    """Every block when its last sample has been spoken."""
    frame_s = talk.hello.codec.frame_ms / 1000
    mine.said_s = clock()
    for i in range(1, n_blocks + 1):
        await asyncio.sleep(mine.said_s + i * frame_s - clock())
        await talk.say(block)
        mine.said_ms += 1000 * frame_s
    await talk.end()


async def give_credit(talk: Talk, player: Player, clock: Clock) -> None:
    """As often as a browser does."""
    while True:
        await asyncio.sleep(_CREDIT_S)
        now_s = clock()
        await talk.played(player.played_ms(now_s), player.buffered_ms(now_s), player.underruns)


def check_all_served(clients: int, failed: Mapping[str, int]) -> None:
    """Raises ConnectionFailed: some of ``clients`` did not get through, for the reasons that ``failed`` counts."""
    if failed:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in failed.items())
        raise ConnectionFailed(f"{sum(failed.values())} of {clients} clients failed: {reasons}")


def as_json(result: Any) -> str:
    """A dataclass for a program; null where there is no number."""

    def told(value: object) -> object:
        if isinstance(value, dict):
            return {name: told(one) for name, one in value.items()}
        return None if isinstance(value, float) and math.isnan(value) else value

    return json.dumps(told(asdict(result)))


def _lines(result: LoadResult) -> list[str]:
    told = {
        "clients": f"{result.clients} for {result.seconds:g} s, {sum(result.failed.values())} failed",
        "continuity": f"C50 {100 * result.c50:.1f} %, C100 {100 * result.c100:.1f} %, "
        f"worst underrun {result.worst_underrun_ms:.1f} ms (a player without a reserve)",
        "player": f"{result.underruns} underruns with {RESERVE_MS:.0f} ms in reserve",
        "first audio": f"p50 {result.first_audio_p50_ms:.0f} ms, p95 {result.first_audio_p95_ms:.0f} ms",
        "missing": f"{result.missing_ms:.0f} ms of the sound of the client that missed most",
    }
    if result.server_frame_ms is not None:
        told["server processor"] = f"{result.server_frame_ms:.2f} ms a frame"
    if result.server_mib:
        told["server memory"] = f"{result.server_mib[0]:.1f} MiB before, {result.server_mib[1]:.1f} MiB after"
    return [f"{name:<17} {text}" for name, text in told.items()]
