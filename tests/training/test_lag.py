"""Delay is found, and taken out, whatever the codec does to the waveform."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from sottovoce.training.lag import aligned, lag_samples, median_lag

RATE_HZ = 16_000
CLIP = Path(__file__).parents[2] / "clients" / "demo.flac"


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    pcm, rate_hz = soundfile.read(CLIP, dtype="float32")
    resampled: NDArray[np.float32] = soxr.resample(pcm[: 4 * rate_hz], rate_hz, RATE_HZ)
    return resampled


def late(pcm: NDArray[np.float32], lag: int) -> NDArray[np.float32]:
    return np.concatenate([np.zeros(lag, np.float32), pcm]) if lag >= 0 else pcm[-lag:]


@pytest.mark.parametrize("lag", [0, 1, 333, 1600, -80])
def test_a_delayed_copy_is_found_to_the_sample(speech: NDArray[np.float32], lag: int) -> None:
    random = np.random.default_rng(0)
    copy = late(speech, lag)
    noisy = -0.5 * copy + random.normal(0, 0.005, len(copy)).astype(np.float32)  # quieter, turned over, noisy
    assert lag_samples(speech, noisy, RATE_HZ) == lag


@pytest.mark.parametrize("lag", [0, 400, 1200])
def test_sound_whose_waveform_is_lost_is_found_by_its_envelopes(speech: NDArray[np.float32], lag: int) -> None:
    noise = np.random.default_rng(0).normal(0, 1, len(speech))
    bands = [(100, 700), (700, 1500), (1500, 2500), (2500, 3900)]
    copy = np.zeros(len(speech))
    for low, high in bands:  # noise with the envelope of each band: what a channel vocoder makes
        hz = np.fft.rfftfreq(len(speech), 1 / RATE_HZ)
        mask = (hz >= low) & (hz < high)
        envelope = np.abs(np.fft.ifft(2 * np.fft.rfft(speech) * mask, len(speech)))  # of the analytic signal
        copy += envelope * np.fft.irfft(np.fft.rfft(noise) * mask, len(speech))
    found = lag_samples(speech, late(copy.astype(np.float32), lag), RATE_HZ)
    assert abs(found - lag) <= 3 * RATE_HZ // 1000


def test_one_clip_that_misleads_does_not_move_the_others(speech: NDArray[np.float32]) -> None:
    good = (speech, late(speech, 100))
    noise = np.random.default_rng(0).normal(0, 0.1, len(speech)).astype(np.float32)
    assert median_lag([good, (speech, noise), good], RATE_HZ) == 100


@pytest.mark.parametrize("lag", [0, 5, -5])
def test_what_was_moved_back_is_the_original(speech: NDArray[np.float32], lag: int) -> None:
    back = aligned(late(speech, lag), lag, len(speech))
    assert len(back) == len(speech)
    inner = slice(max(-lag, 0), len(speech))
    assert np.array_equal(back[inner], speech[inner])


def test_silence_has_no_lag(speech: NDArray[np.float32]) -> None:
    assert lag_samples(speech, np.zeros_like(speech), RATE_HZ) == 0
    assert lag_samples(np.zeros_like(speech), speech, RATE_HZ) == 0
