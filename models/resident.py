"""Streams that stay where they are computed: the states of all rows lie packed in one tensor for each type, a row a stream.

A step of some rows is one function, gather -> module -> scatter, of tensors whose addresses and shapes do not change: what a
CUDA graph can hold. Packed, the states of a model of a hundred layers are fetched and put back by two operations, not by two
hundred, and a row begins anew by one. The last row of the states belongs to nobody: what fills a batch up steps there.
"""

from math import prod
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from .streaming import State, tree_map

Packed: TypeAlias = tuple[Tensor, ...]
"""A state of R rows: [R, numbers], one tensor for each type."""


class Layout:
    """Where every tensor of a state lies in a packed one."""

    def __init__(self, state: State) -> None:
        """``state``: an example, of any number of rows."""
        self._example = tree_map(lambda part: part[:1], state)
        self._types: list[torch.dtype] = []
        for part in _leaves(self._example):
            if part.dtype not in self._types:
                self._types.append(part.dtype)

    def pack(self, state: State) -> Packed:
        """A state of R rows, copied."""
        found: dict[torch.dtype, list[Tensor]] = {dtype: [] for dtype in self._types}
        for part in _leaves(state):
            found[part.dtype].append(part.flatten(1))
        return tuple(torch.cat(parts, 1) for parts in found.values())

    def unpack(self, packed: Packed) -> State:
        """The state whose tensors are views of ``packed``."""
        pieces = {}
        for dtype, whole in zip(self._types, packed, strict=True):
            sizes = [prod(part.shape[1:]) for part in _leaves(self._example) if part.dtype == dtype]
            pieces[dtype] = iter(whole.split(sizes, 1))
        return tree_map(lambda part: next(pieces[part.dtype]).unflatten(1, part.shape[1:]), self._example)


def _leaves(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for part in tree for leaf in _leaves(part)]


class Steps(Protocol):
    """A streaming module, of which more than one tensor may go in."""

    def initial_state(self, batch: int) -> State:
        """Of ``batch`` rows."""

    def __call__(self, x: Any, state: Any, /) -> tuple[Any, Any]:
        """One stretch of input; returns the output and the next state."""


class Resident:
    """A streaming module and the states of its rows. Nothing here waits for the device."""

    def __init__(self, module: Steps, rows: int) -> None:
        """The states are where ``module`` has its weights, and of their types."""
        self._module, self.rows = module, rows
        first = module.initial_state(1)
        self._layout = Layout(first)
        self._first = self._layout.pack(first)
        self.states = tuple(part.repeat(rows + 1, 1) for part in self._first)

    @property
    def nobody(self) -> int:
        """The row that fills batches up."""
        return self.rows

    @property
    def row_bytes(self) -> int:
        """What a stream keeps between two steps."""
        return sum(part[0].nbytes for part in self.states)

    def pure(self, x: Any, packed: Packed) -> tuple[Any, Packed]:
        """The module on packed states: nothing but its arguments moves."""
        y, state = self._module(x, self._layout.unpack(packed))
        return y, self._layout.pack(state)

    def step(self, x: Any, rows: Tensor) -> Any:
        """Step ``rows`` int64 [R], all different but for `nobody`, by ``x`` [R, ...], a tensor or a tree of them."""
        y, following = self.pure(x, tuple(part.index_select(0, rows) for part in self.states))
        self.put(rows, following)
        return y

    def put(self, rows: Tensor, packed: Packed) -> None:
        """``packed`` becomes the states of ``rows``."""
        for whole, part in zip(self.states, packed, strict=True):
            whole.index_copy_(0, rows, part)

    def reset(self, row: int) -> None:
        """Put a row at its beginning."""
        for whole, first in zip(self.states, self._first, strict=True):
            whole[row] = first[0]
