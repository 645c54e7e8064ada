"""Causal Vocos: mel frames to samples through an inverse STFT, all work at mel rate (arXiv 2306.00814).

The synthesis window spans three hops. That of the newest frame begins ``n_fft / 2`` samples before the frame's own hop and
so ends within what the frame has heard. What no later window touches is played: it lies ``n_fft / 2`` samples back, as with
HiFi-GAN, and the front end's delay is the only one there is.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import MelConfig, VocosConfig
from .conv import CausalConv1d, ConvNeXtBlock, Stack
from .mel import slaney_filterbank
from .streaming import State
from .trunk import MEL_MEAN, MEL_SPREAD, PerFrame

OVERLAP = 3  # hops under a synthesis window: from three on, squared Hann windows add up to a constant
LOUDEST = 5.0  # log magnitude at which a bin is held; a full-scale sine has 5.2


class InverseSTFT(nn.Module):
    """Spectra of overlapping frames to samples: [B, T, bins] complex -> [B, T * hop]."""

    delay = 0
    window: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop, self.length = hop, OVERLAP * hop
        window = torch.hann_window(self.length)
        sums = window.square().view(OVERLAP, hop).sum(0)  # the same for every sample
        self.register_buffer("window", window / sums.mean(), persistent=False)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros [batch, OVERLAP - 1, hop]: what finished frames still add to the next hops."""
        return self.window.new_zeros(batch, OVERLAP - 1, self.hop)

    def forward(self, spectrum: Tensor, owed: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.fft.irfft(spectrum, n=self.length) * self.window
        batch, steps = frames.shape[:2]
        pieces = frames.view(batch, steps, OVERLAP, self.hop)
        total = F.pad(owed, (0, 0, 0, steps))  # [B, steps + OVERLAP - 1, hop]
        for i in range(OVERLAP):
            total = total + F.pad(pieces[:, :, i], (0, 0, i, OVERLAP - 1 - i))
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
        self.register_buffer("outline", self._outline(mel, bins), persistent=False)
        # Slaney's norm makes a band the magnitude per Hz; a shorter window sums up less of it
        self.offset = math.log(mel.rate_hz / mel.n_fft * self.inverse.length / mel.n_fft)

    @staticmethod
    def _outline(mel: MelConfig, bins: int) -> Tensor:
        """[M, bins]: log-mel interpolated at the centre of every bin."""
        centres = slaney_filterbank(mel).argmax(-1) / mel.n_fft  # of the bands, in cycles a sample
        at = torch.linspace(0, 0.5, bins)
        above = torch.searchsorted(centres, at).clamp(1, mel.n_mels - 1)
        low, high = centres[above - 1], centres[above]
        share = ((at - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
        weight = torch.zeros(mel.n_mels, bins)
        weight[above - 1, torch.arange(bins)] = 1 - share
        weight[above, torch.arange(bins)] += share
        return weight

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
