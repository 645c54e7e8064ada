"""Transformer blocks over [B, T, D], with what they keep of the past as an argument.

A block sees the steps that it is handed and ``past``, the keys and values of a bounded number of steps before them. An
encoder hands it no past. Keys are kept unrotated and rotated by their place in the ring, so that a stream has no absolute
positions that could grow.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rotary import rotary_table
from .talker_config import FEED_FORWARD


class Ring(NamedTuple):
    """Keys and values of the last steps, oldest first, each [B, heads, W, D / heads]."""

    keys: Tensor
    values: Tensor


class Turn(NamedTuple):
    """Rotary angles of past and present steps: cosines and sines [W + T, D / heads / 2]."""

    cos: Tensor
    sin: Tensor


def turn(n: int, head_width: int, like: Tensor) -> Turn:
    """Angles of ``n`` steps for heads of ``head_width``, where and as ``like`` is."""
    return Turn(*(torch.from_numpy(part).to(like.device, like.dtype) for part in rotary_table(n, head_width)))


def rotate(x: Tensor, by: Turn) -> Tensor:
    """x [B, heads, T, d], each step turned by its angle."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * by.cos - b * by.sin, a * by.sin + b * by.cos], -1)


class Attention(nn.Module):
    """Multi-head attention with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.enter = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)

    def empty(self, batch: int, steps: int) -> Ring:
        """Zeros in place of ``steps`` past steps."""
        zeros = self.enter.weight.new_zeros(batch, self.heads, steps, self.head_width)
        return Ring(zeros, zeros)

    def forward(self, x: Tensor, past: Ring, visible: Tensor, by: Turn) -> tuple[Tensor, Ring]:
        """x [B, T, D] -> the same shape, and the ring after it.

        Args:
            visible: bool, to broadcast over [B, heads, T, W + T]: which steps each step looks at.
            by: angles of the W + T steps.
        """
        steps, kept = x.shape[1], past.keys.shape[2]
        query, key, value = self.enter(x).unflatten(-1, (3, self.heads, self.head_width)).permute(2, 0, 3, 1, 4)
        keys, values = torch.cat([past.keys, key], 2), torch.cat([past.values, value], 2)  # [B, heads, W + T, d]
        now = Turn(by.cos[kept:], by.sin[kept:])
        y = F.scaled_dot_product_attention(rotate(query, now), rotate(keys, by), values, attn_mask=visible)
        y = self.leave(y.transpose(1, 2).flatten(2))
        return y, Ring(keys[:, :, steps:], values[:, :, steps:])


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202): of the same cost as a plain layer of one and a half times the width, and better."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rise = nn.Linear(width, 2 * FEED_FORWARD * width)
        self.fall = nn.Linear(FEED_FORWARD * width, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.rise(x).chunk(2, -1)
        y: Tensor = self.fall(F.silu(gate) * value)
        return y


class Block(nn.Module):
    """Attention, then a feed-forward layer, each added to its normalised input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Ring, visible: Tensor, by: Turn) -> tuple[Tensor, Ring]:
        """As ``Attention``."""
        y, ring = self.attention(self.attention_norm(x), past, visible, by)
        x = x + self.dropout(y)
        return x + self.dropout(self.feed_forward(self.norm(x))), ring
