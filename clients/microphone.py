"""The microphone: blocks of sound out of the sound card's ring, at the rate of the codec."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from sottovoce.stream.frames import Pcm
from sottovoce.stream.resample import Resampler

from .soundcard import Capture, SoundCard

POLL_S = 0.005
"""How often the ring is looked at. A callback that woke us instead would have to take a lock."""

SETTLE_S = 0.25
"""Sound servers begin with a large stale block; what comes in this time after the first one is not listened to."""


async def listen(
    card: SoundCard,
    capture: Capture,
    rate_hz: int,
    ended: Callable[[], bool],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Pcm]:
    """What is heard from now on, in blocks of any size at ``rate_hz``, until ``ended()``.

    Raises DeviceError: the microphone stopped, as when it is unplugged.
    """
    resampler = Resampler(capture.rate_hz, rate_hz, "live")
    while not capture.ring.n_waiting and not ended():
        await sleep(POLL_S)
        card.check()
    await sleep(SETTLE_S)
    capture.n_unheard = capture.ring.skip(capture.ring.n_waiting)
    while not ended():
        await sleep(POLL_S)
        card.check()
        block = resampler.push(capture.ring.read())
        if len(block):
            yield block
