"""Causal HiFi-GAN: mel frames to samples, frame by frame (arXiv 2010.05646, residual blocks of its third version).

It is trained to say what lies ``n_fft / 2`` samples back, the middle of the newest mel window: the front end's delay is
the only one there is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import LEAKY_SLOPE, MEL_MEAN, MEL_SPREAD, HiFiGanConfig, MelConfig
from .conv import CausalConv1d, CausalConvTranspose1d
from .streaming import State


class ResidualBlock(nn.Module):
    """x + conv(leaky(x)) for each dilation in turn: [B, C, T] -> the same."""

    delay = 0

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(CausalConv1d(channels, channels, kernel, dilation=d) for d in dilations)

    def initial_state(self, batch: int) -> State:
        return tuple(conv.initial_state(batch) for conv in self.convs)  # type: ignore[operator]

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        following = []
        for conv, past in zip(self.convs, state, strict=True):
            y, past = conv(F.leaky_relu(x, LEAKY_SLOPE), past)
            x = x + y
            following.append(past)
        return x, tuple(following)


class Upsampling(nn.Module):
    """One stage: a transposed convolution, then the mean of residual blocks of several kernels (multi-receptive field)."""

    delay = 0

    def __init__(self, c_in: int, c_out: int, rate: int, kernel: int, config: HiFiGanConfig) -> None:
        super().__init__()
        self.up = CausalConvTranspose1d(c_in, c_out, kernel, rate)
        self.blocks = nn.ModuleList(ResidualBlock(c_out, k, config.mrf_dilations) for k in config.mrf_kernels)

    def initial_state(self, batch: int) -> State:
        return self.up.initial_state(batch), tuple(block.initial_state(batch) for block in self.blocks)  # type: ignore[operator]

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        owed, pasts = state
        x, owed = self.up(F.leaky_relu(x, LEAKY_SLOPE), owed)
        total, following = torch.zeros_like(x), []
        for block, past in zip(self.blocks, pasts, strict=True):
            y, past = block(x, past)
            total = total + y
            following.append(past)
        return total / len(self.blocks), (owed, tuple(following))


class HiFiGan(nn.Module):
    """Mel [B, M, T] to samples [B, T * hop] in [-1, 1]."""

    delay = 0

    def __init__(self, mel: MelConfig, config: HiFiGanConfig) -> None:
        super().__init__()
        channels = config.channels
        self.enter = CausalConv1d(mel.n_mels, channels, 7)
        stages = []
        for rate, kernel in zip(config.rates, config.kernels, strict=True):
            stages.append(Upsampling(channels, channels // 2, rate, kernel, config))
            channels //= 2
        self.stages = nn.ModuleList(stages)
        self.leave = CausalConv1d(channels, 1, 7)

    def initial_state(self, batch: int) -> State:
        inner = tuple(stage.initial_state(batch) for stage in self.stages)  # type: ignore[operator]
        return self.enter.initial_state(batch), inner, self.leave.initial_state(batch)

    def forward(self, mel: Tensor, state: State) -> tuple[Tensor, State]:
        entering, inner, leaving = state
        x, entering = self.enter((mel - MEL_MEAN) / MEL_SPREAD, entering)
        following = []
        for stage, past in zip(self.stages, inner, strict=True):
            x, past = stage(x, past)
            following.append(past)
        x, leaving = self.leave(F.leaky_relu(x, LEAKY_SLOPE), leaving)
        return torch.tanh(x).squeeze(1), (entering, tuple(following), leaving)
