"""``sottovoce overhead``: what a frame of a session costs a server besides the models and the socket.

Whole conversations run as in a server (protocol, channels, stages, statistics, the engine's thread), but over sockets in memory
and with an engine that answers at once. All speak in step: each says its next frame when it has heard the one before.
"""

from __future__ import annotations

import asyncio
import json
import platform
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.stream import messages
from sottovoce.stream.call import Call, Service
from sottovoce.stream.client_messages import Credit, End, Format, Start
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.engine import ECHO, Kind, Rows, Work
from sottovoce.stream.frames import MEL_FLOOR
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.metrics import Metrics
from sottovoce.stream.modes import MODES
from sottovoce.stream.server_messages import Limits
from sottovoce.stream.wire import Kind as MediaKind
from sottovoce.stream.wire import Media

from .bench import processor
from .interrupts import run
from .pipes import say

_WARM_UP = 20
"""Frames of each session before the clock starts."""
_PARTS = 10
_CREDIT_EVERY = 3
"""Frames: a browser tells every tenth of a second how far it has played."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """What was measured."""

    sessions: int
    frames: int
    "Of each."
    frame_ms: float
    cpu_ms: float
    "Processor time of the whole process for one frame of one session, of all of them."
    least_cpu_ms: float
    "The same of the tenth that took least: where others use the machine, nearer to what it takes."
    cpu: str
    python: str
    event_loop: str


def show_overhead(sessions: int, frames: int, as_json: bool) -> Overhead:
    """Measure it, and print what was seen."""
    seen = overhead(sessions, frames)
    told = [
        f"{'sessions':<17} {seen.sessions}, {seen.frames} frames of {seen.frame_ms:g} ms each",
        f"{'processor time':<17} {seen.cpu_ms:.3f} ms a frame, {seen.least_cpu_ms:.3f} ms in the best tenth",
        f"{'conditions':<17} {seen.cpu}, Python {seen.python}, {seen.event_loop}",
    ]
    for line in [json.dumps(asdict(seen))] if as_json else told:
        say(line)
    return seen


def overhead(sessions: int = 32, frames: int = 1000) -> Overhead:
    """Measure it, as fast as it goes."""
    return run(measure(sessions, frames))


async def measure(sessions: int, frames: int) -> Overhead:
    """`overhead` on the running event loop."""
    stops = [_WARM_UP + frames * tenth // _PARTS for tenth in range(_PARTS + 1)]
    sockets = [_MemorySocket(stops[-1]) for _ in range(sessions)]
    cpu_s = []
    async with EngineLoop(_AtOnce(sessions)) as loop:
        service = Service(loop, MODES, Limits(sessions=sessions, messages_per_s=1e6), Metrics(loop))
        async with asyncio.TaskGroup() as tasks:
            for number, socket in enumerate(sockets):
                tasks.create_task(Call(socket, service, str(number)).run())
            for stop in stops:
                await asyncio.gather(*(socket.reached(stop) for socket in sockets))
                cpu_s.append(time.process_time())
    parts = [
        (after - before, stop - start)
        for (before, after), (start, stop) in zip(pairwise(cpu_s), pairwise(stops), strict=True)
    ]
    return Overhead(
        sessions,
        frames,
        ECHO.frame_ms,
        1000 * (cpu_s[-1] - cpu_s[0]) / (sessions * frames),
        min(1000 * s / (sessions * n) for s, n in parts if n),
        processor(),
        platform.python_version(),
        type(asyncio.get_running_loop()).__module__.partition(".")[0],
    )


class _AtOnce:
    """An engine without any work in it."""

    def __init__(self, rows: int) -> None:
        self._rows = Rows(rows)
        mel = np.full((ECHO.mels_per_frame, ECHO.n_mels), MEL_FLOOR, np.float32)
        codes = np.zeros((1, ECHO.books), np.int16)
        pcm = np.zeros(ECHO.frame_samples, np.float32)
        self._answers: dict[Kind, NDArray[Any]] = {"mel": mel, "encode": codes, "decode": mel, "vocode": pcm}

    @property
    def descriptor(self) -> Descriptor:
        return ECHO

    @property
    def rows(self) -> int:
        return self._rows.count

    def open(self) -> int:
        return self._rows.take()

    def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
        return [self._answers[piece.kind] for piece in work]

    def close(self, row: int) -> None:
        self._rows.give_back(row)


class _MemorySocket:
    """A client: says a frame, and the next when that has come back."""

    def __init__(self, frames: int) -> None:
        form = Format("pcm", "s16le")
        self._said: deque[str | bytes] = deque([messages.encode(Start("loopback", form, form, lead_ms=500.0))])
        self._frames = frames
        self._heard = -1  # the server has not started
        self._stirred = asyncio.Event()
        self._reached: dict[int, asyncio.Event] = {}
        self._payload = bytes(2 * ECHO.frame_samples)

    async def reached(self, frames: int) -> None:
        """Wait until so many have come back."""
        if self._heard < frames:
            await self._reached.setdefault(frames, asyncio.Event()).wait()

    async def receive(self) -> str | bytes | None:
        while not self._said:
            self._stirred.clear()
            await self._stirred.wait()
        return self._said.popleft()

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str) and '"started"' not in message[:20]:
            return
        if isinstance(message, str) or message[0] == MediaKind.PCM:
            self._heard += 1
            self._say(self._heard)

    async def close(self, code: int) -> None:
        pass

    def _say(self, heard: int) -> None:
        if heard in self._reached:
            self._reached[heard].set()
        if heard >= self._frames:
            self._said.append(messages.encode(End()))
        else:
            n, ms = ECHO.frame_samples, ECHO.frame_ms
            if heard % _CREDIT_EVERY == 0:
                self._said.append(messages.encode(Credit(0, heard * ms, ms, 0)))
            self._said.append(Media(MediaKind.PCM, heard & 0xFFFF, 0, n, heard * n & 0xFFFFFFFF, self._payload).pack())
        self._stirred.set()
