"""How the codebooks are used, over many steps.

A batch is too small to tell, and in the books' own counts a revived code begins with an equal share, used or not.
"""

import torch
from torch import Tensor, nn

from sottovoce.models.config import QuantiserConfig

from .distributed import Group
from .run import Diverged

DECAY = 0.99
IN_USE = 0.05  # of an equal share: what a code must be chosen to count as used, as in ``models/rvq.py``
LEAST_USAGE = 0.5
LEAST_PERPLEXITY = 1 / 16  # of a book's size: below, it has collapsed (one that works has a third and more)
PATIENCE_STEPS = 500  # until the books are judged: five times the memory of the average


class BookUse(nn.Module):
    """Moving average of how often each code is chosen: shares [Q, V]."""

    shares: Tensor
    steps: Tensor

    def __init__(self, config: QuantiserConfig) -> None:
        super().__init__()
        self.register_buffer("shares", torch.zeros(config.books, config.book_size))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def see(self, codes: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        """Take in codes int64 [B, T, Q]; returns perplexity [Q] and usage [Q], the share of codes in use."""
        books, size = self.shares.shape
        numbered = codes + size * torch.arange(books, device=codes.device)
        counts = torch.bincount(numbered.flatten(), minlength=books * size).view(books, size).float()
        counts = group.total(counts)
        self.shares.lerp_(counts / counts.sum(-1, keepdim=True), 1 - DECAY)
        self.steps += 1
        shares = self.shares / self.shares.sum(-1, keepdim=True)
        return torch.special.entr(shares).sum(-1).exp(), (shares >= IN_USE / size).float().mean(-1)

    def check(self, perplexity: Tensor, usage: Tensor, step: int) -> None:
        """What ``see`` gave, judged.

        Raises:
            Diverged: a book uses less than half of its codes, or almost all inputs go to a few of them.
        """
        if int(self.steps) <= PATIENCE_STEPS:
            return
        size = self.shares.shape[1]
        worst = int(usage.argmin())
        if float(usage[worst]) < LEAST_USAGE:
            raise Diverged(
                f"step {step}: book {worst} uses {float(usage[worst]):.0%} of its {size} codes; half must be"
            )
        worst = int(perplexity.argmin())
        if float(perplexity[worst]) < LEAST_PERPLEXITY * size:
            raise Diverged(f"step {step}: book {worst} has collapsed to {float(perplexity[worst]):.0f} of its codes")
