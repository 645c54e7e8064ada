"""Lets sound go at the rate it is played, for a file that plays the microphone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

from .clock import Clock, monotonic
from .frames import Pcm


class Pacer:
    """When the next samples are due. Sans I/O; its time begins with the first samples."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._began_s: float | None = None
        self._n_samples = 0

    def wait_s(self, n_samples: int, now_s: float) -> float:
        """How long from now until ``n_samples`` more have been spoken, >= 0; they count from now on."""
        if self._began_s is None:
            self._began_s = now_s
        self._n_samples += n_samples
        return max(self._began_s + self._n_samples / self._rate_hz - now_s, 0.0)


async def paced(
    blocks: AsyncIterable[Pcm],
    rate_hz: int,
    block_samples: int,
    clock: Clock = monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Pcm]:
    """``blocks`` cut to at most ``block_samples``, each given when its last sample has been spoken."""
    pacer = Pacer(rate_hz)
    async for block in blocks:
        for at in range(0, len(block), block_samples):
            piece = block[at : at + block_samples]
            await sleep(pacer.wait_s(len(piece), clock()))
            yield piece
