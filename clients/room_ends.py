"""The two ends of a peer: what it says and where the others are heard; a file, a pipe, a device, or nothing to say.

A file speaks at the rate of speech, and one that is written gets what a speaker would have played: a frame for every 40 ms that
pass, whatever came meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sottovoce.stream.clock import Clock, monotonic
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.pipeline import Source

from .audio_out import AudioOutput, check_output
from .devices import choose, list_devices
from .file_ends import FileEnds
from .microphone import listen
from .quiet import quiet_libraries
from .sound_files import spoken
from .soundcard import LATENCY_MS, SoundCard
from .speaker import RESERVE_MS, Speaker

_POLL_S = 0.005
_FOLLOW = 0.05
"""How much of what a ring holds too much or too little one interval puts right: its blocks make it swing."""
_LOW_S = 0.01
"""With less than that in the ring, the next frame is needed at once."""
_HIGH_S = 0.15


@dataclass(frozen=True, slots=True)
class RoomEndOptions:
    """Where sound comes from and where it goes."""

    input: str | None = None
    "Sound file, ``-``, or None for the microphone."
    output: str | None = None
    "Sound file, ``-``, or None for the speaker."
    silent: bool = False
    "There is nothing to say: neither file nor microphone."
    input_device: str | None = None
    output_device: str | None = None
    latency_ms: float = LATENCY_MS

    @property
    def hears_microphone(self) -> bool:
        """Whether one is needed."""
        return self.input is None and not self.silent


class RoomEnds(FileEnds):
    """Files and devices.

    Attributes:
        card: the sound card, if one is needed.
    """

    def __init__(self, options: RoomEndOptions, descriptor: Descriptor, clock: Clock = monotonic) -> None:
        """Find the devices. Raises DeviceError; AudioFileError: the output's ending names no format."""
        super().__init__(options.input, options.output, descriptor.rate_hz)
        self.card: SoundCard | None = None
        self._options = options
        self._descriptor = descriptor
        self._clock = clock
        if options.output is not None:
            check_output(options.output)
        if options.hears_microphone or options.output is None:
            self.card = SoundCard(
                descriptor.rate_hz,
                microphone=options.hears_microphone,
                speaker=options.output is None,
                input_device=options.input_device,
                output_device=options.output_device,
                burst_s=descriptor.frame_ms / 1000,
                latency_ms=options.latency_ms,
                clock=clock,
            )

    def start(self, ended: Callable[[], bool]) -> tuple[Source | None, FilePlayer | CardPlayer]:
        """Let the devices run; what is said until ``ended()``, None if nothing is, and the player. Raises DeviceError."""
        if self.card is not None:
            self._stack.enter_context(self.card)
        rate_hz = self._descriptor.rate_hz
        source: Source | None = None
        if self.sound is not None:
            source = spoken(self.sound, _nobody, realtime=True)
        elif self.card is not None and self.card.capture is not None:
            source = listen(self.card, self.card.capture, rate_hz, ended)
        if self._output is not None:
            return source, FilePlayer(self._output, self._descriptor.frame_ms / 1000, self._clock)
        assert self.card is not None
        assert self.card.playback is not None
        return source, CardPlayer(self.card, self._descriptor, self._clock)


def check_devices(options: RoomEndOptions) -> None:
    """What can be told before a model is loaded. Raises DeviceError: one is missing, or its name is not clear."""
    if options.hears_microphone or options.output is None:
        with quiet_libraries():
            devices = list_devices()
        if options.hears_microphone:
            choose(devices, options.input_device, "input")
        if options.output is None:
            choose(devices, options.output_device, "output")


class FilePlayer:
    """A file in place of a speaker: a frame whenever one would have been played.

    Attributes:
        late: frames that were not ready when a speaker would have needed them, with its usual reserve.
    """

    def __init__(
        self,
        output: AudioOutput,
        frame_s: float,
        clock: Clock = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.late = 0
        self._output = output
        self._frame_s = frame_s
        self._clock = clock
        self._sleep = sleep
        self._began_s: float | None = None
        self._n = 0

    async def wanted(self) -> None:
        """As `peer.Player.wanted`."""
        now_s = self._clock()
        if self._began_s is None:
            self._began_s = now_s
        await self._sleep(max(self._began_s + self._n * self._frame_s - now_s, 0.0))
        self._n += 1

    async def play(self, frame: Frame[Pcm]) -> None:
        """As `peer.Player.play`."""
        assert self._began_s is not None
        self.late += self._clock() > self._began_s + self._n * self._frame_s + RESERVE_MS / 1000
        await self._output.write(frame.data)


class CardPlayer:
    """A speaker. It is given frames at even intervals, not when its blocks happen to leave room: a jitter buffer would have to
    bridge that too. The intervals follow its clock, as its ring tells it."""

    def __init__(
        self,
        card: SoundCard,
        descriptor: Descriptor,
        clock: Clock = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        assert card.playback is not None
        self._card = card
        self._playback = card.playback
        self._speaker = Speaker(card, card.playback, descriptor.rate_hz, descriptor.frame_ms, RESERVE_MS, sleep)
        self._frame_s = descriptor.frame_ms / 1000
        self._clock = clock
        self._sleep = sleep
        self._next_s: float | None = None

    @property
    def late(self) -> int:
        """Times that the card ran dry."""
        return self._playback.underflows

    async def wanted(self) -> None:
        """As `peer.Player.wanted`. Raises DeviceError."""
        self._card.check()
        now_s = self._clock()
        if self._next_s is None:
            self._next_s = now_s
            return
        too_much_s = self._waiting_s - RESERVE_MS / 1000 - self._frame_s  # a frame is played until the next one comes
        self._next_s = max(self._next_s + self._frame_s + _FOLLOW * too_much_s, now_s)
        while (left_s := self._next_s - self._clock()) > 0:
            if self._waiting_s < _LOW_S:
                self._next_s = self._clock()
            else:
                await self._sleep(min(left_s, _POLL_S))
        while self._waiting_s > _HIGH_S:
            await self._sleep(_POLL_S)
            self._card.check()

    async def play(self, frame: Frame[Pcm]) -> None:
        """As `peer.Player.play`. Raises DeviceError."""
        await self._speaker.play(frame)

    @property
    def _waiting_s(self) -> float:
        return self._playback.ring.n_waiting / self._playback.rate_hz


def _nobody(seconds: float) -> None:
    """Watches no progress."""
