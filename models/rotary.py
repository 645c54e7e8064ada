"""Angles of rotary positions (RoFormer, arXiv 2104.09864), by numpy in double precision, for every backend.

Only differences of positions reach a score. Torch counts them from the oldest step that is kept; the graphs count from the
start of a stream, and compute each angle in double precision.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .talker_config import ROTARY_BASE


def frequencies(head_width: int) -> NDArray[np.float64]:
    """Radians a step, [head_width / 2], fastest first."""
    pairs = head_width // 2
    return ROTARY_BASE ** (-np.arange(pairs) / pairs)


@lru_cache(maxsize=64)
def rotary_table(n: int, head_width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines of positions 0 ... n - 1, each [n, head_width / 2]. Component i pairs with i + head_width / 2."""
    angle = np.arange(n)[:, None] * frequencies(head_width)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
