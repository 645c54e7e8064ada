"""How late decoded sound is, so that a comparison with the original does not punish a codec for its delay.

A codec that keeps the waveform is found by the correlation of the samples. A parametric one does not keep it; there the
energies of bands over time are correlated, to a millisecond.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .recordings import Pcm

MOST_S = 0.25
"""The longest delay that is looked for."""
LIKE = 0.5
"""Waveforms that correlate less than this are not the same waveform."""
HOP_MS = 1
WINDOW_MS = 20
N_BANDS = 24


def lag_samples(original: Pcm, decoded: Pcm, rate_hz: int, most_s: float = MOST_S) -> int:
    """By how many samples ``decoded`` [T'] comes later than ``original`` [T]; negative: earlier. Both at ``rate_hz``.

    0 where one of them is silent. A lag beyond ``most_s`` is not looked for.
    """
    if not (original.any() and decoded.any()):
        return 0
    most = round(most_s * rate_hz)
    lag, likeness = _best(original[None].astype(np.float64), decoded[None].astype(np.float64), most)
    if likeness >= LIKE:
        return lag
    hop = rate_hz * HOP_MS // 1000
    bands = [_band_energies(pcm, rate_hz, hop) for pcm in (original, decoded)]
    return _best(bands[0], bands[1], most // hop)[0] * hop


def median_lag(pairs: Sequence[tuple[Pcm, Pcm]], rate_hz: int) -> int:
    """The lag of a codec, whose delay is the same in every clip: the median over (original, decoded)."""
    return round(float(np.median([lag_samples(original, decoded, rate_hz) for original, decoded in pairs])))


def aligned(decoded: Pcm, lag: int, n_samples: int) -> Pcm:
    """``decoded`` moved ``lag`` samples earlier, cut or filled with silence to ``n_samples``."""
    moved = decoded[lag:] if lag >= 0 else np.concatenate([np.zeros(-lag, np.float32), decoded])
    return np.pad(moved[:n_samples], (0, max(n_samples - len(moved), 0)))


def _best(original: NDArray[np.float64], decoded: NDArray[np.float64], most: int) -> tuple[int, float]:
    """Where the rows of both ([rows, T], [rows, T']) correlate most, of lags up to ``most``; and how much, 0 ... 1.

    The sign does not matter: some codecs turn the waveform over.
    """
    original, decoded = (x - x.mean(1, keepdims=True) for x in (original, decoded))
    n = max(original.shape[1] + decoded.shape[1], 2 * most + 1)  # no wrapping round
    spectrum = np.fft.rfft(original, n).conj() * np.fft.rfft(decoded, n)
    by_lag = np.abs(np.fft.irfft(spectrum, n).sum(0))
    lags = np.arange(-most, most + 1)
    best = int(np.argmax(by_lag[lags]))
    power = float(np.sqrt((original**2).sum() * (decoded**2).sum()))
    return int(lags[best]), float(by_lag[lags[best]]) / power if power else 0.0


def _band_energies(pcm: Pcm, rate_hz: int, hop: int) -> NDArray[np.float64]:
    """[bands, T / hop]: log energies in bands that are equally wide up to 4 kHz, where every codec has something."""
    width = rate_hz * WINDOW_MS // 1000
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(pcm, (width // 2, width // 2)), width)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(width))) ** 2
    last = 4000 * width // rate_hz
    bands = np.array_split(power[:, 1:last], N_BANDS, axis=1)
    energies: NDArray[np.float64] = np.log(np.stack([band.sum(1) for band in bands]) + 1e-6)
    return energies
