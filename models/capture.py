"""One step of a streaming module as a captured graph, for one shape of input.

A step of 40 ms is some four hundred small operations; in eager mode a third of its time goes into calling them from Python
(measured with ``sottovoce bench``). The graph is a TorchScript trace: the same operations in the same order, so the streaming
law holds for it as it does for the module.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from .streaming import State

Step = Callable[[Tensor, State], tuple[Tensor, State]]


def capture(module: Step, x: Tensor, state: State) -> Step:
    """A function that does what ``module(x, state)`` does, for any input of exactly the shape of ``x``.

    Args:
        module: a streaming module in eval mode, without gradients, or a function like one.
        x: an example input; its values do not matter.
        state: an example state.
    """
    with warnings.catch_warnings():
        # Sizes become constants of the graph: that is what one shape means.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.simplefilter("ignore", DeprecationWarning)
        step: Step = torch.jit.trace(lambda x, state: module(x, state), (x, state), check_trace=False)
    for _ in range(3):  # the first runs profile and specialise
        step(x, state)
    return step
