"""The contract of every module that hears time: state is an argument, and cuts do not matter.

A streaming module has ``initial_state(batch) -> State`` and ``forward(x, state) -> (y, state)``. It writes nothing about a
stream to ``self``. A state is a tree (nested tuples) of tensors whose first axis is the batch row, so that rows can be
picked out, written back and kept still (the row law), and however the input is cut the joined outputs are the same (the
chunk law). The last axis of input and output is time unless a module says otherwise.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

State: TypeAlias = Any  # Tensor | tuple[State, ...], NamedTuples included; recursive aliases defeat mypy
S = TypeVar("S")


class Streaming(Protocol):
    """What the engine, the property tests and offline use ask of a module."""

    @property
    def delay(self) -> int:
        """Samples by which the output lags the input it describes (not counting the wait for a full frame)."""

    def initial_state(self, batch: int) -> State:
        """The silence before a stream began, for ``batch`` rows."""

    def __call__(self, x: Tensor, state: State, /) -> tuple[Tensor, State]:
        """One stretch of input; returns the output and the next state."""


def tree_map(function: Callable[..., Tensor], tree: S, *others: S) -> S:
    """Apply ``function`` to the tensors at the same place of every tree."""
    if isinstance(tree, Tensor):
        return cast(S, function(tree, *others))
    parts = [tree_map(function, *children) for children in zip(cast(Any, tree), *cast(Any, others), strict=True)]
    rebuild = getattr(type(tree), "_make", tuple)  # a NamedTuple stays one
    return cast(S, rebuild(parts))


def select_rows(state: S, rows: Tensor) -> S:
    """Copy out the rows ``rows`` (int64 [R]) of a state."""
    return tree_map(lambda part: part.index_select(0, rows), state)


def write_rows(state: S, rows: Tensor, part: S) -> None:
    """Write ``part``, a state of R rows, over the rows ``rows`` (int64 [R]) of ``state``, in place."""
    tree_map(lambda whole, new: whole.index_copy_(0, rows, new), state, part)


def in_chunks(module: Streaming, x: Tensor, sizes: Sequence[int], time: int = -1, out_time: int = -1) -> Tensor:
    """Run ``module`` from its initial state over ``x`` cut along axis ``time`` into ``sizes``; join along ``out_time``.

    Raises:
        ValueError: the sizes do not add up to the length of ``x``.
    """
    if sum(sizes) != x.shape[time]:
        raise ValueError(f"sizes add up to {sum(sizes)}, the input has {x.shape[time]}")
    state = module.initial_state(x.shape[0])
    outputs = []
    for piece in torch.split(x, list(sizes), dim=time):
        y, state = module(piece, state)
        outputs.append(y)
    return torch.cat(outputs, dim=out_time)


def whole(module: Streaming, x: Tensor) -> Tensor:
    """Offline use: one big chunk through the same code."""
    return module(x, module.initial_state(x.shape[0]))[0]
