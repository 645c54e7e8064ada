"""Whether two sounds are the same, in however many frames at a time they were made."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP_16_BITS = 2.0**-15


def assert_same(one: NDArray[Any] | bytes, other: NDArray[Any] | bytes, tolerance: float = 1e-5) -> None:
    """Of floats within ``tolerance``; of bytes, which are samples of 16 bits, and of integers within one step."""
    a, b = (np.frombuffer(x, "<i2") if isinstance(x, bytes) else x for x in (one, other))
    assert a.shape == b.shape
    allowed = 1 if a.dtype.kind == "i" else tolerance
    assert np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0) <= allowed
