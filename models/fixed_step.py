"""Steps of fixed shapes: a few sizes of batch and of chunk, each recorded once and replayed ever after.

A step of R rows takes the smallest bucket of at least R; rows that are nobody's fill it up. Inputs, rows and answers lie in
buffers that were made with the record: on the host pinned, on the device static, as a CUDA graph wants them. The record itself
is made by a function, so that all of this runs, and is tested, without a GPU.
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
    """Sizes of batches for ``rows`` streams: the powers of two below, and all."""
    return (*(1 << i for i in range((rows - 1).bit_length())), rows)


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
    """A step of one shape of a `Resident`."""

    def __init__(self, resident: Resident, x: Any, size: int, record: Record) -> None:
        """Records it; rows that are open are not touched.

        Args:
            x: an example of what one row is given, [1, ...], a tensor or a tree of them, where the states are.
            size: of the bucket.
        """
        device = resident.states[0].device
        pinned = device.type == "cuda"
        self._there = tree_map(lambda part: part.repeat(size, *[1] * (part.dim() - 1)), x)
        self._here = tree_map(lambda part: _here(part, pinned), self._there)  # nobody's rows keep what was there before
        self._rows_here = torch.full((size,), resident.nobody, pin_memory=pinned)
        self._rows_there = self._rows_here.to(device)
        self._nobody, self._size = resident.nobody, size
        self._again, self._answer_there = record(lambda: resident.step(self._there, self._rows_there))
        self._answer_here = tree_map(lambda part: _here(part, pinned), self._answer_there)
        self._wait: Callable[[], None] = torch.cuda.current_stream(device).synchronize if pinned else lambda: None

    def __call__(self, rows: Sequence[int], x: Any) -> Any:
        """The answer to ``x`` [R, ...], arrays, R at most the bucket's size; arrays of its own."""
        n = len(rows)
        self._rows_here[:n] = torch.as_tensor(rows)
        self._rows_here[n:] = self._nobody
        _each(lambda place, value: np.copyto(place.numpy()[:n], value), self._here, x)
        self._rows_there.copy_(self._rows_here, non_blocking=True)
        tree_map(lambda there, here: there.copy_(here, non_blocking=True), self._there, self._here)
        self._again()
        tree_map(lambda here, there: here.copy_(there, non_blocking=True), self._answer_here, self._answer_there)
        self._wait()
        return _each(lambda place: place.numpy()[:n].copy(), self._answer_here)


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
        size = next(size for size in self._buckets if size >= len(rows))
        return self._of(size, n_frames)(rows, x)

    def _of(self, size: int, n_frames: int) -> FixedStep:
        key = size, n_frames
        if key not in self._steps:
            self._steps[key] = FixedStep(self._resident, self._example(n_frames), size, self._record)
        return self._steps[key]
