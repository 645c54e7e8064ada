"""Sound with what quality checks look for: syllables with harmonics and hiss over the whole band, pauses, a faint floor."""

import numpy as np
from numpy.typing import NDArray


def utterance(seconds: float, seed: int, rate_hz: int = 24_000, floor: float = 3e-4) -> NDArray[np.float32]:
    """[T] float32, other syllables for each ``seed``, active level about -20 dBFS over a noise floor of -70."""
    random = np.random.default_rng(seed)
    n = int(seconds * rate_hz)
    sound = random.normal(0, floor, n)
    at = int(0.3 * rate_hz)
    while at < n - int(0.5 * rate_hz):
        length = int(random.uniform(0.12, 0.3) * rate_hz)
        t = np.arange(length) / rate_hz
        pitch_hz = random.uniform(90, 250)
        tilt = random.uniform(0.8, 1.6)
        harmonics = range(1, int(0.45 * rate_hz / pitch_hz))
        syllable = sum(np.sin(2 * np.pi * k * pitch_hz * t + random.uniform(0, 6.28)) / k**tilt for k in harmonics)
        hiss = random.normal(0, random.uniform(0.05, 0.5), length)
        sound[at : at + length] += (
            0.06 * (syllable + hiss)[: n - at] * np.sin(np.pi * np.arange(length) / length)[: n - at]
        )
        at += length + int(random.uniform(0.02, 0.12) * rate_hz)
    return sound.clip(-0.95, 0.95).astype(np.float32)
