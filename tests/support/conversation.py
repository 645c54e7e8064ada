"""Both ends of a conversation over the echo engine: what is said, who hears it, and the virtual time between them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import numpy as np

from sottovoce.stream.engine import ECHO, EchoEngine
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.loop import EngineLoop, Session

from . import virtual_time

N = ECHO.frame_samples
BIN_HZ = ECHO.rate_hz * ECHO.mels_per_frame / N


def tone(n_samples: int, bin_: int = 8, amplitude: float = 0.5) -> Pcm:
    phase = 2 * np.pi * bin_ * BIN_HZ * np.arange(n_samples) / ECHO.rate_hz
    return (amplitude * np.sin(phase)).astype(np.float32)


def noise(n_samples: int) -> Pcm:
    return np.random.default_rng(3).normal(0, 0.1, n_samples).astype(np.float32)


async def blocks(pcm: Pcm, *cuts: int) -> AsyncIterator[Pcm]:
    for block in np.split(pcm, sorted(cuts)):
        yield block


class Ear:
    """A sink that remembers."""

    def __init__(self, wait: Callable[[], Awaitable[None]] | None = None) -> None:
        self.frames: list[Frame[Pcm]] = []
        self.heard_s: list[float] = []
        self._wait = wait

    async def __call__(self, frame: Frame[Pcm]) -> None:
        if self._wait:
            await self._wait()
        self.frames.append(frame)
        self.heard_s.append(virtual_time.now_s())

    @property
    def pcm(self) -> Pcm:
        return np.concatenate([np.zeros(0, np.float32), *(frame.data for frame in self.frames)])


def run(use: Callable[[Session], Coroutine[Any, Any, None]], engine: EchoEngine | None = None) -> None:
    """Run ``use`` with a session of an echo engine, in virtual time."""

    async def main() -> None:
        async with EngineLoop(engine or EchoEngine(), asyncio.get_running_loop().time) as loop:
            virtual_time.hold_for(lambda: loop.waiting > 0)
            try:
                with loop.open() as session:
                    await use(session)
            finally:
                virtual_time.hold_for(lambda: True)  # the thread is about to end

    virtual_time.run(main())
