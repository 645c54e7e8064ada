"""Change the sample rate of a stream, block by block, with soxr. Blocks do not matter to the result."""

from __future__ import annotations

from typing import Literal

import numpy as np
import soxr

from .frames import Pcm

Quality = Literal["file", "live"]
"""``file``: nothing audible is lost. ``live``: a few milliseconds of delay instead of tens, good for speech."""
_RECIPE: dict[Quality, str] = {"file": "HQ", "live": "LQ"}


class Resampler:
    """A stream at ``in_hz`` in, the same at ``out_hz`` out; does nothing where they are equal."""

    def __init__(self, in_hz: int, out_hz: int, quality: Quality = "file") -> None:
        """Raises ValueError: a rate is not positive, or soxr cannot convert between the two."""
        if in_hz < 1 or out_hz < 1:
            raise ValueError(f"sample rates must be positive, not {in_hz} and {out_hz}")
        self._soxr: soxr.ResampleStream | None = None
        if in_hz != out_hz:
            try:
                self._soxr = soxr.ResampleStream(in_hz, out_hz, 1, dtype="float32", quality=_RECIPE[quality])
            except RuntimeError as error:
                raise ValueError(f"cannot resample {in_hz} Hz to {out_hz} Hz: {error}") from error

    def push(self, block: Pcm) -> Pcm:
        """What follows in the output, float32 [m], for float32 [n] more of the input; m may be 0."""
        if self._soxr is None:
            return block
        return np.asarray(self._soxr.resample_chunk(block), np.float32)

    def finish(self) -> Pcm:
        """The rest of the output. Altogether it is as long as the input, to the sample. Push nothing after it."""
        if self._soxr is None:
            return np.zeros(0, np.float32)
        return np.asarray(self._soxr.resample_chunk(np.zeros(0, np.float32), last=True), np.float32)
