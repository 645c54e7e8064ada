"""Sound that resembles speech, made on the spot."""

import numpy as np
from numpy.typing import NDArray


def voice(seconds: float, pitch_hz: float, rate_hz: int = 24_000) -> NDArray[np.float32]:
    """Harmonics of a gliding pitch under a syllable-like envelope, [T] float32."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * pitch_hz * (t + 0.02 * np.sin(2 * np.pi * 1.3 * t))
    tones = sum(np.sin(k * phase) / k for k in range(1, 20))
    return (0.1 * tones * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t))).astype(np.float32)
