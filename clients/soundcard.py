"""Microphone and speaker at the sound card's side: what its own thread does, which is to copy and to count.

A stream for each end, not one duplex stream for both: PortAudio's duplex streams die on PulseAudio and PipeWire
as soon as microphone and speaker start at different times, which they do. Both tell the time by one clock.
Nothing here waits, prints or allocates; `microphone.py` and `speaker.py` are the other side of the rings.
"""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.stream.clock import Clock, monotonic
from sottovoce.stream.errors import DeviceError

from .devices import ROLE, Device, Direction, choose, list_devices, portaudio, portaudio_reason
from .drift import Drift
from .ring import Ring

LATENCY_MS = 40.0
"""What the sound card is asked to buffer on its side."""
STALLED_S = 2.0
"""A side of the card whose thread was not heard of for this long is gone."""
STARTING_S = 5.0
"""The same before the first word of it: a wireless microphone has to be woken."""
_RING_S = 2.0


class Timeline:
    """When sample 0 of a stream was, or would have been, at the card: the median over its newest blocks.

    A card's word for the time of one block jitters by milliseconds, and is wrong while the card starts; the
    median is steady. Where samples are lost or put in the origin moves at once: what was said before is forgotten.
    """

    def __init__(self, rate_hz: int, blocks: int = 256) -> None:
        self._rate_hz = rate_hz
        self._newest = np.zeros(blocks)
        self._n = 0

    def add(self, first_sample: int, at_s: float) -> None:
        """Note that the sample of this number was at the card at ``at_s``."""
        self._newest[self._n % len(self._newest)] = at_s - first_sample / self._rate_hz
        self._n += 1

    def restart(self) -> None:
        """Forget all blocks: between the last and the next, samples were lost or put in."""
        self._n = 0

    @property
    def origin_s(self) -> float | None:
        """The time of sample 0 on the card's clock; None before the first block."""
        n = self._n  # read once: the card's thread may restart it meanwhile
        return float(np.median(self._newest[:n])) if n else None


class Capture:
    """What the microphone's callback fills."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.ring = Ring(int(rate_hz * _RING_S))
        self.timeline = Timeline(rate_hz)
        self.drift = Drift(rate_hz)
        self.n_calls = 0
        self.overflows = 0
        "Times that the card, or the ring, had no room for sound."
        self.underflows = 0
        "Times that the card had no sound to give, once it had begun."
        self.n_unheard = 0
        "Samples thrown away because they were captured before anybody listened."
        self._lost = 0

    def take(self, block: NDArray[np.float32], captured_s: float, overflow: bool, underflow: bool) -> None:
        """Copy ``block`` [n, 1] in; ``captured_s`` is the time of its first sample."""
        self.n_calls += 1
        began = self.ring.n_written > 0
        if underflow and not began:
            return  # the stream runs before its microphone does: silence that nobody spoke
        if overflow or underflow or self._lost:
            self.timeline.restart()
        if overflow or underflow:
            self.drift.restart()
        self.drift.add(len(block), captured_s)
        self.timeline.add(self.ring.n_written, captured_s)
        self._lost = lost = len(block) - self.ring.write(block[:, 0])
        self.overflows += bool(overflow and began) or lost > 0
        self.underflows += bool(underflow)


class Playback:
    """What the speaker's callback empties."""

    def __init__(self, rate_hz: int, burst_s: float = 0.0) -> None:
        self.rate_hz = rate_hz
        self.ring = Ring(int(rate_hz * (_RING_S + burst_s)))
        self.timeline = Timeline(rate_hz)
        self.drift = Drift(rate_hz)
        self.n_calls = 0
        self.underflows = 0
        "Times that the card, or the ring, ran out of sound once it had begun."
        self.most_waiting = self.ring.capacity
        "More than this in the ring is delay that nobody wants: the oldest is skipped."
        self.n_skipped = 0
        "Samples skipped for that reason."
        self.ending = False
        "Set when no more sound will come, so that running dry is no fault."
        self._began = False
        self._dry = False

    def give(self, out: NDArray[np.float32], heard_s: float, underflow: bool) -> None:
        """Fill ``out`` [n, channels], every channel the same; ``heard_s`` is the time of its first sample."""
        self.n_calls += 1
        if underflow:
            self.drift.restart()
        self.drift.add(len(out), heard_s)
        surplus = self.ring.n_waiting - self.most_waiting
        if surplus > 0:
            self.n_skipped += self.ring.skip(surplus)
        first = self.ring.n_read
        n = self.ring.read_into(out[:, 0])
        out[n:, 0] = 0
        for channel in range(1, out.shape[1]):
            out[:, channel] = out[:, 0]
        if n:
            if underflow or surplus > 0 or self._dry:
                self.timeline.restart()
            self.timeline.add(first, heard_s)
            self._began = True
        if self._began and not self.ending:
            dry = n < len(out)
            self.underflows += bool(underflow) or (dry and not self._dry)
            self._dry = dry


class SoundCard:
    """Opens the devices on ``__enter__`` and closes them on ``__exit__``.

    Attributes:
        capture, playback: the two sides; None for one that was not asked for.
    """

    def __init__(
        self,
        rate_hz: int,
        *,
        microphone: bool = True,
        speaker: bool = True,
        input_device: str | None = None,
        output_device: str | None = None,
        burst_s: float = 0.0,
        latency_ms: float = LATENCY_MS,
        clock: Clock = monotonic,
    ) -> None:
        """Choose devices and rates; nothing is opened yet.

        Args:
            rate_hz: the rate that we would like; a device that cannot do it runs at its own.
            microphone, speaker: which sides are needed.
            input_device, output_device: see `devices.choose`.
            burst_s: how much sound may come to the speaker at once.
            latency_ms: what each device is asked to buffer; with too little it stutters.
            clock: to notice a card that has stopped.

        Raises:
            DeviceError: a device is missing, or its name is not clear.
        """
        devices = list_devices()
        self._audio = portaudio()
        self._clock = clock
        self._latency_s = latency_ms / 1000
        self._input = choose(devices, input_device, "input") if microphone else None
        self._output = choose(devices, output_device, "output") if speaker else None
        self.capture = Capture(self._rate(self._input, "input", rate_hz)) if self._input else None
        self.playback = Playback(self._rate(self._output, "output", rate_hz), burst_s) if self._output else None
        self._streams: dict[Direction, Any] = {}
        self._finished: set[Direction] = set()
        self._heard_of: dict[Direction, tuple[int, float]] = {}  # calls so far, and when that number last changed

    @property
    def names(self) -> tuple[str | None, str | None]:
        """The microphone's and the speaker's name."""
        return (self._input.name if self._input else None, self._output.name if self._output else None)

    @property
    def latency_ms(self) -> tuple[float, float]:
        """What the open devices report as their own delay, (microphone, speaker), in milliseconds."""
        into = out = 0.0
        for direction, stream in self._streams.items():
            if direction == "input":
                into = stream.latency
            else:
                out = stream.latency
        return 1000 * into, 1000 * out

    def check(self) -> None:
        """Raises DeviceError: a side has stopped, as it does when it is unplugged."""
        now_s = self._clock()
        sides: tuple[tuple[Direction, Device | None, Capture | Playback | None], ...] = (
            ("input", self._input, self.capture),
            ("output", self._output, self.playback),
        )
        for direction, device, side in sides:
            if device is None or side is None:
                continue
            n_calls, since_s = self._heard_of.get(direction, (0, now_s))
            if side.n_calls != n_calls:
                n_calls, since_s = side.n_calls, now_s
            self._heard_of[direction] = n_calls, since_s
            if direction in self._finished or now_s - since_s > (STALLED_S if n_calls else STARTING_S):
                raise DeviceError(f"the {ROLE[direction]} {device.name!r} stopped; connect it again and start anew")

    def __enter__(self) -> SoundCard:
        try:
            self._open()
            for stream in self._streams.values():
                stream.start()
        except self._audio.PortAudioError as error:
            self._close()
            who = " and ".join(repr(name) for name in self.names if name)
            raise DeviceError(
                f"{who} cannot be opened ({portaudio_reason(error)}); is another program using it?"
            ) from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _rate(self, device: Device, direction: Direction, wanted_hz: int) -> int:
        settings = {"device": device.index, "channels": 1, "dtype": "float32", "samplerate": wanted_hz}
        check = self._audio.check_input_settings if direction == "input" else self._audio.check_output_settings
        try:
            check(**settings)
        except (self._audio.PortAudioError, ValueError):
            return device.rate_hz
        return wanted_hz

    def _open(self) -> None:
        common = {"dtype": "float32", "latency": self._latency_s}
        if self._input and self.capture:
            self._streams["input"] = self._audio.InputStream(
                self.capture.rate_hz,
                device=self._input.index,
                channels=1,
                callback=self._record,
                finished_callback=partial(self._finished.add, "input"),
                **common,
            )
        if self._output and self.playback:
            self._streams["output"] = self._audio.OutputStream(
                self.playback.rate_hz,
                device=self._output.index,
                channels=min(2, self._output.output_channels),
                callback=self._play,
                finished_callback=partial(self._finished.add, "output"),
                **common,
            )

    def _close(self) -> None:
        """Stop at once; a device that is gone must not keep us from leaving."""
        while self._streams:
            stream = self._streams.popitem()[1]
            stream.abort(ignore_errors=True)
            stream.close(ignore_errors=True)

    # ---- the sound card's thread ---------------------------------------------------------------------------

    def _record(self, indata: NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
        assert self.capture is not None
        self.capture.take(indata, time.inputBufferAdcTime, status.input_overflow, status.input_underflow)

    def _play(self, outdata: NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
        assert self.playback is not None
        self.playback.give(outdata, time.outputBufferDacTime, status.output_underflow)
