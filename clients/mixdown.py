"""Any number of channels in, one out. Weights are positive and sum to one, so that the sum cannot clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sottovoce.stream.frames import Pcm

_SIDE = 0.5**0.5
_SURROUND = {
    # WAVE channel order; the centre carries speech, the low-frequency channel is left out (ITU-R BS.775)
    5: (_SIDE, _SIDE, 1.0, 0.5, 0.5),  # L R C Ls Rs
    6: (_SIDE, _SIDE, 1.0, 0.0, 0.5, 0.5),  # L R C LFE Ls Rs: 5.1
    8: (_SIDE, _SIDE, 1.0, 0.0, 0.5, 0.5, 0.5, 0.5),  # L R C LFE Lb Rb Ls Rs: 7.1
}


def weights(channels: int) -> Pcm:
    """What each channel counts for, float32 [channels]: surround layouts as above, else all the same."""
    if channels < 1:
        raise ValueError(f"a sound has at least one channel, not {channels}")
    share = np.array(_SURROUND.get(channels, (1.0,) * channels))
    return np.asarray(share / share.sum(), np.float32)


def mix_down(sound: NDArray[np.float32]) -> Pcm:
    """Mono float32 [n] of ``sound`` [n, channels]."""
    if sound.shape[1] == 1:
        return sound[:, 0]
    return np.asarray(sound @ weights(sound.shape[1]), np.float32)
