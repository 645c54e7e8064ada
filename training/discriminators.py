"""Judges of sound: by period and by scale (MPD and MSD of HiFi-GAN, arXiv 2010.05646), and by spectrograms of several
resolutions (UnivNet, arXiv 2106.07889; their logarithm, so that quiet speech is judged too).

Smaller than in the papers, so that two cores can train against them; ``width`` brings them back to size on a GPU.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1
RESOLUTIONS = ((512, 128), (1024, 256), (2048, 512))  # n_fft, hop
SCALES = (1, 2, 4)
GROUPS = 4
SCALE_KERNEL = 41

Kind = Literal["period", "spectrum", "scale"]
KINDS: tuple[Kind, ...] = ("period", "spectrum", "scale")
Verdict = tuple[list[Tensor], list[list[Tensor]]]


class Judge(nn.Module, ABC):
    """Shows the sound in its own way, then looks at that with convolutions, whose features are compared too."""

    convs: nn.ModuleList
    last: nn.Module

    @abstractmethod
    def show(self, pcm: Tensor) -> Tensor:
        """[B, T] -> what the convolutions see, in float32."""

    def look(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, and the features of every layer."""
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        return self.last(x), features

    def forward(self, pcm: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, T] -> as ``look``."""
        return self.look(self.show(pcm))


class PeriodJudge(Judge):
    """Looks at every ``period``-th sample."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, width, 2 * width, 4 * width, 8 * width]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0)) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))

    def show(self, pcm: Tensor) -> Tensor:
        return F.pad(pcm, (0, -pcm.shape[-1] % self.period)).view(pcm.shape[0], 1, -1, self.period)


class ScaleJudge(Judge):
    """Looks at the waveform itself, averaged over ``factor`` samples."""

    def __init__(self, factor: int, width: int) -> None:
        super().__init__()
        self.factor = factor
        widths = [width, 2 * width, 4 * width, 8 * width]
        first, half = nn.Conv1d(1, width, 15, padding=7), SCALE_KERNEL // 2
        strided = [nn.Conv1d(a, b, SCALE_KERNEL, 4, half, groups=GROUPS) for a, b in pairwise(widths)]
        self.convs = nn.ModuleList([first, *strided, nn.Conv1d(widths[-1], widths[-1], 5, padding=2)])
        self.last = nn.Conv1d(widths[-1], 1, 3, padding=1)

    def show(self, pcm: Tensor) -> Tensor:
        x = pcm[:, None]
        return x if self.factor == 1 else F.avg_pool1d(x, 2 * self.factor, self.factor, self.factor // 2)


class SpectrumJudge(Judge):
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

    def show(self, pcm: Tensor) -> Tensor:
        spectrum = torch.stft(pcm, self.n_fft, self.hop, window=self.window, return_complex=True)
        x = (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()[:, None]
        return (x + 1e-3).log() / 3  # [B, 1, bins, frames] near unit size: quiet speech is judged too


class Judges(nn.Module):
    """All of them; ``forward`` asks some."""

    def __init__(self, periods: tuple[int, ...], width: int, kinds: Sequence[Kind] = ("period", "spectrum")) -> None:
        """``kinds`` in the order of ``KINDS``, which is that of the parameters' names."""
        super().__init__()
        of_kind: dict[Kind, list[Judge]] = {
            "period": [PeriodJudge(p, width) for p in periods if "period" in kinds],
            "spectrum": [SpectrumJudge(n, h, width) for n, h in RESOLUTIONS if "spectrum" in kinds],
            "scale": [ScaleJudge(f, width) for f in SCALES if "scale" in kinds],
        }
        self.sizes = [len(some) for some in of_kind.values() if some]
        self.judges = nn.ModuleList(judge for some in of_kind.values() for judge in some)

    def on_duty(self, step: int, at_once: int) -> list[int]:
        """Who judges at ``step``: of each kind ``at_once``, in turn. All of them cost more than the rest of a step."""
        asked, begin = [], 0
        for size in self.sizes:
            asked += [begin + (step * at_once + i) % size for i in range(min(at_once, size))]
            begin += size
        return sorted(asked)

    def forward(self, pcm: Tensor, asked: Sequence[int]) -> Verdict:
        """[B, T] -> the scores and the features of every judge that is asked."""
        pairs = [self.judges[i](pcm) for i in asked]
        return [score for score, _ in pairs], [features for _, features in pairs]
