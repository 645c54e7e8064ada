"""The causal transformer over code frames: a streaming module whose past is a ring of ``window`` frames.

Its memory is bounded and the same at every frame. A frame sees itself and at most ``window`` frames before it in each layer.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .attention import Block, Ring, Turn, turn
from .talker_config import TalkerConfig


class FrameState(NamedTuple):
    """What a row keeps: as much after a second as after an hour."""

    seen: Tensor
    "Frames in the ring, float32 [B, 1], at most ``window``."
    rings: tuple[Ring, ...]
    "Of every layer."


class FrameTransformer(nn.Module):
    """[B, T, D] -> the same shape, any T >= 1."""

    delay = 0

    def __init__(self, config: TalkerConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.window, self.head_width = config.window, config.width // config.heads
        self.blocks = nn.ModuleList(Block(config.width, config.heads, dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def initial_state(self, batch: int) -> FrameState:
        """Nothing seen yet."""
        rings = tuple(block.attention.empty(batch, self.window) for block in self.blocks)  # type: ignore[operator,union-attr]
        return FrameState(self.norm.weight.new_zeros(batch, 1), rings)

    def angles(self, steps: int) -> Turn:
        """Of the past and of ``steps`` steps, where the weights are."""
        return turn(self.window + steps, self.head_width, self.norm.weight)

    def forward(self, x: Tensor, state: FrameState, by: Turn | None = None) -> tuple[Tensor, FrameState]:
        """``by``: ``angles`` of as many steps, where they are at hand."""
        steps, window = x.shape[1], self.window
        ago = torch.arange(window, window + steps, device=x.device)[:, None]
        ago = ago - torch.arange(window + steps, device=x.device)  # [T, W + T]
        filled = torch.arange(window + steps, device=x.device) >= window - state.seen  # [B, W + T]
        visible = ((ago >= 0) & (ago <= window))[None, None] & filled[:, None, None]
        by = turn(window + steps, self.head_width, x) if by is None else by
        rings = []
        for block, past in zip(self.blocks, state.rings, strict=True):
            x, ring = block(x, past, visible, by)
            rings.append(ring)
        return self.norm(x), FrameState((state.seen + steps).clamp(max=window), tuple(rings))
