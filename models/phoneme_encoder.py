"""Phonemes of one clause to encodings, and how long each takes (as FastSpeech, arXiv 1905.09263)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Block, Turn, turn
from .talker_config import LONGEST_SYMBOL, TalkerConfig


class SymbolConv(nn.Module):
    """A convolution over neighbouring symbols, [B, P, D] -> [B, P, D]; beyond the clause there is nothing."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.beyond = kernel // 2
        self.conv = nn.Conv1d(width, width, kernel, padding=self.beyond)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """``present`` [B, P, 1]: one where there is a symbol, zero where the row is filled up."""
        x = x * present
        if torch.is_grad_enabled():
            y: Tensor = self.conv(x.transpose(1, 2))
            return y.transpose(1, 2)
        # As one product: cuDNN would choose anew for every length, and round to TF32.
        windows = F.pad(x, (0, 0, self.beyond, self.beyond)).unfold(1, 2 * self.beyond + 1, 1)  # [B, P, D, K]
        return F.linear(windows.flatten(2), self.conv.weight.flatten(1), self.conv.bias)


class PhonemeEncoder(nn.Module):
    """Symbols of a whole clause, all of which see each other."""

    def __init__(self, config: TalkerConfig, dropout: float = 0.0) -> None:
        super().__init__()
        width = config.encoder_width
        self.head_width = width // config.encoder_heads
        self.symbols = nn.Embedding(config.symbols, width)
        self.near = SymbolConv(width, kernel=5)
        self.blocks = nn.ModuleList(Block(width, config.encoder_heads, dropout) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(width)

    def angles(self, symbols: int) -> Turn:
        """Of so many symbols, where the weights are."""
        return turn(symbols, self.head_width, self.norm.weight)

    def forward(self, symbols: Tensor, voice: Tensor, by: Turn | None = None) -> Tensor:
        """Encodings [B, P, D] of symbols int64 [B, P], -1 where a row is filled up, in the voice [B, D].

        ``by``: ``angles`` of as many symbols, where they are at hand.
        """
        present = symbols >= 0
        x = self.symbols(symbols.clamp(min=0)) + voice[:, None]
        x = x + self.near(x, present[..., None].to(x.dtype))
        by = by or self.angles(symbols.shape[1])
        for block in self.blocks:
            x, _ = block(x, block.attention.empty(len(x), 0), present[:, None, None], by)  # type: ignore[operator,union-attr]
        encodings: Tensor = self.norm(x)
        return encodings


class DurationPredictor(nn.Module):
    """Log durations [B, P]: log(1 + slots) of every symbol, from its encoding and its neighbours'."""

    def __init__(self, config: TalkerConfig, dropout: float = 0.0) -> None:
        super().__init__()
        width = config.encoder_width
        self.convs = nn.ModuleList(SymbolConv(width, kernel=3) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.leave = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, encodings: Tensor, symbols: Tensor) -> Tensor:
        x, present = encodings, (symbols >= 0)[..., None].to(encodings.dtype)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + self.dropout(F.gelu(norm(conv(x, present))))
        log_durations: Tensor = self.leave(x)
        return log_durations[..., 0]


def in_slots(log_durations: Tensor) -> Tensor:
    """Slots (not whole yet) of what ``DurationPredictor`` gives: from zero to ``LONGEST_SYMBOL``, so that every end comes."""
    return torch.expm1(log_durations.clamp(0, math.log1p(LONGEST_SYMBOL)))
