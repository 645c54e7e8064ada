"""Steps of fixed shapes: a few sizes of batch and of chunk, each recorded once and replayed ever after.

Inputs and answers lie in buffers that were made with the record: on the host pinned, on the device static, as a CUDA graph
wants them. The record itself is made by a function, so that all of this runs, and is tested, without a GPU. A step of R rows
of a `Resident` takes the smallest bucket of at least R; rows that are nobody's fill it up.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from .resident import Resident
from .streaming import tree_map

Record: TypeAlias = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]
"""Runs a step; gives what repeats it, and its answer, which every repetition overwrites."""
CHUNKS = (4, 2, 1)
"""Frames of a step, longest first."""


def buckets(rows: int) -> tuple[int, ...]:
    """Sizes of batches for ``rows`` streams: the powers of two below, from 64 on what lies in their middle, and all."""
    powers = [1 << i for i in range((rows - 1).bit_length())]
    middles = [3 * power // 2 for power in powers if power >= 64]
    return (*sorted(size for size in powers + middles if size < rows), rows)


def chunks(n: int) -> list[int]:
    """``n`` frames as steps of `CHUNKS`, the longest first."""
    found: list[int] = []
    for chunk in CHUNKS:
        found += [chunk] * (n // chunk)
        n %= chunk
    return found


def record_eagerly(step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """A `Record` that takes the step anew each time: what a processor does."""
    y = tree_map(torch.clone, step())

    def again() -> None:
        tree_map(lambda place, value: place.copy_(value), y, step())

    return again, y


class FixedStep:
    """A step of one shape."""

    def __init__(self, step: Callable[[Any], Any], given: Any, record: Record) -> None:
        """Records it.

        Args:
            step: from what is given to the answer, on one device.
            given: an example, a tensor or a tree of them, where the step is taken.
        """
        self._there = tree_map(torch.clone, given)
        device = _first(given).device
        pinned = device.type == "cuda"
        self._here = tree_map(lambda part: _here(part, pinned), self._there)
        self._again, self._answer_there = record(lambda: step(self._there))
        self._answer_here = tree_map(lambda part: _here(part, pinned), self._answer_there)
        self._wait: Callable[[], None] = torch.cuda.current_stream(device).synchronize if pinned else lambda: None

    def __call__(self, given: Any, rows: int) -> Any:
        """The answer in ``rows`` rows, as arrays of its own, to arrays that may have fewer rows than the step: in the others
        is what was there before."""
        _each(lambda place, value: np.copyto(place.numpy()[: len(value)], value), self._here, given)
        tree_map(lambda there, here: there.copy_(here, non_blocking=True), self._there, self._here)
        self._again()
        tree_map(lambda here, there: here.copy_(there, non_blocking=True), self._answer_here, self._answer_there)
        self._wait()
        return _each(lambda place: place.numpy()[:rows].copy(), self._answer_here)


def _first(tree: Any) -> Tensor:
    return tree if isinstance(tree, Tensor) else _first(tree[0])


def _here(there: Tensor, pinned: bool) -> Tensor:
    """A copy on the host."""
    return torch.empty(there.shape, dtype=there.dtype, pin_memory=pinned).copy_(there)


def _each(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`tree_map` for functions between tensors and arrays."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    return tuple(_each(function, *parts) for parts in zip(tree, *others, strict=True))


class FixedSteps:
    """All steps of a `Resident`, one for each bucket and number of frames, recorded when they are first asked for."""

    def __init__(self, resident: Resident, example: Callable[[int], Any], record: Record) -> None:
        """``example``: what one row is given for so many frames, on the device."""
        self._resident, self._example, self._record = resident, example, record
        self._buckets = buckets(resident.rows)
        self._steps: dict[tuple[int, int], FixedStep] = {}

    def warm_up(self, frames: Sequence[int] = CHUNKS) -> None:
        """Record all there can be, the largest first, so that the smaller fit into its memory."""
        for n in sorted(frames, reverse=True):
            for size in reversed(self._buckets):
                self._of(size, n)

    def __call__(self, rows: Sequence[int], x: Any, n_frames: int = 1) -> Any:
        """The answer to ``x`` [R, ...], arrays, which hold ``n_frames`` of `CHUNKS`: an array, or a tree of them."""
        n = len(rows)
        size = next(size for size in self._buckets if size >= n)
        places = np.full(size, self._resident.nobody)
        places[:n] = rows
        return self._of(size, n_frames)((places, x), n)

    def _of(self, size: int, n_frames: int) -> FixedStep:
        key = size, n_frames
        if key not in self._steps:
            one, resident = self._example(n_frames), self._resident
            x = tree_map(lambda part: part.repeat(size, *[1] * (part.dim() - 1)), one)
            rows = torch.full((size,), resident.nobody, device=_first(x).device)
            self._steps[key] = FixedStep(lambda given: resident.step(given[1], given[0]), (rows, x), self._record)
        return self._steps[key]
