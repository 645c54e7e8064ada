"""The residual vector quantiser: each book codes what the books before it left over.

Algorithm 1 of SoundStream (arXiv 2107.03312), straight-through gradients and EMA codebooks of VQ-VAE (arXiv 1711.00937,
appendix A.1), low-dimensional cosine search of the Descript codec (arXiv 2306.06546). The residual that a book sees is
detached from the books before it: without that, the commitment of late books pulls early ones away from their own optimum.
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import QuantiserConfig

EMA_DECAY = 0.99
DEAD_BELOW = 0.05  # a code whose share of the batch falls under this fraction of an equal share is revived
KMEANS_ROUNDS = 10


class Quantised(NamedTuple):
    """What one pass through the quantiser gives."""

    latent: Tensor  # [B, T, D] sum of the books that were used
    codes: Tensor  # int64 [B, T, Q] of all books, used or not
    commitment: Tensor  # scalar: how far the encoder is from the codes it chose
    perplexity: Tensor  # [Q] effective number of codes in this batch
    usage: Tensor  # [Q] share of the codes that this batch chose at least once


class Peers(Protocol):
    """The processes that train one model together, each on speech of its own."""

    @property
    def size(self) -> int:
        """How many there are."""

    def total(self, x: Tensor) -> Tensor:
        """The sum of what every process gives, the same bits in all of them."""

    def first(self, x: Tensor) -> Tensor:
        """What the first process gives, in all of them."""


class Book(nn.Module):
    """One codebook: vectors, where they came from, and the search among them."""

    vectors: Tensor
    counts: Tensor
    sums: Tensor
    ready: Tensor

    def __init__(self, size: int, width: int, unit: bool) -> None:
        super().__init__()
        self.unit = unit
        self.fixed = False
        self.peers: Peers | None = None
        vectors = torch.randn(size, width)
        self.register_buffer("vectors", F.normalize(vectors) if unit else vectors)
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", self.vectors.clone())
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def remember(self) -> None:
        """Take the vectors as what was learnt, each chosen once: weight files hold no counts and sums, and with those of a
        new book the first ``learn`` would put the vectors back to chance."""
        self.counts.fill_(1)
        self.sums.copy_(self.vectors)

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the closest vector, int64 [N], for x [N, width] (unit vectors where ``unit``)."""
        closeness = x @ self.vectors.T
        if not self.unit:  # |x - v|^2 without |x|^2, which is the same for all v
            closeness = closeness - 0.5 * self.vectors.square().sum(-1)
        return closeness.argmax(-1)

    @torch.no_grad()
    def learn(self, x: Tensor, codes: Tensor) -> None:
        """Move the vectors to the inputs x [N, width] that chose them, and revive unused ones; nothing at all where ``fixed``.

        Where there are ``peers``, all count what all of them chose, so that their books stay the same."""
        if self.fixed:
            return
        size, seen = len(self.counts), len(x)
        counts = torch.bincount(codes, minlength=size).to(x.dtype)
        if self.peers:
            counts, seen = self.peers.total(counts), seen * self.peers.size
        self.counts.lerp_(counts, 1 - EMA_DECAY)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, x)
        if self.peers:
            sums = self.peers.total(sums)
        self.sums.lerp_(sums, 1 - EMA_DECAY)
        dead = self.counts < DEAD_BELOW * seen / size
        if dead.any():
            fresh = x[torch.randint(len(x), (int(dead.sum()),), device=x.device)]
            if self.peers:
                fresh = self.peers.first(fresh)
            share = seen / size  # a revived code starts with an equal share: it has time to find its inputs
            self.counts[dead] = share
            self.sums[dead] = fresh * share
        vectors = self.sums / self.counts[:, None].clamp(min=1e-6)
        self.vectors.copy_(F.normalize(vectors) if self.unit else vectors)

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Initial vectors by k-means on x [N, width], seeded far apart (k-means++, Arthur and Vassilvitskii 2007)."""
        size = len(self.counts)
        far = torch.full((len(x),), 1.0, device=x.device)
        for i in range(size):
            pick = x[torch.multinomial(far + 1e-12, 1)]
            self.vectors[i] = pick[0]
            away = (x - pick).square().sum(-1)
            far = away if i == 0 else torch.minimum(far, away)
        for _ in range(KMEANS_ROUNDS):
            codes = self.nearest(x)
            counts = torch.bincount(codes, minlength=size).to(x.dtype)
            sums = torch.zeros_like(self.sums).index_add_(0, codes, x)
            means = sums / counts[:, None].clamp(min=1)
            lost = counts == 0
            means[lost] = x[torch.randint(len(x), (int(lost.sum()),), device=x.device)]
            self.vectors.copy_(F.normalize(means) if self.unit else means)
        share = len(x) / size
        self.counts.copy_(counts.clamp(min=DEAD_BELOW * share))
        self.sums.copy_(self.vectors * self.counts[:, None])
        self.ready.fill_(True)


class ResidualQuantiser(nn.Module):
    """Latents [B, T, D] to codes [B, T, Q] and back. Each frame by itself: it has no state."""

    def __init__(self, config: QuantiserConfig) -> None:
        super().__init__()
        self.config = config
        wide, narrow, q = config.width, config.code_width, config.books
        cosine = config.metric == "cosine"
        self.books = nn.ModuleList(Book(config.book_size, narrow, unit=cosine) for _ in range(q))
        if cosine:  # every book looks at its residual through its own small window
            self.enter: nn.Module = nn.Identity()
            self.leave: nn.Module = nn.Identity()
            self.down = nn.ModuleList(nn.Linear(wide, narrow - 1, bias=False) for _ in range(q))
            self.up = nn.ModuleList(nn.Linear(narrow, wide) for _ in range(q))
        else:
            self.enter = nn.Linear(wide, narrow, bias=False) if wide != narrow else nn.Identity()
            self.leave = nn.Linear(narrow, wide, bias=False) if wide != narrow else nn.Identity()
            self.down = nn.ModuleList(nn.Identity() for _ in range(q))
            self.up = nn.ModuleList(nn.Identity() for _ in range(q))
        self.unit = cosine
        self.inner_width = wide if cosine else narrow

    @torch.no_grad()
    def start(self, latent: Tensor) -> None:
        """Place all books, one after the other, by k-means on latents [N, D]; many times a book's size is best.

        Where books look through windows, each window opens on the largest components of what the books before it left,
        and the way back is the least-squares one.
        """
        residual = self.enter(latent)
        for book, down, up in zip(self.books, self.down, self.up, strict=True):
            assert isinstance(book, Book)
            if isinstance(down, nn.Linear):
                self._open_window(down, residual)
            x = self._look(down, residual)
            book.start(x)
            chosen = book.vectors[book.nearest(x)]
            if isinstance(up, nn.Linear):
                seen = F.pad(chosen, (0, 1), value=1.0)  # normal equations: lstsq rounds differently from call to call
                fit = torch.linalg.solve(seen.T @ seen + torch.eye(seen.shape[1]).to(seen), seen.T @ residual)
                up.weight.copy_(fit[:-1].T)
                up.bias.copy_(fit[-1])
            residual = residual - up(chosen)

    @staticmethod
    def _open_window(down: nn.Linear, residual: Tensor) -> None:
        """Set ``down`` to the largest components of residual [N, D], scaled to unit size on average."""
        _, components = torch.linalg.eigh(residual.T @ residual / len(residual))
        widest = components.flip(1)[:, : down.out_features].T  # [narrow - 1, D]
        size = (residual @ widest.T).square().sum(-1).mean().sqrt()
        down.weight.copy_(widest / size.clamp(min=1e-6))

    def forward(self, latent: Tensor, used: Tensor | None = None) -> Quantised:
        """Quantise with gradients; in training mode the books learn (and start with this batch if they have not yet).

        Args:
            latent: [B, T, D].
            used: int64 [B], how many books each row's output sums (quantiser dropout); all where None.
        """
        residual = self.enter(latent)
        total = torch.zeros_like(residual)
        codes, commitment, perplexity, usage = [], latent.new_zeros(()), [], []
        for i, (book, down, up) in enumerate(zip(self.books, self.down, self.up, strict=True)):
            assert isinstance(book, Book)
            x = self._look(down, residual)  # [B, T, narrow]
            flat = x.detach().reshape(-1, x.shape[-1])
            if self.training and not book.ready:
                book.start(flat)
            index = book.nearest(flat)
            chosen = book.vectors[index].view_as(x)
            keep = 1.0 if used is None else (i < used).to(x.dtype)[:, None, None]
            held = self._look(down, residual, frozen=True)
            commitment = commitment + ((held - chosen).square() * keep).mean()
            part = up(x + (chosen - x).detach())  # straight-through: the decoder's gradient reaches the encoder
            total = total + part * keep
            residual = residual - part.detach()
            if self.training:
                book.learn(flat, index)
            shares = torch.bincount(index, minlength=len(book.counts)) / len(index)
            perplexity.append(torch.special.entr(shares).sum().exp())
            usage.append((shares > 0).float().mean())
            codes.append(index.view(x.shape[:-1]))
        return Quantised(
            self.leave(total), torch.stack(codes, -1), commitment, torch.stack(perplexity), torch.stack(usage)
        )

    def _look(self, down: nn.Module, residual: Tensor, frozen: bool = False) -> Tensor:
        """What a book sees of a residual. On the sphere a constant component stands beside the projection: a residual of
        nothing is the pole, a large one lies near the equator. Without it the length would be lost, and every book would
        have to add a step of the same size to a frame that is already right. ``frozen`` keeps gradients from the
        projection: commitment would shrink it until all that it sees is the pole."""
        x = F.linear(residual, down.weight.detach()) if frozen and isinstance(down, nn.Linear) else down(residual)
        return F.normalize(F.pad(x, (0, 1), value=1.0), dim=-1) if self.unit else x

    @torch.no_grad()
    def encode(self, latent: Tensor) -> Tensor:
        """Codes int64 [B, T, Q] of latents [B, T, D]."""
        residual = self.enter(latent)
        codes = []
        for book, down, up in zip(self.books, self.down, self.up, strict=True):
            assert isinstance(book, Book)
            x = down(residual)
            if self.unit:  # the order of the cosines needs neither the length of x nor the constant written out
                index = F.linear(x, book.vectors[:, :-1], book.vectors[:, -1]).argmax(-1)
            else:
                index = book.nearest(x)
            residual = residual - up(book.vectors[index])
            codes.append(index)
        return torch.stack(codes, -1)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Latents [B, T, D] of codes [B, T, q], q <= Q; -1 stands for a book that did not arrive.

        Raises:
            ValueError: more books than there are, or, where that can be seen without waiting for a device, a code outside
                its book.
        """
        here = codes.device.type == "cpu"
        if codes.shape[-1] > len(self.books) or (here and codes.numel() and int(codes.max()) >= self.config.book_size):
            raise ValueError(f"codes of shape {tuple(codes.shape)} do not fit {self.config.books} books")
        arrived = (codes >= 0)[..., None]
        total = torch.zeros(*codes.shape[:-1], self.inner_width, device=codes.device)
        for i, (book, up, index) in enumerate(zip(self.books, self.up, codes.clamp(min=0).unbind(-1), strict=False)):
            assert isinstance(book, Book)
            total = total + up(book.vectors[index]) * arrived[..., i, :]
        latent: Tensor = self.leave(total)
        return latent
