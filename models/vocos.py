"""Causal Vocos: mel frames to samples through an inverse STFT, all work at mel rate (arXiv 2306.00814).

The synthesis window spans three hops. That of the newest frame begins ``n_fft / 2`` samples before the frame's own hop and
so ends within what the frame has heard. What no later window touches is played: it lies ``n_fft / 2`` samples back, as with
HiFi-GAN, and the front end's delay is the only one there is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bands import outline, outline_offset
from .config import LOUDEST, MEL_MEAN, MEL_SPREAD, STFT_OVERLAP, MelConfig, VocosConfig
from .conv import CausalConv1d, ConvNeXtBlock, Stack
from .streaming import State
from .trunk import PerFrame


class InverseSTFT(nn.Module):
    """Spectra of overlapping frames to samples: [B, T, bins] complex -> [B, T * hop]."""

    delay = 0
    window: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop, self.length = hop, STFT_OVERLAP * hop
        window = torch.hann_window(self.length)
        sums = window.square().view(STFT_OVERLAP, hop).sum(0)  # the same for every sample
        self.register_buffer("window", window / sums.mean(), persistent=False)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros [batch, STFT_OVERLAP - 1, hop]: what finished frames still add to the next hops."""
        return self.window.new_zeros(batch, STFT_OVERLAP - 1, self.hop)

    def forward(self, spectrum: Tensor, owed: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.fft.irfft(spectrum, n=self.length) * self.window
        batch, steps = frames.shape[:2]
        pieces = frames.view(batch, steps, STFT_OVERLAP, self.hop)
        total = F.pad(owed, (0, 0, 0, steps))  # [B, steps + STFT_OVERLAP - 1, hop]
        for i in range(STFT_OVERLAP):
            total = total + F.pad(pieces[:, :, i], (0, 0, i, STFT_OVERLAP - 1 - i))
        return total[:, :steps].flatten(1), total[:, steps:]


class Vocos(nn.Module):
    """Mel [B, M, T] to samples [B, T * hop] in [-1, 1].

    Magnitudes start as what the mel says, interpolated over the bins; the network learns what to add, and the phases.
    """

    delay = 0
    outline: Tensor

    def __init__(self, mel: MelConfig, config: VocosConfig) -> None:
        super().__init__()
        width = config.width
        blocks = [ConvNeXtBlock(width, config.kernel, config.expansion) for _ in range(config.blocks)]
        self.inverse = InverseSTFT(mel.hop)
        bins = self.inverse.length // 2 + 1
        self.stack = Stack(CausalConv1d(mel.n_mels, width, config.kernel), *blocks, PerFrame(width, 2 * bins))
        self.register_buffer("outline", torch.from_numpy(outline(mel, bins)), persistent=False)
        self.offset = outline_offset(mel, self.inverse.length)

    def initial_state(self, batch: int) -> State:
        return self.stack.initial_state(batch), self.inverse.initial_state(batch)

    def forward(self, mel: Tensor, state: State) -> tuple[Tensor, State]:
        stacked, owed = state
        x, stacked = self.stack((mel - MEL_MEAN) / MEL_SPREAD, stacked)
        size, angle = x.transpose(1, 2).chunk(2, dim=-1)  # [B, T, bins] each
        size = size + mel.transpose(1, 2) @ self.outline + self.offset
        magnitude = size.clamp(max=LOUDEST).exp()
        pcm, owed = self.inverse(torch.polar(magnitude, angle), owed)
        return pcm.clamp(-1, 1), (stacked, owed)
