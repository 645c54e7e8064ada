"""The speaker: sound into the sound card's ring, with a little silence before it that late frames may use up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np

from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.resample import Resampler

from .soundcard import Playback, SoundCard

RESERVE_MS = 40.0
"""How late a frame may be, by default, before it is missed."""
_SLACK_MS = 100.0
"""What may pile up beyond that after a stall, before it is skipped."""
_POLL_S = 0.02


class Speaker:
    """Plays what is written, at its own pace. A sink for the pipelines.

    Attributes:
        n_reserve: samples of silence, at the card's rate, that were put before sound; None before any came.
    """

    def __init__(
        self,
        card: SoundCard,
        playback: Playback,
        rate_hz: int,
        burst_ms: float,
        reserve_ms: float = RESERVE_MS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            card: what ``playback`` belongs to.
            rate_hz: of the sound that will come.
            burst_ms: how much sound comes at once at most (a packet's worth).
            reserve_ms: how late it may be without a gap.
        """
        per_ms = playback.rate_hz / 1000
        self._card = card
        self._playback = playback
        self._resampler = Resampler(rate_hz, playback.rate_hz, "live")
        self._reserve = np.zeros(round(reserve_ms * per_ms), np.float32)
        self._sleep = sleep
        self.n_reserve: int | None = None
        playback.most_waiting = round((reserve_ms + burst_ms + _SLACK_MS) * per_ms)

    async def play(self, frame: Frame[Pcm]) -> None:
        """Hand a frame over; waits while the card has more than it may hold.

        Raises DeviceError: the speaker stopped, as when it is unplugged.
        """
        self._card.check()
        if self.n_reserve is None:
            self.n_reserve = self._playback.ring.write(self._reserve)
        await self._write(self._resampler.push(frame.data))

    async def drain(self) -> None:
        """Wait until everything was heard. Raises DeviceError as `play`."""
        await self._write(self._resampler.finish())
        self._playback.ending = True
        while self._playback.ring.n_waiting:
            await self._sleep(_POLL_S)
            self._card.check()
        await self._sleep(self._card.latency_ms[1] / 1000)  # the card still holds that much

    async def _write(self, sound: Pcm) -> None:
        while True:
            sound = sound[self._playback.ring.write(sound) :]
            if not len(sound):
                return
            await self._sleep(_POLL_S)
            self._card.check()
