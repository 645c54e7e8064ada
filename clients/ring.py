"""A ring of samples between a sound card's thread and ours: one writer, one reader, no lock, no growth."""

from __future__ import annotations

import numpy as np

from sottovoce.stream.frames import Pcm


class Ring:
    """Holds up to ``capacity`` float32 samples, allocated once.

    Exactly one thread writes and exactly one reads. Each side moves only its own counter, and moves it last, so
    that the other never sees samples that are not there; CPython makes the integer's exchange atomic.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a ring holds at least one sample, not {capacity}")
        self._samples = np.zeros(capacity, np.float32)
        self._written = 0
        self._read = 0

    @property
    def capacity(self) -> int:
        """Most samples that it can hold."""
        return len(self._samples)

    @property
    def n_waiting(self) -> int:
        """Samples that can be read now."""
        return self._written - self._read

    @property
    def n_written(self) -> int:
        """Samples ever written."""
        return self._written

    @property
    def n_read(self) -> int:
        """Samples ever read or skipped."""
        return self._read

    def write(self, block: Pcm) -> int:
        """Copy in as much of ``block`` as there is room for; returns how many samples that was."""
        n = min(len(block), self.capacity - self.n_waiting)
        at = self._written % self.capacity
        first = min(n, self.capacity - at)
        self._samples[at : at + first] = block[:first]
        self._samples[: n - first] = block[first:n]
        self._written += n
        return n

    def read_into(self, out: Pcm) -> int:
        """Fill ``out`` from its start with what is there; returns how many samples that was."""
        n = min(len(out), self.n_waiting)
        at = self._read % self.capacity
        first = min(n, self.capacity - at)
        out[:first] = self._samples[at : at + first]
        out[first:n] = self._samples[: n - first]
        self._read += n
        return n

    def read(self) -> Pcm:
        """Everything that is there, as a copy."""
        out = np.empty(self.n_waiting, np.float32)
        return out[: self.read_into(out)]

    def skip(self, n_samples: int) -> int:
        """Throw away up to ``n_samples`` of the oldest, from the reading side; returns how many."""
        n = min(n_samples, self.n_waiting)
        self._read += n
        return n
