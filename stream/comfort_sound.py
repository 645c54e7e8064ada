"""Comfort noise: the background of a peer who does not speak, made from its description. No models, no I/O.

Blocks of noise with random phases, shaped in bands, overlap by half under a sine window: independent blocks then keep
their power.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .comfort_noise import BANDS, ComfortNoise, band_edges_hz
from .descriptor import Descriptor
from .frames import Pcm
from .play_frame import PlayFrame

_MOST_DB = -36.0
"""Of a band: a background is quiet, whatever a peer says of its own."""
_BLOCKS = 16
_STEP_S = 0.005
"""How long it takes to even out the step where vocoded sound breaks off."""


class ComfortSound:
    """Keeps a quiet background under one remote talker, so that pauses and gaps are not dead."""

    def __init__(self, descriptor: Descriptor, seed: int = 0) -> None:
        n = descriptor.frame_samples
        frequencies_hz = np.fft.rfftfreq(2 * n, 1 / descriptor.rate_hz)
        band = np.clip(np.searchsorted(band_edges_hz(descriptor.rate_hz), frequencies_hz, "right") - 1, 0, BANDS - 1)
        self._band = band[1:-1]  # neither a constant nor half of the rate
        bins = np.maximum(np.bincount(self._band, minlength=BANDS), 1)
        self._per_bin = 2 * n / np.sqrt(4 * bins[self._band])  # makes the bands' mean squares what the description says
        self._window = np.sin(np.pi * (np.arange(2 * n) + 0.5) / (2 * n))
        self._tail = np.zeros(n)  # the second half of the last block
        self._random = np.random.default_rng(seed)
        self._of: ComfortNoise | None = None  # what the next are made of
        self._blocks: list[NDArray[np.float64]] = []
        self._gain = 0.0
        self._ends_at = 0.0  # the last sample of vocoded sound
        self._n = n
        self._step = np.linspace(1, 0, min(n, max(round(_STEP_S * descriptor.rate_hz), 1)))

    def under(self, pcm: Pcm | None, frame: PlayFrame) -> Pcm:
        """One frame [frame_samples] of sound.

        Args:
            pcm: what ``frame`` became, vocoded and faded, [frame_samples]; None for silence.
            frame: as pulled; the background comes up as far as it is faded, and goes when speech is back.

        Raises:
            ValueError: ``pcm`` has another length.
        """
        if pcm is not None and len(pcm) != self._n:
            raise ValueError(f"a frame has {self._n} samples, not {len(pcm)}")
        gain = math.sqrt(1 - 10 ** (-frame.attenuation_db / 10)) if frame.attenuation_db > 0 else 0.0
        sound = np.zeros(self._n) if pcm is None else pcm.astype(np.float64)
        if pcm is None:
            sound[: len(self._step)] = self._ends_at * self._step
            self._ends_at = 0.0
        else:
            self._ends_at = float(pcm[-1])
        if gain or self._gain or self._tail.any():
            sound += np.linspace(self._gain, gain, self._n) * self._noise(frame.background if gain else None)
        self._gain = gain
        return np.clip(sound, -1, 1).astype(np.float32)

    def _noise(self, background: ComfortNoise | None) -> NDArray[np.float64]:
        """The next [frame_samples], in levels that follow the description within a frame; None fades out."""
        if background is None:
            sound, self._tail = self._tail, np.zeros(self._n)
            return sound
        if not self._tail.any():
            self._tail = self._block(background)[self._n :]
        block = self._block(background)
        sound, self._tail = self._tail + block[: self._n], block[self._n :]
        return sound

    def _block(self, background: ComfortNoise) -> NDArray[np.float64]:
        """[2 * frame_samples] under the window. A few are used over and over: making each anew would take most of the time."""
        if background is not self._of:
            self._of, self._blocks = background, []
        if len(self._blocks) == _BLOCKS:
            return self._blocks[int(self._random.integers(_BLOCKS))]
        amplitude = 10 ** (np.minimum(background.levels_db, _MOST_DB) / 20)
        noise = self._random.standard_normal((2, self._n - 1))
        spectrum = np.zeros(self._n + 1, complex)
        spectrum[1:-1] = (noise[0] + 1j * noise[1]) * amplitude[self._band] * self._per_bin
        self._blocks.append(np.fft.irfft(spectrum) * self._window)
        return self._blocks[-1]
