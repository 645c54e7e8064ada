"""Front end and inverse STFT in plain numpy, for runtimes without torch: ``LogMel`` and ``InverseSTFT``, one batch a call."""

import numpy as np
from numpy.typing import NDArray

from .bands import hann, slaney_filterbank
from .config import STFT_OVERLAP, MelConfig

Array = NDArray[np.float32]


class NumpyLogMel:
    """Samples to log-mel frames (see ``mel.py``)."""

    def __init__(self, config: MelConfig) -> None:
        self.config = config
        self._window = hann(config.n_fft)
        self._spread = np.ascontiguousarray(slaney_filterbank(config).T)

    def initial_state(self, batch: int) -> Array:
        """Silence: zeros [batch, n_fft - hop]."""
        return np.zeros((batch, self.config.n_fft - self.config.hop), np.float32)

    def __call__(self, pcm: Array, past: Array) -> tuple[Array, Array]:
        """pcm [B, n * hop] -> mel [B, n, M] in natural-log units, and the next state."""
        joined = np.concatenate([past, pcm], axis=1, dtype=np.float32)
        hop, steps = self.config.hop, pcm.shape[1] // self.config.hop
        by_row, by_sample = joined.strides
        strides = (by_row, hop * by_sample, by_sample)
        frames = np.ndarray(
            (len(joined), steps, self.config.n_fft), np.float32, joined, 0, strides
        )  # a view, cheaply made
        magnitude = np.abs(np.fft.rfft(frames * self._window)).astype(np.float32, copy=False)
        mel = magnitude @ self._spread
        np.log(np.maximum(mel, np.float32(self.config.floor), out=mel), out=mel)
        return mel, joined[:, joined.shape[1] - past.shape[1] :]


class NumpyInverseSTFT:
    """Spectra of overlapping frames to samples (see ``vocos.py``)."""

    def __init__(self, hop: int) -> None:
        self.hop, self.length = hop, STFT_OVERLAP * hop
        window = hann(self.length)
        self._window = window / np.square(window).reshape(STFT_OVERLAP, hop).sum(0).mean()

    def initial_state(self, batch: int) -> Array:
        """Zeros [batch, (overlap - 1) * hop]: what finished frames still add to the next samples."""
        return np.zeros((batch, self.length - self.hop), np.float32)

    def __call__(self, spectrum: NDArray[np.complex64], owed: Array) -> tuple[Array, Array]:
        """spectrum [B, T, bins] -> samples [B, T * hop], and the next state."""
        frames = np.fft.irfft(spectrum, n=self.length).astype(np.float32, copy=False)
        frames *= self._window
        batch, steps = frames.shape[:2]
        pieces = frames.reshape(batch, steps, STFT_OVERLAP, self.hop)
        total = np.zeros((batch, steps + STFT_OVERLAP - 1, self.hop), np.float32)
        total[:, : STFT_OVERLAP - 1] = owed.reshape(batch, -1, self.hop)
        for i in reversed(range(STFT_OVERLAP)):  # oldest first, however many come at once
            total[:, i : i + steps] += pieces[:, :, i]
        return total[:, :steps].reshape(batch, -1), total[:, steps:].reshape(batch, -1)
