"""Where speech goes: a file or a pipe, the speaker, or both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from types import TracebackType

from sottovoce.stream.frames import Frame, Pcm

from .audio_out import AudioOutput, audio_output
from .soundcard import SoundCard
from .speaker import Speaker

_POLL_S = 0.02


class SayEnds:
    """Opens on ``__enter__``; an output file appears on ``__exit__``, whole, or not at all if that has an error."""

    def __init__(
        self,
        output: str | None,
        card: SoundCard | None,
        rate_hz: int,
        lead_ms: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            output: name of the file, if there is one.
            card: of the speaker, if there is one; it runs from `start` on.
            rate_hz: of the sound.
            lead_ms: how much of it the speaker is given beyond what it has played.
        """
        self._output, self._card, self._rate_hz, self._lead_ms, self._sleep = output, card, rate_hz, lead_ms, sleep
        self._file: AudioOutput | None = None
        self._speaker: Speaker | None = None
        self._stack = ExitStack()

    def start(self) -> None:
        """Let the speaker run. Call when the engine is ready. Raises DeviceError."""
        if self._card and self._card.playback:
            self._stack.enter_context(self._card)
            self._speaker = Speaker(self._card, self._card.playback, self._rate_hz, self._lead_ms, sleep=self._sleep)

    async def sink(self, frame: Frame[Pcm]) -> None:
        """Take sound; waits while the speaker has enough: its own clock says how fast. Raises AudioFileError, DeviceError."""
        if self._file:
            await self._file.write(frame.data)
        if self._speaker:
            await self._hunger()
            await self._speaker.play(frame)

    async def _hunger(self) -> None:
        """Wait until the speaker has played enough to want more."""
        assert self._card
        assert self._card.playback
        playback = self._card.playback
        while playback.ring.n_waiting > self._lead_ms * playback.rate_hz / 1000:
            await self._sleep(_POLL_S)
            self._card.check()

    async def drain(self) -> None:
        """Wait until all of it was heard. Raises DeviceError."""
        if self._speaker:
            await self._speaker.drain()

    def __enter__(self) -> SayEnds:
        if self._output is not None:
            self._file = self._stack.enter_context(audio_output(self._output, self._rate_hz))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)
