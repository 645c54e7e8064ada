"""Encoder and decoder trunks: mel frames to latents at code rate, and back.

Almost all work happens at code rate (25 Hz in ``base``), where a step is cheap; a few light blocks at mel rate smooth what
the upsampling left.
"""

from torch import Tensor, nn

from .config import MelConfig, TrunkConfig
from .conv import CausalConv1d, CausalConvTranspose1d, ConvNeXtBlock, Stack
from .streaming import State

MEL_MEAN, MEL_SPREAD = -6.0, 3.0  # fixed affine map that brings speech near zero mean, unit variance


class PerFrame(nn.Module):
    """A layer norm and a linear map of every frame by itself: [B, c_in, T] -> [B, c_out, T]."""

    delay = 0

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c_in)
        self.linear = nn.Linear(c_in, c_out)

    def initial_state(self, batch: int) -> tuple[()]:
        return ()

    def forward(self, x: Tensor, state: tuple[()]) -> tuple[Tensor, tuple[()]]:
        return self.linear(self.norm(x.transpose(1, 2))).transpose(1, 2), state


class Encoder(nn.Module):
    """Mel [B, M, n * mels_per_frame] to latents [B, D, n]."""

    delay = 0

    def __init__(self, mel: MelConfig, config: TrunkConfig) -> None:
        super().__init__()
        width, stride = config.encoder_width, config.mels_per_frame
        blocks = [ConvNeXtBlock(width, config.kernel, config.expansion) for _ in range(config.encoder_blocks)]
        stem = CausalConv1d(mel.n_mels, width, kernel=2 * stride + (stride == 1), stride=stride)
        self.stack = Stack(stem, *blocks, PerFrame(width, config.latent))

    def initial_state(self, batch: int) -> State:
        return self.stack.initial_state(batch)

    def forward(self, mel: Tensor, state: State) -> tuple[Tensor, State]:
        latent, state = self.stack((mel - MEL_MEAN) / MEL_SPREAD, state)
        return latent, state


class Decoder(nn.Module):
    """Latents [B, D, n] to mel [B, M, n * mels_per_frame]."""

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
        self.stack = Stack(*parts, PerFrame(width, mel.n_mels))

    def initial_state(self, batch: int) -> State:
        return self.stack.initial_state(batch)

    def forward(self, latent: Tensor, state: State) -> tuple[Tensor, State]:
        mel, state = self.stack(latent, state)
        return mel * MEL_SPREAD + MEL_MEAN, state
