"""Distances between sounds, and the adversarial terms (least squares, arXiv 1611.04076, as in HiFi-GAN)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sottovoce.models.config import MelConfig
from sottovoce.models.mel import slaney_filterbank

SCALES = ((256, 20), (512, 40), (1024, 80), (2048, 128))  # n_fft, bands


class MultiScaleMel(nn.Module):
    """Mean distance of log-mel spectra at several resolutions, plus that of plain magnitudes, which sees harmonics."""

    def __init__(self, rate_hz: int) -> None:
        super().__init__()
        for n_fft, n_mels in SCALES:
            bands = slaney_filterbank(MelConfig(rate_hz=rate_hz, hop=n_fft // 4, n_fft=n_fft, n_mels=n_mels))
            self.register_buffer(f"bands_{n_fft}", bands, persistent=False)
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """Scalar for two sounds [B, T]."""
        total = made.new_zeros(())
        for n_fft, _ in SCALES:
            window, bands = self.get_buffer(f"window_{n_fft}"), self.get_buffer(f"bands_{n_fft}")
            both = torch.cat([made, real])
            spectrum = torch.stft(both, n_fft, n_fft // 4, window=window, return_complex=True)
            magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()
            log_mel = (bands @ magnitude).clamp(min=1e-4).log()
            a, b = log_mel.chunk(2)
            c, d = magnitude.chunk(2)
            total = total + F.l1_loss(a, b) + (c - d).abs().sum() / d.sum().clamp(min=1.0)
        return total / len(SCALES)


def judge_loss(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """What the discriminators minimise: real is one, made is zero."""
    terms = [(r - 1).square().mean() + m.square().mean() for r, m in zip(real, made, strict=True)]
    return torch.stack(terms).mean()


def fool_loss(made: Sequence[Tensor]) -> Tensor:
    """What the generator minimises: made passes for real."""
    return torch.stack([(m - 1).square().mean() for m in made]).mean()


def feature_loss(real: Sequence[Sequence[Tensor]], made: Sequence[Sequence[Tensor]]) -> Tensor:
    """Relative distance of the discriminators' inner features (feature matching)."""
    terms = [
        F.l1_loss(m, r.detach()) / r.detach().abs().mean().clamp(min=1e-4)
        for judge_r, judge_m in zip(real, made, strict=True)
        for r, m in zip(judge_r, judge_m, strict=True)
    ]
    return torch.stack(terms).mean()
