"""Fast arithmetic where it costs nothing: bfloat16 and compiled code for the hidden blocks.

What makes sound, mel or codes stays float32: the front end, the Fourier transforms, the quantiser, the residual stream between
blocks, and the last layers, whose phases and magnitudes bfloat16's eight bits would blur. Parameters are float32 always.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sottovoce.models.conv import ConvNeXtBlock
from sottovoce.models.hifigan import Upsampling
from sottovoce.models.streaming import tree_map

from .discriminators import Judge


@dataclass(frozen=True)
class Precision:
    """What is done to a module's hidden blocks."""

    bf16: bool = False
    compiled: bool = False

    def apply(self, module: nn.Module) -> None:
        """Change how the blocks of ``module`` are called, not what they hold: states and weights stay the same."""
        if not self.bf16 and not self.compiled:
            return
        for part in module.modules():
            if isinstance(part, (ConvNeXtBlock, Upsampling)):
                part.forward = self._fast(part.forward)  # type: ignore[method-assign]
            elif isinstance(part, Judge):
                part.look = self._fast(part.look)  # type: ignore[method-assign]

    def _fast(self, function: Callable[..., Any]) -> Callable[..., Any]:
        call = torch.compile(function) if self.compiled else function
        if not self.bf16:
            return call

        def narrow(x: Tensor, *others: Any) -> Any:
            with torch.autocast(x.device.type, torch.bfloat16):
                given = call(x, *others)
            return tree_map(Tensor.float, given)

        return narrow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--bf16`` and ``--compile``, on by default where the device is a GPU."""
    on = argparse.BooleanOptionalAction
    parser.add_argument("--bf16", action=on, help="bfloat16 in hidden blocks; default: on a GPU")
    parser.add_argument("--compile", action=on, help="torch.compile for hidden blocks; default: on a GPU")


def asked_for(args: argparse.Namespace) -> Precision:
    on_gpu = args.device.startswith("cuda")
    return Precision(
        bf16=on_gpu if args.bf16 is None else args.bf16, compiled=on_gpu if args.compile is None else args.compile
    )
