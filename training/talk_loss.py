"""What the talker is taught: every code given all codes before it, and how long every symbol lasts.

A talker that has only heard true codes goes astray on its own (exposure bias; Bengio et al. 2015, arXiv 1506.03099). So what it
hears of the past is disturbed: some codes are replaced by neighbours in their book, which is what an unlucky sample looks
like, and some frames are silenced, so that it has to trust its text. What it is to say stays true. The depth model sees only a
share of the frames a step: it is the same for all of them, and half of the cost (as in Sesame's CSM).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sottovoce.models.rvq import ResidualQuantiser
from sottovoce.models.talker import Talker

from .talk_rows import Rows

NEIGHBOURS = 16


@dataclass(frozen=True)
class LossConfig:
    """What is weighted how, and what is disturbed."""

    book_decay: float = 0.85
    "Weight of a book over that of the one before it: coarse books carry the words."
    duration_weight: float = 0.5
    noise: float = 0.1
    "Share of heard codes that are neighbours of the true ones."
    silenced: float = 0.05
    "Share of heard frames that are not there."
    depth_share: float = 0.5
    "Of the frames whose finer books are learnt from in a step."

    def __post_init__(self) -> None:
        shares = (self.noise, self.silenced)
        if not all(0 <= share < 1 for share in shares) or not 0 < self.depth_share <= 1 or self.duration_weight < 0:
            raise ValueError(f"shares from 0 to 1 and no negative weight: {self}")
        if not 0 < self.book_decay <= 1:
            raise ValueError(f"book decay {self.book_decay} is not in (0, 1]")


class Figures(NamedTuple):
    """Of one batch."""

    loss: Tensor
    cross_entropy: Tensor  # [Q] in nats
    accuracy: Tensor  # [Q]
    duration: Tensor  # smooth L1 of log(1 + slots)
    duration_slots: Tensor  # mean absolute error
    pace: Tensor  # predicted over true length of all


def neighbours(quantiser: ResidualQuantiser) -> Tensor:
    """The codes that are most like each code, int64 [Q, V, n]: by distance in their book, itself left out."""
    found = []
    for book in quantiser.books:
        vectors: Tensor = book.vectors  # type: ignore[assignment]
        away = torch.cdist(vectors, vectors)
        away.fill_diagonal_(torch.inf)
        found.append(away.topk(min(NEIGHBOURS, len(vectors) - 1), largest=False).indices)
    return torch.stack(found)


def conditions(encodings: Tensor, rows: Rows) -> Tensor:
    """What the frames of ``rows`` are told, [B, T, S, D + 2], from the encodings [C, P, D] of their clauses."""
    told = encodings.flatten(0, 1)[rows.spoken].unflatten(1, rows.progress.shape[1:3])
    return torch.cat([told, rows.progress.to(told.dtype)], -1)


class TalkerLoss(nn.Module):
    """The talker with what it is taught; a module, so that gradients of several processes meet here."""

    near: Tensor
    weights: Tensor

    def __init__(self, talker: Talker, config: LossConfig, near: Tensor) -> None:
        super().__init__()
        self.talker, self.config = talker, config
        weights = config.book_decay ** torch.arange(talker.config.books)
        self.register_buffer("weights", weights / weights.sum(), persistent=False)
        self.register_buffer("near", near, persistent=False)

    def forward(self, rows: Rows) -> Figures:
        """Training mode disturbs what is heard and takes ``depth_share`` of the frames; otherwise all is as it is."""
        talker, config = self.talker, self.config
        encodings, log_durations = talker.encode(rows.symbols, rows.clause_voice)
        hidden = self._hidden(rows, encodings).flatten(0, 1)  # [N, D]
        codes = rows.codes.flatten(0, 1)  # [N, Q]
        first = F.cross_entropy(talker.head(hidden).float(), codes[:, 0], reduction="none")
        share = config.depth_share if self.training else 1.0
        picked = torch.randperm(len(codes), device=codes.device)[: max(1, round(share * len(codes)))]
        logits = talker.book_logits(hidden[picked], self._disturbed(codes[picked])).float()  # [n, Q, V]
        others = F.cross_entropy(logits.transpose(1, 2), codes[picked], reduction="none")  # [n, Q]
        cross_entropy = torch.cat([first.mean()[None], others[:, 1:].mean(0)])
        accuracy = (logits.argmax(-1) == codes[picked]).float().mean(0)
        present = rows.symbols >= 0
        true = torch.log1p(rows.slots.float())
        duration = F.smooth_l1_loss(log_durations.float()[present], true[present])
        slots = torch.expm1(log_durations.detach().float()).clamp(min=0) * present
        loss = (self.weights * cross_entropy).sum() + config.duration_weight * duration
        return Figures(
            loss,
            cross_entropy.detach(),
            accuracy,
            duration.detach(),
            (slots - rows.slots).abs()[present].mean(),
            slots.sum() / rows.slots.sum(),
        )

    def _hidden(self, rows: Rows, encodings: Tensor) -> Tensor:
        """As ``Talker.hidden``, for rows of many clauses: [B, T, D]."""
        talker = self.talker
        condition = conditions(encodings, rows)
        heard = self._disturbed(rows.codes)
        if self.training and self.config.silenced:
            gone = torch.rand(heard.shape[:2], device=heard.device) < self.config.silenced
            heard = heard.masked_fill(gone[..., None], -1)
        previous = torch.cat([talker.start_frame(len(heard))[:, None], heard[:, :-1]], 1)
        hidden: Tensor
        hidden, _ = talker.frames(
            talker.enter(previous, condition, rows.voice), talker.frames.initial_state(len(heard))
        )
        return hidden

    def _disturbed(self, codes: Tensor) -> Tensor:
        """Codes [..., Q], some of them by a neighbour in their book."""
        if not self.training or not self.config.noise:
            return codes
        books = torch.arange(codes.shape[-1], device=codes.device)
        which = torch.randint(self.near.shape[-1], codes.shape, device=codes.device)
        swapped = torch.rand(codes.shape, device=codes.device) < self.config.noise
        return torch.where(swapped, self.near[books, codes, which], codes)
