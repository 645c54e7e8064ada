"""Which vocoder a preset asks for: mel frames to samples."""

from .config import HiFiGanConfig, Preset
from .hifigan import HiFiGan
from .vocos import Vocos

Vocoder = HiFiGan | Vocos


def make_vocoder(preset: Preset) -> Vocoder:
    """A new one, with random weights: mel [B, M, T] -> samples [B, T * hop] in [-1, 1]."""
    if isinstance(preset.vocoder, HiFiGanConfig):
        return HiFiGan(preset.mel, preset.vocoder)
    return Vocos(preset.mel, preset.vocoder)
