"""Judges of sound: multi-period (HiFi-GAN, arXiv 2010.05646) and multi-resolution spectrogram (UnivNet, arXiv 2106.07889).

Smaller than in the papers, so that two cores can train against them; ``width`` brings them back to size on a GPU.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1
RESOLUTIONS = ((512, 128), (1024, 256), (2048, 512))  # n_fft, hop

Verdict = tuple[list[Tensor], list[list[Tensor]]]


class PeriodJudge(nn.Module):
    """Looks at every ``period``-th sample."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, width, 2 * width, 4 * width, 8 * width]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0)) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, pcm: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, T] -> scores, and the features of every layer."""
        x = F.pad(pcm, (0, -pcm.shape[-1] % self.period)).view(pcm.shape[0], 1, -1, self.period)
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        return self.last(x), features


class SpectrumJudge(nn.Module):
    """Looks at a magnitude spectrogram of one resolution."""

    window: Tensor

    def __init__(self, n_fft: int, hop: int, width: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(1, width, (9, 3), (2, 1), (4, 1)),
                nn.Conv2d(width, width, (9, 3), (2, 1), (4, 1)),
                nn.Conv2d(width, width, (9, 3), (2, 1), (4, 1)),
                nn.Conv2d(width, width, (3, 3), padding=1),
            ]
        )
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, pcm: Tensor) -> tuple[Tensor, list[Tensor]]:
        spectrum = torch.stft(pcm, self.n_fft, self.hop, window=self.window, return_complex=True)
        x = (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()[:, None]
        x = (x + 1e-3).log() / 3  # [B, 1, bins, frames] near unit size: quiet speech is judged too
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        return self.last(x), features


class Judges(nn.Module):
    """All of them; ``forward`` asks some."""

    def __init__(self, periods: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.n_periods = len(periods)
        self.judges = nn.ModuleList(
            [PeriodJudge(p, width) for p in periods] + [SpectrumJudge(n, h, width) for n, h in RESOLUTIONS]
        )

    def on_duty(self, step: int, at_once: int) -> list[int]:
        """Who judges at ``step``: of each kind ``at_once``, in turn. All of them cost more than the rest of a step."""
        n, spectra = self.n_periods, len(RESOLUTIONS)
        periods = {(step * at_once + i) % n for i in range(at_once)}
        return sorted(periods | {n + (step * at_once + i) % spectra for i in range(at_once)})

    def forward(self, pcm: Tensor, asked: Sequence[int]) -> Verdict:
        """[B, T] -> the scores and the features of every judge that is asked."""
        pairs = [self.judges[i](pcm) for i in asked]
        return [score for score, _ in pairs], [features for _, features in pairs]
