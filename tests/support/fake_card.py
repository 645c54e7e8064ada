"""A sound card as the ``sounddevice`` module shows it, in virtual time: callbacks, and no sound."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .virtual_time import now_s

BLOCK_S = 0.01
LATENCY_S = 0.02
"""What each side buffers, and says that it does."""


class PortAudioError(Exception):
    pass


class Stream:
    """One side. While it runs, every ``BLOCK_S`` of its own clock the callback has its turn."""

    def __init__(self, samplerate: int, callback: Callable[..., None], finished_callback: Callable[[], None],
                 channels: int, is_input: bool, **_: Any) -> None:  # fmt: skip
        self.latency = LATENCY_S
        self.ppm = 0.0
        "How much faster its clock runs than ours."
        self.hears: Callable[[NDArray[np.float64]], NDArray[np.float32]] = np.zeros_like
        "What there is to record at each of these times."
        self.heard: list[tuple[float, NDArray[np.float32]]] = []
        "What was played, and when it was to be heard."
        self.xrun = False
        "Whether the next block is told to come after a loss."
        self._rate_hz = samplerate
        self._callback = callback
        self._finished = finished_callback
        self._channels = channels
        self._is_input = is_input
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """It is heard of no more, as a device whose driver hangs."""
        assert self._task
        self._task.cancel()

    def unplug(self) -> None:
        """It ends, and says so."""
        self.stop()
        self._finished()

    def abort(self, ignore_errors: bool) -> None:
        if self._task:
            self._task.cancel()

    def close(self, ignore_errors: bool) -> None:
        pass

    async def _run(self) -> None:
        n = round(BLOCK_S * self._rate_hz)
        while True:
            status = SimpleNamespace(input_overflow=self.xrun, input_underflow=False, output_underflow=self.xrun)
            self.xrun = False
            if self._is_input:
                await asyncio.sleep(BLOCK_S / (1 + self.ppm * 1e-6))
                captured_s = now_s() - n / self._rate_hz - LATENCY_S
                block = self.hears(captured_s + np.arange(n) / self._rate_hz).astype(np.float32)
                self._callback(block[:, None], n, SimpleNamespace(inputBufferAdcTime=captured_s), status)
            else:
                out = np.full((n, self._channels), np.nan, np.float32)
                heard_s = now_s() + LATENCY_S
                self._callback(out, n, SimpleNamespace(outputBufferDacTime=heard_s), status)
                self.heard.append((heard_s, out[:, 0].copy()))
                await asyncio.sleep(BLOCK_S / (1 + self.ppm * 1e-6))


class FakeAudio:
    """Stands for the module: one microphone, one speaker."""

    PortAudioError = PortAudioError
    default = SimpleNamespace(device=(0, 1))

    def __init__(self) -> None:
        self.microphone: Stream | None = None
        self.speaker: Stream | None = None

    def query_hostapis(self) -> list[dict[str, str]]:
        return [{"name": "air"}]

    def query_devices(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "hostapi": 0, "max_input_channels": inputs, "max_output_channels": outputs,
             "default_samplerate": 48_000.0}
            for name, inputs, outputs in (("mic", 1, 0), ("ear", 0, 2))
        ]  # fmt: skip

    def check_input_settings(self, **_: Any) -> None:
        pass

    def check_output_settings(self, **_: Any) -> None:
        pass

    def InputStream(self, samplerate: int, **options: Any) -> Stream:
        self.microphone = Stream(samplerate, is_input=True, **options)
        return self.microphone

    def OutputStream(self, samplerate: int, **options: Any) -> Stream:
        self.speaker = Stream(samplerate, is_input=False, **options)
        return self.speaker
