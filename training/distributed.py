"""Several processes that train one model: torchrun starts them, each takes clips of its own, their gradients are averaged.

    torchrun --nproc-per-node 4 -m sottovoce.training.codec --preset base --device cuda ...

One process alone goes through the same code, where every method gives back what it was given.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sottovoce.models.rvq import Book


@dataclass(frozen=True)
class Group:
    """The processes of one training and which of them this is. Collective: all must call the same methods in turn."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def total(self, x: Tensor) -> Tensor:
        """The sum over all processes, in place; gloo and NCCL give every one of them the same bits."""
        if self.size > 1:
            dist.all_reduce(x)
        return x

    def mean(self, x: Tensor) -> Tensor:
        return self.total(x) / self.size

    def first(self, x: Tensor) -> Tensor:
        """What process 0 has, in place."""
        if self.size > 1:
            dist.broadcast(x, 0)
        return x

    def clock(self, now_s: float) -> float:
        """Process 0's time: all must save and stop at the same step."""
        if self.size == 1:
            return now_s
        return float(self.first(torch.tensor(now_s, dtype=torch.float64, device=self.device)))

    def highest(self, number: int) -> int:
        """The highest number of all processes."""
        if self.size == 1:
            return number
        highest = torch.tensor(number, device=self.device)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        return int(highest)

    def gathered(self, thing: Any) -> list[Any]:
        """What every process has, in order of rank."""
        if self.size == 1:
            return [thing]
        things: list[Any] = [None] * self.size
        dist.all_gather_object(things, thing)
        return things

    def join(self, module: nn.Module, some_unused: bool = False) -> nn.Module:
        """``module``, beginning as process 0 has it; what is returned averages gradients in its backward pass.

        ``some_unused``: not all parameters take part in every step. Codebooks pool what they count.
        """
        if self.size == 1:
            return module
        for value in module.state_dict().values():
            self.first(value)
        for part in module.modules():
            if isinstance(part, Book):
                part.peers = self
        # Buffers are books, which agree by themselves, and constants
        return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=some_unused)

    def batch(self, step: int) -> int:
        """The number of the batch that this process draws at ``step``: no two draw the same."""
        return step * self.size + self.rank


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """The group that torchrun's environment tells of; without one, a process alone.

    Raises:
        ValueError: there is no such device.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = device.startswith("cuda")
    if cuda and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: torch {torch.__version__} sees no GPU here; use --device cpu")
    if size == 1:
        yield Group(device=torch.device(device))
        return
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device(device)
    if cuda:
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Group(rank, size, place)
    finally:
        dist.destroy_process_group()


def diverse(group: Group, seed: int) -> None:
    """After the models were made alike: chance of its own for every process but the first, which keeps its own."""
    if group.rank:
        torch.manual_seed(seed * 1000 + group.rank)
