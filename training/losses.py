"""Distances between sounds, and the adversarial terms (least squares, arXiv 1611.04076, as in HiFi-GAN)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sottovoce.models.bands import slaney_filterbank
from sottovoce.models.config import MelConfig

NARROWBAND_TOP_HZ = 7_600
SCALES = ((256, 20), (512, 40), (1024, 80), (2048, 128))  # n_fft, bands


def as_recorded(pcm: Tensor, wideband: Tensor, rate_hz: int) -> Tensor:
    """Sound [B, T] without what the rows that are not ``wideband`` [B] cannot hold: what a narrow recording lacks is neither
    a mistake where it is made, nor to be learnt."""
    spectrum = torch.fft.rfft(pcm)
    at_hz = torch.linspace(0, rate_hz / 2, spectrum.shape[-1], device=pcm.device)
    kept: Tensor = torch.fft.irfft(spectrum * (wideband[:, None] | (at_hz < NARROWBAND_TOP_HZ)), n=pcm.shape[-1])
    return kept


class MultiScaleMel(nn.Module):
    """Mean distance of log-mel spectra at several resolutions, plus that of plain magnitudes, which sees harmonics."""

    def __init__(self, rate_hz: int) -> None:
        super().__init__()
        for n_fft, n_mels in SCALES:
            bands = slaney_filterbank(MelConfig(rate_hz=rate_hz, hop=n_fft // 4, n_fft=n_fft, n_mels=n_mels))
            self.register_buffer(f"bands_{n_fft}", torch.from_numpy(bands), persistent=False)
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """Scalar for two sounds [B, T]; gradients reach ``made`` alone."""
        total = made.new_zeros(())
        for n_fft, _ in SCALES:
            window, bands = self.get_buffer(f"window_{n_fft}"), self.get_buffer(f"bands_{n_fft}")
            magnitude = self._magnitude(made, window)
            with torch.no_grad():
                target = self._magnitude(real, window)
            log_mel, log_target = ((m @ bands.T).clamp(min=1e-4).log() for m in (magnitude, target))
            total = total + F.l1_loss(log_mel, log_target)
            total = total + (magnitude - target).abs().sum() / target.sum().clamp(min=1.0)
        return total / len(SCALES)

    @staticmethod
    def _magnitude(pcm: Tensor, window: Tensor) -> Tensor:
        """[B, frames, bins]; windows inside the sound only."""
        n_fft = len(window)
        spectrum = torch.fft.rfft(pcm.unfold(-1, n_fft, n_fft // 4) * window)
        magnitude: Tensor = (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()
        return magnitude


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
