"""Causal convolutions over time and the blocks made of them, with their states.

input   x0 x1 x2 x3 | x4 x5 ...          CausalConv1d keeps the last (kernel-1)*dilation+1-stride inputs
output  y0 y1 y2 y3 | y4 y5 ...          CausalConvTranspose1d keeps the kernel-stride outputs that later inputs add to
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .streaming import State


class CausalConv1d(nn.Module):
    """A convolution over time that sees only the past: [B, c_in, T] -> [B, c_out, T / stride]."""

    delay = 0

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1) -> None:
        super().__init__()
        if groups not in (1, c_in) or (groups > 1 and c_out != c_in):
            raise ValueError("either full or depthwise: groups must be 1 or c_in = c_out")
        self.conv = nn.Conv1d(c_in, c_out, kernel, stride=stride, dilation=dilation, groups=groups)
        self.stride = stride
        self.context = (kernel - 1) * dilation + 1 - stride
        if self.context < 0:
            raise ValueError(f"kernel {kernel} must not be shorter than stride {stride}")

    def initial_state(self, batch: int) -> Tensor:
        """Zeros [batch, c_in, context]."""
        return self.conv.weight.new_zeros(batch, self.conv.in_channels, self.context)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Any T >= stride that is a multiple of ``stride``.

        Raises:
            ValueError: T is not a multiple of ``stride``.
        """
        if x.shape[-1] % self.stride:
            raise ValueError(f"{x.shape[-1]} steps are not a multiple of stride {self.stride}")
        joined = torch.cat([past.transpose(1, 2), x.transpose(1, 2)], dim=1)  # channels last in memory
        x = joined.transpose(1, 2)
        y = self.conv(x) if torch.is_grad_enabled() else self._as_product(x)
        return y, x[..., x.shape[-1] - self.context :]

    def _as_product(self, x: Tensor) -> Tensor:
        """The same convolution as one product over windows: for one row and few steps torch's own kernels spend five
        times as long (measured with ``sottovoce bench``), dilated and depthwise ones most of all."""
        conv = self.conv
        (kernel,), (dilation,) = conv.kernel_size, conv.dilation
        span = (kernel - 1) * dilation + 1
        assert conv.bias is not None
        if conv.groups > 1:  # depthwise: every channel by itself
            taps = x.transpose(1, 2).unfold(1, span, self.stride)[..., ::dilation].transpose(2, 3)  # [B, T, K, C]
            return ((taps * conv.weight.squeeze(1).T).sum(2) + conv.bias).transpose(1, 2)
        if self.stride == 1:
            shifted = x.unfold(-1, x.shape[-1] - span + 1, dilation)  # [B, C, K, T]: the input as each tap sees it
        else:
            shifted = x.unfold(-1, span, self.stride)[..., ::dilation].transpose(2, 3)
        return conv.weight.flatten(1) @ shifted.flatten(1, 2) + conv.bias[:, None]


class CausalConvTranspose1d(nn.Module):
    """Upsampling by ``stride``: [B, c_in, T] -> [B, c_out, T * stride]; an input touches no output before its own."""

    delay = 0

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        if kernel < stride:
            raise ValueError(f"kernel {kernel} must not be shorter than stride {stride}")
        self.conv = nn.ConvTranspose1d(c_in, c_out, kernel, stride=stride)
        self.stride = stride
        self.overlap = kernel - stride

    def initial_state(self, batch: int) -> Tensor:
        """Zeros [batch, c_out, kernel - stride]: what earlier inputs still owe to later outputs, bias left out."""
        return self.conv.weight.new_zeros(batch, self.conv.out_channels, self.overlap)

    def forward(self, x: Tensor, owed: Tensor) -> tuple[Tensor, Tensor]:
        y = self._spread(x)  # [B, c_out, T * stride + overlap]
        y = y + F.pad(owed, (0, y.shape[-1] - self.overlap))
        n = x.shape[-1] * self.stride
        bias = self.conv.bias
        assert bias is not None
        return y[..., :n] + bias[:, None], y[..., n:]

    def _spread(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return F.conv_transpose1d(x, self.conv.weight, stride=self.stride)
        # as in CausalConv1d: one matrix product, then the overlapping pieces added up
        pieces = self.conv.weight.flatten(1).T @ x  # [B, c_out * kernel, T]
        kernel, steps = self.overlap + self.stride, x.shape[-1]
        size = (steps - 1) * self.stride + kernel
        return F.fold(pieces, (1, size), (1, kernel), stride=(1, self.stride)).squeeze(2)


class ConvNeXtBlock(nn.Module):
    """Depthwise causal convolution, then a per-frame MLP, added to the input (arXiv 2201.03545, as in Vocos)."""

    delay = 0

    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.depthwise = CausalConv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)  # over channels of one frame: looks at no other time
        self.rise = nn.Linear(width, width * expansion)
        self.fall = nn.Linear(width * expansion, width)
        self.scale = nn.Parameter(torch.full((width,), 0.2))

    def initial_state(self, batch: int) -> Tensor:
        return self.depthwise.initial_state(batch)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """[B, width, T] -> the same shape."""
        y, past = self.depthwise(x, past)
        y = self.norm(y.transpose(1, 2))
        y = self.fall(F.gelu(self.rise(y)))
        return torch.addcmul(x, y.transpose(1, 2), self.scale[:, None]), past


class Stack(nn.Module):
    """Streaming modules one after the other, as one."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)

    @property
    def delay(self) -> int:
        return sum(part.delay for part in self.parts)  # type: ignore[misc]

    def initial_state(self, batch: int) -> State:
        return tuple(part.initial_state(batch) for part in self.parts)  # type: ignore[operator]

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        following = []
        for part, past in zip(self.parts, state, strict=True):
            x, past = part(x, past)
            following.append(past)
        return x, tuple(following)
