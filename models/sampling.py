"""Choosing a code from its logits: temperature, top-k and seed, the same on every backend.

A choice is the largest of logits + temperature * Gumbel noise among the ``top_k`` largest logits: that is a sample of the
softmax at that temperature (Gumbel 1954; arXiv 1611.00712, section 2), and the argmax at temperature 0. The noise is drawn
here, row by row, and handed to whatever computes the logits, so that a row's codes depend on its own seed alone.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the codes of a row are chosen."""

    temperature: float = 0.8
    top_k: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature {self.temperature} is not a number from 0 on")
        if self.top_k < 1:
            raise ValueError(f"top-k of {self.top_k}")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")


class Noise:
    """Gumbel noise of one row, frame after frame."""

    def __init__(self, sampling: Sampling, books: int, book_size: int) -> None:
        self._temperature = np.float32(sampling.temperature)
        self._random = np.random.default_rng(sampling.seed)
        self._shape = (books, book_size)

    def draw(self, out: NDArray[np.float32]) -> None:
        """Fill ``out`` [Q, V] for the next frame, from 0 to 1; ``gumbel`` makes noise of it. Other threads go on meanwhile."""
        if self._temperature == 0:
            out[...] = 0  # of no meaning: there will be no noise
        else:
            self._random.random(dtype=np.float32, out=out)

    def next(self) -> NDArray[np.float32]:
        """[Q, V] for the next frame, times the temperature."""
        uniform = np.empty(self._shape, np.float32)
        self.draw(uniform)
        return gumbel(uniform, self._temperature)


def gumbel(uniform: NDArray[np.float32], temperature: NDArray[np.float32] | np.float32) -> NDArray[np.float32]:
    """Gumbel noise of numbers from 0 to 1, times the temperature."""
    tiny = np.finfo(np.float32).tiny  # never the logarithm of zero
    noise: NDArray[np.float32] = -temperature * np.log(-np.log(uniform + tiny) + tiny)
    return noise
