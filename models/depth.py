"""The other books of a frame, one after the other, from the frame's hidden state and the codes of the books before.

Codes of a residual quantiser add up, and so do their embeddings here: the sum of the frame's hidden state and of the codes
so far goes through a few residual layers, the same for all books but for scale and offset of the norms, and through the
book's own head. Against attention over the codes so far (Moshi, arXiv 2410.00037; RQ-Transformer, arXiv 2203.01941) this
takes a third of the operations, which is what counts where each is a few rows of work.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .talker_config import DEPTH_EXPANSION, TalkerConfig


class PerBookNorm(nn.Module):
    """Layer norm of [..., Q', D] with scale and offset for every book."""

    def __init__(self, books: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(books, width))
        self.offset = nn.Parameter(torch.randn(books, width) * 0.1)  # tells the books apart from the start

    def forward(self, x: Tensor, books: slice) -> Tensor:
        return F.layer_norm(x, x.shape[-1:]) * self.scale[books] + self.offset[books]


class DepthBlock(nn.Module):
    """A feed-forward layer, added to its normalised input."""

    def __init__(self, books: int, width: int) -> None:
        super().__init__()
        self.norm = PerBookNorm(books, width)
        self.rise = nn.Linear(width, DEPTH_EXPANSION * width)
        self.fall = nn.Linear(DEPTH_EXPANSION * width, width)

    def forward(self, x: Tensor, books: slice) -> Tensor:
        added: Tensor = self.fall(F.gelu(self.rise(self.norm(x, books))))
        return x + added


class Depth(nn.Module):
    """Logits of books 1 ... Q-1. Book b, counted from 1, has row b - 1 in every weight that the books do not share."""

    def __init__(self, config: TalkerConfig) -> None:
        super().__init__()
        books, width = config.books - 1, config.depth_width
        self.enter = nn.Linear(config.width, width)
        self.spread = nn.Parameter(torch.randn(books, config.code_width, width) / config.code_width**0.5)
        self.blocks = nn.ModuleList(DepthBlock(books, width) for _ in range(config.depth_blocks))
        self.norm = PerBookNorm(books, width)
        self.heads = nn.Parameter(torch.randn(books, config.book_size, width) / width**0.5)

    def forward(self, hidden: Tensor, embedded: Tensor) -> Tensor:
        """All books at once, for training: hidden [N, D] and the true codes' embeddings [N, Q, C] -> logits [N, Q-1, V]."""
        added = torch.einsum("nbc,bcd->nbd", embedded[:, :-1], self.spread)
        return self._logits(self.enter(hidden)[:, None] + added.cumsum(1), slice(None))

    def start(self, hidden: Tensor) -> Tensor:
        """The sum [B, D'] before any code, from hidden [B, D]."""
        total: Tensor = self.enter(hidden)
        return total

    def step(self, total: Tensor, embedded: Tensor, book: int) -> tuple[Tensor, Tensor]:
        """Logits [B, V] of ``book`` >= 1 and the next sum, from the sum and the embedding [B, C] of the code before."""
        total = total + embedded @ self.spread[book - 1]
        return self._logits(total[:, None], slice(book - 1, book))[:, 0], total

    def _logits(self, x: Tensor, books: slice) -> Tensor:
        for block in self.blocks:
            x = block(x, books)
        return torch.einsum("nbd,bvd->nbv", self.norm(x, books), self.heads[books])


class Heads(nn.Module):
    """The reference design in place of ``Depth``: a plain head for every book, which knows nothing of the others."""

    def __init__(self, config: TalkerConfig) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(config.width, config.book_size) for _ in range(config.books - 1))

    def forward(self, hidden: Tensor, embedded: Tensor) -> Tensor:
        return torch.stack([head(hidden) for head in self.heads], 1)

    def start(self, hidden: Tensor) -> Tensor:
        return hidden

    def step(self, total: Tensor, embedded: Tensor, book: int) -> tuple[Tensor, Tensor]:
        return self.heads[book - 1](total), total
