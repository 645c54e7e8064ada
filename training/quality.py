"""What can be measured of one clip: level, noise, clipping, silence, bandwidth, and a fingerprint.

Nothing here decides: ``quality_rules`` does. Sound is float32 [T] at 24 kHz unless a name says otherwise.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 24_000
FRAME = RATE_HZ // 50  # 20 ms
N_FFT = 1024
SILENCE_DB = -100.0

MARGIN_DB = 15.9  # of ITU-T P.56: what lies further below the active level is a pause
TRIM_DB = 35.0  # below the active level, or
TRIM_ABOVE_FLOOR_DB = 6.0  # this far above the noise, whichever is higher, but never closer than
TRIM_LEAST_DB = 20.0  # to the active level
CLIPPED_STEP = 2 / 32768  # neighbours that differ by less, at the very peak, are a flat top
BANDWIDTH_DROP_DB = 54.0  # below the strongest frequency; parts 8 kHz from 11 kHz sources in all voices it was tried on

Sound = NDArray[np.float32]
Reals = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Measures:
    """One clip in figures, before it is levelled."""

    rate_hz: int
    "Of the file."
    channels: int
    format: str
    "Container and encoding of the file."
    seconds: float
    "After trimming."
    trimmed_s: float
    level_db: float
    "Active level in dBFS."
    gain_db: float
    "What levelling did."
    snr_db: float
    "Active level above the quietest tenth."
    clipped: float
    "Share of samples in flat tops."
    silence: float
    "Share of pauses, after trimming."
    bandwidth_hz: float
    "Highest frequency that holds sound."
    fingerprint: str
    "256 bits in hex, much alike for copies of one recording."


def decibels(power: Reals) -> Reals:
    """10 log10, not below SILENCE_DB."""
    levels: Reals = 10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))
    return levels


def frame_powers(pcm: Sound) -> Reals:
    """Mean power of each whole 20 ms, at least one."""
    if len(pcm) < FRAME:
        return np.array([np.mean(pcm.astype(np.float64) ** 2)]) if len(pcm) else np.zeros(1)
    frames = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)
    powers: Reals = np.mean(frames.astype(np.float64) ** 2, axis=1)
    return powers


def active_level(powers: Reals) -> float:
    """Level of the speech without its pauses, in dBFS, after ITU-T P.56 (method B) on 20 ms powers, without its hangover.

    The level is the mean of all frames above a threshold that lies MARGIN_DB below that mean.
    """
    loudest_first = np.sort(powers)[::-1]
    means = np.cumsum(loudest_first) / np.arange(1, len(loudest_first) + 1)
    below = decibels(means) - decibels(loudest_first) >= MARGIN_DB
    last = int(np.argmax(below)) if below.any() else len(below) - 1
    return float(decibels(means[last]))


def noise_floor(powers: Reals) -> float:
    """Mean level of the quietest tenth, in dBFS."""
    levels = np.sort(decibels(powers))
    return float(levels[: max(1, len(levels) // 10)].mean())


def speech_threshold(level_db: float, floor_db: float) -> float:
    """What is above it, in dBFS, is taken for speech."""
    return min(max(level_db - TRIM_DB, floor_db + TRIM_ABOVE_FLOOR_DB), level_db - TRIM_LEAST_DB)


def clipped_share(pcm: Sound) -> float:
    """Share of samples in runs of four and more that stand still at the clip's own peak, at any rate and gain."""
    peak = float(np.abs(pcm).max(initial=0.0))
    if len(pcm) < 4 or peak < 1e-3:
        return 0.0
    still = (np.abs(np.diff(pcm)) <= CLIPPED_STEP * min(1.0, peak)) & (np.abs(pcm[1:]) > 0.98 * peak)
    return float((still[2:] & still[1:-1] & still[:-2]).mean())


def spectrum(pcm: Sound) -> Reals:
    """Power [frames, N_FFT // 2 + 1] of Hann windows, half overlapping."""
    if len(pcm) < N_FFT:
        pcm = np.pad(pcm, (0, N_FFT - len(pcm)))
    windows = np.lib.stride_tricks.sliding_window_view(pcm, N_FFT)[:: N_FFT // 2]
    power: Reals = np.abs(np.fft.rfft(windows * np.hanning(N_FFT).astype(np.float32))) ** 2
    return power


def bandwidth(power: Reals) -> float:
    """Highest frequency in Hz within BANDWIDTH_DROP_DB of the strongest, over the louder windows of ``spectrum``."""
    loudness = decibels(power.sum(1))
    heard = power[loudness >= loudness.max() - 40]
    often = np.percentile(heard, 95, axis=0)
    often = decibels(often / max(float(often.max()), 1e-30))
    smooth = np.convolve(np.pad(often, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    return float(np.flatnonzero(smooth >= smooth.max() - BANDWIDTH_DROP_DB)[-1] * RATE_HZ / N_FFT)


def fingerprint(power: Reals) -> str:
    """256 bits: in which of 16 pairs of bands, at which of 16 times, loudness shifts upwards.

    After Haitsma and Kalker, A Highly Robust Audio Fingerprinting System (2002), but one print for the whole clip.
    """
    edges = np.round(np.geomspace(200, 7_000, 18) * N_FFT / RATE_HZ).astype(int)
    bands = np.add.reduceat(power, edges, axis=1)[:, :17]
    times = np.linspace(0, len(bands), 18).astype(int)
    blocks = decibels(np.stack([bands[a : max(a + 1, b)].mean(0) for a, b in pairwise(times)]))
    shifts = np.diff(np.diff(blocks, axis=0), axis=1)  # [16, 16]
    return np.packbits(shifts > 0).tobytes().hex()
