"""The frequency axis in plain numpy: Slaney's mel bands, and what they say of the bins of another transform."""

import math

import numpy as np
from numpy.typing import NDArray

from .config import MelConfig

Matrix = NDArray[np.float32]


def slaney_filterbank(config: MelConfig) -> Matrix:
    """Triangular mel bands [M, n_fft // 2 + 1] (Slaney's Auditory Toolbox: linear below 1 kHz, logarithmic above)."""
    step_hz, knee_hz, log_step = 200.0 / 3, 1000.0, math.log(6.4) / 27
    knee_mel = knee_hz / step_hz
    top_mel = knee_mel + math.log(config.rate_hz / 2 / knee_hz) / log_step
    mels = np.linspace(0, top_mel, config.n_mels + 2)
    edges_hz = np.where(mels < knee_mel, mels * step_hz, knee_hz * np.exp((mels - knee_mel) * log_step))
    bins_hz = np.linspace(0, config.rate_hz / 2, config.n_fft // 2 + 1)
    widths = np.diff(edges_hz)
    ramps = edges_hz[:, None] - bins_hz  # [M + 2, bins]
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    triangles = np.maximum(np.minimum(rising, falling), 0)
    area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return (triangles * area[:, None]).astype(np.float32)


def outline(config: MelConfig, bins: int) -> Matrix:
    """[M, bins]: what takes log-mel to its interpolation at ``bins`` frequencies from zero to half the rate."""
    centres = slaney_filterbank(config).argmax(-1) / config.n_fft  # of the bands, in cycles a sample
    at = np.linspace(0, 0.5, bins)
    above = np.clip(np.searchsorted(centres, at), 1, config.n_mels - 1)
    low, high = centres[above - 1], centres[above]
    share = np.clip((at - low) / np.maximum(high - low, 1e-6), 0, 1)
    weight = np.zeros((config.n_mels, bins), np.float32)
    weight[above - 1, np.arange(bins)] = 1 - share
    weight[above, np.arange(bins)] += share
    return weight


def outline_offset(config: MelConfig, length: int) -> float:
    """What to add to the outline for a window of ``length`` samples: Slaney's norm makes a band the magnitude per Hz, and a
    shorter window sums up less of it."""
    return math.log(config.rate_hz / config.n_fft * length / config.n_fft)


def hann(length: int) -> NDArray[np.float32]:
    """The periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)
