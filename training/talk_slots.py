"""Where in time a symbol belongs: from seconds of sound to whole mel slots, the one rule that all training data keep.

Slot k is mel frame k. Its window is the last ``n_fft`` samples up to the end of hop k, so what it describes lies around
the window's middle, sample (k + 1) * hop - n_fft / 2. A symbol owns the slots whose middles lie within it. Code frame t is
made of slots t * mels_per_frame and on, so whatever delay the codec's encoder had would be added here.

    sound       |<s>        h     e     l     l     o     <s>|
    middles   x   x   x   x   x   x   x   x   x   x   x   x   x   x     the first and last ones lie outside the sound
"""

import numpy as np
from numpy.typing import NDArray

from sottovoce.models.config import MelConfig, Preset

Slots = NDArray[np.int64]


def n_slots(n_samples: int, preset: Preset, delay: int = 0) -> int:
    """How many slots it takes until all of ``n_samples`` have been described, a whole number of code frames."""
    heard = -(-(n_samples + preset.mel.n_fft // 2 + delay) // preset.mel.hop)
    return -(-heard // preset.mels_per_frame) * preset.mels_per_frame


def slot_at(sample: int | NDArray[np.int64], mel: MelConfig, delay: int = 0) -> Slots:
    """The first slot whose middle lies at ``sample`` or later, int64, never negative."""
    ends = np.asarray(sample, np.int64) + mel.n_fft // 2 + delay
    return np.maximum(-(-ends // mel.hop) - 1, 0)


def middle_s(slot: NDArray[np.int64], mel: MelConfig) -> NDArray[np.float64]:
    """The second that each slot describes."""
    return ((slot + 1) * mel.hop - mel.n_fft / 2) / mel.rate_hz


def slots_of(durations_s: NDArray[np.float64], total: int, mel: MelConfig, delay: int = 0) -> Slots:
    """Slots [P] of symbols that last ``durations_s`` [P], one after the other from the sound's beginning.

    The last one goes on to the end, so that they add up to ``total``. Ends are rounded, not durations: errors never add up.

    Raises:
        ValueError: a duration is negative or not finite, there is none, or they do not fit into ``total``.
    """
    if not len(durations_s) or not np.isfinite(durations_s).all() or durations_s.min() < 0:
        raise ValueError("durations that are missing, negative or not finite")
    ends = slot_at(np.rint(np.cumsum(durations_s) * mel.rate_hz).astype(np.int64), mel, delay)
    if ends[-1] > total or (len(ends) > 1 and ends[-2] > total):
        raise ValueError(f"durations take {int(ends[-1])} slots, the sound has {total}")
    ends[-1] = total
    return np.diff(ends, prepend=0)
