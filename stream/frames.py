"""A frame: a piece of the stream on its way from stage to stage, and the knife that cuts blocks into frames.

Knows nothing of channels, devices or models.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.float32]
"""Sound: float32 [n_samples], mono, in [-1, 1]."""
Mel = NDArray[np.float32]
"""Log-mel: float32 [n_mel_frames, n_mels], natural logarithm, floor ``MEL_FLOOR``."""
Codes = NDArray[np.int16]
"""Codes: int16 [n_frames, books], -1 where a book is absent."""

MEL_FLOOR = float(np.log(1e-5))
"""Silence in a log-mel."""

T = TypeVar("T")
U = TypeVar("U")


class Frame(NamedTuple, Generic[T]):
    """One code frame's worth of something (sound, mel, codes), or one packet of codes.

    Many are made of every piece of sound: a tuple is made in a fourth of the time of a frozen dataclass.
    """

    data: T
    seq: int
    "Counts frames from the start of the stream, without wrapping."
    generation: int
    born_s: float
    "When its last sample was captured; ages are measured against this."
    left_s: float = 0.0
    "When the stage before let it go; the delay of a stage is measured against this."
    concealed: bool = False
    "Made up in place of a frame that was lost."
    books: int | None = None
    "Codebooks known of this frame; None where no codes are involved yet."
    attenuation_db: float = 0.0
    "How far the decoder shall fade this frame, for one that was made up."
    due_s: float | None = None
    "When whoever plays it needs it, for what is made ahead of its time; None: a frame's length after ``born_s``."

    def carrying(self, data: U, left_s: float | None = None, **changes: Any) -> Frame[U]:
        """The same moment of the stream with other data."""
        carried: Frame[U] = Frame(
            data,
            self.seq,
            self.generation,
            self.born_s,
            self.left_s if left_s is None else left_s,
            self.concealed,
            self.books,
            self.attenuation_db,
            self.due_s,
        )
        return carried._replace(**changes) if changes else carried


class Reblock:
    """Blocks of any size in, exact frames out. What does not fill a frame waits for the next block."""

    def __init__(self, frame_samples: int) -> None:
        if frame_samples < 1:
            raise ValueError(f"frame_samples must be positive, not {frame_samples}")
        self._frame = np.zeros(frame_samples, np.float32)
        self._filled = 0

    @property
    def pending(self) -> int:
        """Samples that wait for the rest of their frame."""
        return self._filled

    def push(self, block: Pcm) -> Iterator[Pcm]:
        """The frames that ``block`` (float32 [n], any n >= 0) completes, each [frame_samples] and a copy.

        Consume the iterator to its end before pushing again.
        """
        at = 0
        while at < len(block):
            taken = min(len(self._frame) - self._filled, len(block) - at)
            self._frame[self._filled : self._filled + taken] = block[at : at + taken]
            self._filled += taken
            at += taken
            if self._filled == len(self._frame):
                self._filled = 0
                yield self._frame.copy()
