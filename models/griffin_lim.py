"""Sound from mel without weights: Griffin-Lim, over a whole clip or frame by frame.

Offline: Griffin and Lim 1984. Streaming: real-time iterative spectrogram inversion with look-ahead (Zhu, Beauregard, Wyse
2007): the phases of the newest frames are iterated while what was already played stays as it is. It obeys the chunk law and
is what plays where no vocoder weights are given.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bands import slaney_filterbank
from .config import MelConfig

LOOK_AHEAD = 1  # mel frames that may still change when one is played
ROUNDS = 4  # iterations for every new frame


class MelInverse(nn.Module):
    """Log-mel [..., M] to magnitudes [..., bins], by the pseudo-inverse of the bands, negative values cut."""

    inverse: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        inverse = torch.linalg.pinv(torch.from_numpy(slaney_filterbank(config)).double()).float()
        self.register_buffer("inverse", inverse, persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        return (mel.exp() @ self.inverse.T).clamp(min=0)

    def one_frame(self, mel: Tensor) -> Tensor:
        """The same for mel [B, M], to the bit whatever B is.

        A matrix product rounds differently for another number of rows, and phase iteration turns the last bit into
        another sound: the streaming law needs equal bits here, not just close values.
        """
        return (mel.exp()[:, None] * self.inverse).sum(-1).clamp(min=0)


class GriffinLim(nn.Module):
    """The offline form: mel [B, M, T] -> samples [B, T * hop], in step with the streaming front end's frames."""

    window: Tensor

    def __init__(self, config: MelConfig, rounds: int = 32) -> None:
        super().__init__()
        self.config = config
        self.rounds = rounds
        self.magnitudes = MelInverse(config)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    @torch.no_grad()
    def forward(self, mel: Tensor) -> Tensor:
        """Lags the original by half a window, as every mel does; adds no delay of its own."""
        n_fft, hop = self.config.n_fft, self.config.hop
        magnitude = self.magnitudes(mel.transpose(1, 2)).transpose(1, 2)  # [B, bins, T]
        generator = torch.Generator(device=mel.device).manual_seed(0)
        angles = torch.rand(magnitude.shape, generator=generator, device=mel.device) * 2 * torch.pi
        spectrum = torch.polar(magnitude, angles)
        length = (mel.shape[-1] - 1) * hop
        for _ in range(self.rounds):
            pcm = torch.istft(spectrum, n_fft, hop, window=self.window, length=length + 1)
            again = torch.stft(pcm, n_fft, hop, window=self.window, return_complex=True)
            spectrum = torch.polar(magnitude, again.angle())
        pcm = torch.istft(spectrum, n_fft, hop, window=self.window, length=length + hop)
        return F.pad(pcm, (hop, 0))[:, : mel.shape[-1] * hop].clamp(-1, 1)


class GriffinLimState(NamedTuple):
    """Samples played but still overlapped, and the frames that may still change."""

    tail: Tensor  # [B, n_fft - hop] windowed sum of finished frames where later ones will add
    magnitudes: Tensor  # [B, LOOK_AHEAD, bins]
    frames: Tensor  # [B, LOOK_AHEAD, n_fft] windowed


class StreamingGriffinLim(nn.Module):
    """Mel [B, M, T] to samples [B, T * hop], one frame after the other."""

    window: Tensor
    weight: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.magnitudes = MelInverse(config)
        window = torch.hann_window(config.n_fft)
        past = -(-config.n_fft // config.hop)
        square = window.square()
        self.register_buffer("window", window, persistent=False)
        # how much window weight lies under each sample: all finished frames, and the LOOK_AHEAD + 1 open ones
        total = torch.zeros((past + LOOK_AHEAD) * config.hop + config.n_fft)
        for start in range(0, (past + LOOK_AHEAD + 1) * config.hop, config.hop):
            total[start : start + config.n_fft] += square
        total = total[past * config.hop :]
        self.register_buffer("weight", 1 / total.clamp(min=1e-2), persistent=False)

    @property
    def delay(self) -> int:
        """Samples beyond the front end's half window: the rest of the window, and the look-ahead."""
        return self.config.n_fft // 2 - self.config.hop + LOOK_AHEAD * self.config.hop

    def initial_state(self, batch: int) -> GriffinLimState:
        n_fft, hop = self.config.n_fft, self.config.hop
        zeros = self.window.new_zeros
        return GriffinLimState(
            zeros(batch, n_fft - hop), zeros(batch, LOOK_AHEAD, n_fft // 2 + 1), zeros(batch, LOOK_AHEAD, n_fft)
        )

    @torch.no_grad()
    def forward(self, mel: Tensor, state: GriffinLimState) -> tuple[Tensor, GriffinLimState]:
        blocks = []
        state = GriffinLimState(*state)  # a captured graph passes plain tuples
        for frame in mel.unbind(-1):
            pcm, state = self._step(self.magnitudes.one_frame(frame.contiguous()), state)
            blocks.append(pcm)
        return torch.cat(blocks, -1).clamp(-1, 1), state

    def _step(self, magnitude: Tensor, state: GriffinLimState) -> tuple[Tensor, GriffinLimState]:
        """One new frame [B, bins] in, the samples [B, hop] that no frame will touch again out."""
        n_fft, hop = self.config.n_fft, self.config.hop
        length = n_fft + LOOK_AHEAD * hop
        tail = F.pad(state.tail, (0, length - state.tail.shape[-1]))
        targets = torch.cat([state.magnitudes, magnitude[:, None]], 1)
        frames = F.pad(state.frames, (0, 0, 0, 1))  # the new frame begins with what its neighbours say
        for _ in range(ROUNDS):
            pcm = (tail + self._overlap(frames, length)) * self.weight
            spectrum = torch.fft.rfft(pcm.unfold(-1, n_fft, hop) * self.window)
            # phase of what is there; where nothing is, phase zero
            size = spectrum.abs()
            unit = torch.where(size > 1e-9, spectrum / size, 1.0)
            frames = torch.fft.irfft(targets * unit, n=n_fft) * self.window
        tail = tail + F.pad(frames[:, 0], (0, length - n_fft))
        played = tail[:, :hop] * self.weight[:hop]
        return played, GriffinLimState(tail[:, hop:n_fft].clone(), targets[:, 1:], frames[:, 1:])

    def _overlap(self, frames: Tensor, length: int) -> Tensor:
        hop, n_fft = self.config.hop, self.config.n_fft
        out = frames.new_zeros(frames.shape[0], length)
        for i, frame in enumerate(frames.unbind(1)):
            out[:, i * hop : i * hop + n_fft] += frame
        return out
