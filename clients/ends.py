"""The two ends of a loopback: a file, a pipe or a device each, opened as a source and a sink for the pipeline."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass

from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.pipeline import Settings, Sink

from .audio_out import check_output
from .devices import choose, list_devices
from .file_ends import FileEnds
from .microphone import listen
from .quiet import quiet_libraries
from .sound_files import Watch, progress, spoken
from .soundcard import LATENCY_MS, SoundCard
from .speaker import RESERVE_MS, Speaker


@dataclass(frozen=True, slots=True)
class EndOptions:
    """Where sound comes from and where it goes."""

    input: str | None = None
    "Sound file, ``-``, or None for the microphone."
    output: str | None = None
    "Sound file, ``-``, or None for the speaker."
    realtime: bool = False
    "A file speaks at the rate of speech; always so where it is heard at once."
    seconds: float | None = None
    "Stop after so much sound."
    input_device: str | None = None
    output_device: str | None = None
    reserve_ms: float = RESERVE_MS
    latency_ms: float = LATENCY_MS


def check_ends(options: EndOptions) -> None:
    """What can be told at once, before a model is loaded.

    Raises:
        AudioFileError: the output's ending names no format.
        DeviceError: a device that is needed is missing, or its name is not clear.
    """
    if options.output is not None:
        check_output(options.output)
    if options.input is None or options.output is None:
        with quiet_libraries():
            devices = list_devices()
        if options.input is None:
            choose(devices, options.input_device, "input")
        if options.output is None:
            choose(devices, options.output_device, "output")


class Ends(FileEnds):
    """Files and devices.

    Attributes:
        card: the sound card, if one is needed; it runs from `start` on.
        speaker: if there is one, from `start` on.
    """

    def __init__(self, options: EndOptions, descriptor: Descriptor, settings: Settings) -> None:
        """Find the devices. Raises DeviceError."""
        super().__init__(options.input, options.output, descriptor.rate_hz)
        self.card: SoundCard | None = None
        self.speaker: Speaker | None = None
        self._options = options
        # A packet's frames come together, and behind a lost one what waited for its repair.
        self._burst_ms = descriptor.frame_ms * settings.frames_per_packet * (1 + settings.redundancy)
        self._watch: Watch = _nobody
        if options.input is None or options.output is None:
            self.card = SoundCard(
                descriptor.rate_hz,
                microphone=options.input is None,
                speaker=options.output is None,
                input_device=options.input_device,
                output_device=options.output_device,
                burst_s=self._burst_ms / 1000,
                latency_ms=options.latency_ms,
            )

    def start(self) -> None:
        """Let the devices run. Call when the engine is ready. Raises DeviceError."""
        if self.card is None:
            return
        self._stack.enter_context(self.card)
        if self.card.playback:
            self.speaker = Speaker(
                self.card, self.card.playback, self._rate_hz, self._burst_ms, self._options.reserve_ms
            )

    async def source(self, ended: Callable[[], bool]) -> AsyncIterator[Pcm]:
        """What is said, until it ends, ``ended()``, or the seconds are over."""
        seconds = self._options.seconds
        left = math.inf if seconds is None else round(seconds * self._rate_hz)
        async for block in self._blocks(ended):
            yield block if len(block) <= left else block[: int(left)]
            left -= len(block)
            if left <= 0 or ended():
                return

    def sink(self) -> Sink:
        """Where it is heard."""
        if self.speaker:
            return self.speaker.play
        output = self._output
        assert output is not None, "enter and start first"

        async def write(frame: Frame[Pcm]) -> None:
            await output.write(frame.data)

        return write

    def _blocks(self, ended: Callable[[], bool]) -> AsyncIterator[Pcm]:
        if self.sound:
            return spoken(self.sound, self._watch, self._options.realtime or self._options.output is None)
        assert self.card is not None
        assert self.card.capture is not None
        return listen(self.card, self.card.capture, self._rate_hz, ended)

    def _open(self, opened: ExitStack) -> None:
        super()._open(opened)
        if self.sound and self._output:
            self._watch = opened.enter_context(progress("loopback", self.sound.duration_s))


def _nobody(seconds: float) -> None:
    """Watches no progress."""
