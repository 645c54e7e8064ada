"""A part of a model in fewer bits than its neighbours, which stay in float32.

Convolutions and linear maps of the decoder and the vocoder are most of the work and bear it; sums of codes, exponentials and
the inverse STFT stay as they are, and so does the whole encoder: codes are everywhere the same.
"""

from typing import cast

import torch
from torch import Tensor, nn

from .codec import Codec
from .griffin_lim import StreamingGriffinLim
from .streaming import State, Streaming
from .vocos import Vocos


class Lowered(nn.Module):
    """A streaming module of tensors in ``dtype`` that takes and gives what its neighbours have."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype) -> None:
        """Turns ``inner`` itself."""
        super().__init__()
        self.inner, self.dtype = inner.to(dtype), dtype

    @property
    def delay(self) -> int:
        return cast(Streaming, self.inner).delay

    def initial_state(self, batch: int) -> State:
        return cast(Streaming, self.inner).initial_state(batch)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self.inner(x.to(self.dtype), state)
        return y.to(x.dtype), state


def lower(codec: Codec, dtype: torch.dtype) -> None:
    """Decoder and vocoder of ``codec`` in ``dtype`` from now on.

    Raises:
        ValueError: its vocoder is not a network.
    """
    if isinstance(codec.vocoder, StreamingGriffinLim) or not isinstance(codec.vocoder, nn.Module):
        raise ValueError("Griffin-Lim has no network to lower")
    synthesis = codec.net.synthesis
    synthesis.stack = Lowered(synthesis.stack, dtype)  # type: ignore[assignment]
    if isinstance(codec.vocoder, Vocos):
        codec.vocoder.stack = Lowered(codec.vocoder.stack, dtype)
    else:
        codec.vocoder = Lowered(codec.vocoder, dtype)
