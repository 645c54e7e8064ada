"""The log-mel front end: the one definition of mel that codec, vocoder, training and evaluation share (``spectral.py`` is the
same in numpy, and a test says so).

Magnitude spectrum (Hann window), Slaney bands with Slaney's area norm, natural logarithm with a floor. Checked against
librosa in the tests. No normalisation of any kind: what a frame looks like depends on its own samples alone.
"""

import torch
from torch import Tensor, nn

from .bands import slaney_filterbank
from .config import MelConfig


class LogMel(nn.Module):
    """Samples to log-mel frames, without look-ahead.

    Frame i is complete with sample ``i * hop + hop - 1``; its window is the last ``n_fft`` samples, so that what it
    describes lies ``n_fft / 2`` samples back: that is its delay.
    """

    window: Tensor
    bands: Tensor
    spread: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("bands", torch.from_numpy(slaney_filterbank(config)), persistent=False)
        self.register_buffer("spread", self.bands.T.contiguous(), persistent=False)

    @property
    def delay(self) -> int:
        return self.config.n_fft // 2

    def initial_state(self, batch: int) -> Tensor:
        """Silence: zeros [batch, n_fft - hop]."""
        return self.window.new_zeros(batch, self.config.n_fft - self.config.hop)

    def forward(self, pcm: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel of a stretch of audio.

        Args:
            pcm: [B, T] float32 in [-1, 1]; T a multiple of ``hop``.
            past: from ``initial_state`` or the previous call.

        Returns:
            mel [B, M, T / hop] in natural-log units, floor -11.5; and the next state.

        Raises:
            ValueError: T is not a multiple of ``hop``.
        """
        if pcm.shape[-1] % self.config.hop:
            raise ValueError(f"{pcm.shape[-1]} samples are not a multiple of hop {self.config.hop}")
        pcm = torch.cat([past, pcm], dim=-1)
        frames = pcm.unfold(-1, self.config.n_fft, self.config.hop)  # [B, T/hop, n_fft]
        magnitude = torch.fft.rfft(frames * self.window).abs()  # [B, T/hop, n_fft/2+1]
        mel = magnitude @ self.spread  # [B, T/hop, M]
        log_mel = mel.clamp(min=self.config.floor).log().transpose(1, 2)
        return log_mel, pcm[..., pcm.shape[-1] - past.shape[-1] :]
