"""The speech clip that the repository carries."""

from pathlib import Path

import soundfile
import soxr
import torch
from torch import Tensor

CLIP = Path(__file__).parents[2] / "clients" / "demo.flac"


def speech(rate_hz: int, multiple: int) -> Tensor:
    """Four seconds of the demo clip, [1, T]."""
    pcm, clip_rate_hz = soundfile.read(CLIP, dtype="float32")
    pcm = soxr.resample(pcm[: 4 * clip_rate_hz], clip_rate_hz, rate_hz)
    return torch.from_numpy(pcm[: len(pcm) // multiple * multiple])[None]
