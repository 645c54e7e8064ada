"""Encoder and decoder trunks: mel frames to latents at code rate, and back.

Almost all work happens at code rate (25 Hz in ``base``), where a step is cheap; a few light blocks at mel rate smooth what
the upsampling left.
"""

import torch
from torch import Tensor, nn

from .config import MEL_MEAN, MEL_SPREAD, MelConfig, TrunkConfig
from .conv import CausalConv1d, CausalConvTranspose1d, ConvNeXtBlock, Stack
from .streaming import State


class PerFrame(nn.Module):
    """A layer norm and a linear map of every frame by itself: [B, c_in, T] -> [B, c_out, T]."""

    delay = 0

    def __init__(self, c_in: int, c_out: int, silent: bool = False) -> None:
        """``silent``: starts as zeros, so that a sum it joins is at first what it was without it."""
        super().__init__()
        self.norm = nn.LayerNorm(c_in)
        self.linear = nn.Linear(c_in, c_out)
        if silent:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def initial_state(self, batch: int) -> tuple[()]:
        return ()

    def forward(self, x: Tensor, state: tuple[()]) -> tuple[Tensor, tuple[()]]:
        return self.linear(self.norm(x.transpose(1, 2))).transpose(1, 2), state


class Encoder(nn.Module):
    """Mel [B, M, n * mels_per_frame] to latents [B, D, n]: a linear view of the frame, and what context adds to it."""

    delay = 0

    def __init__(self, mel: MelConfig, config: TrunkConfig) -> None:
        super().__init__()
        width, stride = config.encoder_width, config.mels_per_frame
        blocks = [ConvNeXtBlock(width, config.kernel, config.expansion) for _ in range(config.encoder_blocks)]
        stem = CausalConv1d(mel.n_mels, width, kernel=2 * stride + (stride == 1), stride=stride)
        self.view = CausalConv1d(mel.n_mels, config.latent, kernel=stride, stride=stride)
        self.stack = Stack(stem, *blocks, PerFrame(width, config.latent, silent=True))

    def initial_state(self, batch: int) -> State:
        return self.view.initial_state(batch), self.stack.initial_state(batch)

    def forward(self, mel: Tensor, state: State) -> tuple[Tensor, State]:
        viewing, stacked = state
        x = (mel - MEL_MEAN) / MEL_SPREAD
        plain, viewing = self.view(x, viewing)
        added, stacked = self.stack(x, stacked)
        return plain + added, (viewing, stacked)


class Decoder(nn.Module):
    """Latents [B, D, n] to mel [B, M, n * mels_per_frame]: the linear view undone, and what context adds to it."""

    delay = 0

    def __init__(self, mel: MelConfig, config: TrunkConfig) -> None:
        super().__init__()
        width, stride = config.decoder_width, config.mels_per_frame
        parts: list[nn.Module] = [CausalConv1d(config.latent, width, kernel=3)]
        parts += [ConvNeXtBlock(width, config.kernel, config.expansion) for _ in range(config.decoder_blocks)]
        if config.refine_blocks:
            refine = config.refine_width
            parts += [CausalConvTranspose1d(width, refine, 2 * stride, stride)]
            parts += [ConvNeXtBlock(refine, config.kernel, config.expansion) for _ in range(config.refine_blocks)]
            width = refine
        self.view = CausalConvTranspose1d(config.latent, mel.n_mels, kernel=stride, stride=stride)
        self.stack = Stack(*parts, PerFrame(width, mel.n_mels, silent=True))

    def initial_state(self, batch: int) -> State:
        return self.view.initial_state(batch), self.stack.initial_state(batch)

    def forward(self, latent: Tensor, state: State) -> tuple[Tensor, State]:
        viewing, stacked = state
        plain, viewing = self.view(latent, viewing)
        added, stacked = self.stack(latent, stacked)
        return (plain + added) * MEL_SPREAD + MEL_MEAN, (viewing, stacked)


@torch.no_grad()
def start_from_components(encoder: Encoder, decoder: Decoder, mel: Tensor) -> None:
    """Set the linear views to the principal components of mel [B, M, T], largest first.

    Grown from chance, the latent finds these one after the other and slowly: after a thousand steps it spanned six
    dimensions, and the books had nothing left to code.
    """
    conv, back = encoder.view.conv, decoder.view.conv
    stride = encoder.view.stride
    x = (mel[..., : mel.shape[-1] // stride * stride] - MEL_MEAN) / MEL_SPREAD
    blocks = x.unfold(-1, stride, stride).transpose(1, 2).flatten(2).flatten(0, 1)  # [N, M * stride]
    mean = x.mean((0, 2))  # [M]
    centred = blocks - mean.repeat_interleave(stride)
    _, components = torch.linalg.eigh(centred.T @ centred / len(centred))
    weight = components.flip(1)[:, : conv.out_channels].T.reshape(conv.weight.shape)  # [D, M, stride]
    assert conv.bias is not None
    assert back.bias is not None
    conv.weight.copy_(weight)
    conv.bias.copy_(-(weight.sum(-1) @ mean))
    back.weight.copy_(weight)
    back.bias.copy_(mean)
