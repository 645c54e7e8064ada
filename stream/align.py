"""Puts decoded sound back in line with its original: delay cut off in front, padding behind."""

from __future__ import annotations

import numpy as np

from .frames import Pcm


class Trim:
    """Takes the codec's output; gives sample i of the original as its i-th sample. Sans I/O.

    It holds back ``frame_samples`` samples, as only the end tells how many of them are padding.
    """

    def __init__(self, delay_samples: int, frame_samples: int) -> None:
        self._skip = delay_samples
        self._hold = frame_samples
        self._held: Pcm = np.zeros(0, np.float32)
        self._given = 0

    def push(self, pcm: Pcm) -> Pcm:
        """The samples that are sure after ``pcm`` [n]: [m], m may be 0."""
        skipped = min(self._skip, len(pcm))
        self._skip -= skipped
        joined = np.concatenate([self._held, pcm[skipped:]])
        sure = max(len(joined) - self._hold, 0)
        self._held = joined[sure:]
        self._given += sure
        return joined[:sure]

    def finish(self, n_samples: int | None) -> Pcm:
        """The rest, so that ``n_samples`` have been given in all; None: everything that is left.

        A stream that was cut off gives what there is; it is not filled up.

        Raises:
            ValueError: more than ``n_samples`` have been given already; the end had more than a frame of padding.
        """
        rest = self._held
        if n_samples is not None:
            if n_samples < self._given:
                raise ValueError(f"{self._given} samples of {n_samples} have been given already")
            rest = rest[: n_samples - self._given]
        self._held = self._held[:0]
        self._given += len(rest)
        return rest
