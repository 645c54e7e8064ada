"""Building ONNX graphs of streaming modules, one node after the other.

The layers are those of ``conv.py``, for a step of a fixed number of frames, with time before channels ([B, T, C]) and the
state as inputs ``past0 ...`` and outputs ``next0 ...``. Only the batch is left open. Windows of a convolution are gathered and
multiplied, as in ``conv.py``: on so few frames a convolution's own kernels are slower.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from .weight_file import CheckpointError

OPSET = 20  # the first with Gelu
IR_VERSION = 10  # readable by runtimes of 2024
MANY_FRAMES = 16  # from here on a convolution's own kernel is the faster one
NORM_EPSILON = 1e-5  # of torch's LayerNorm


@dataclass(frozen=True, slots=True)
class Frames:
    """A value in the graph: [B, steps, channels]."""

    name: str
    steps: int
    channels: int


class Weights:
    """Tensors of a file by name, under a prefix."""

    def __init__(
        self, path: Path, tensors: Mapping[str, NDArray[Any]], prefix: str = "", left: set[str] | None = None
    ) -> None:
        self._path, self._tensors, self._prefix = path, tensors, prefix
        self._left = set(tensors) if left is None else left

    def __call__(self, name: str, *shape: int) -> NDArray[np.float32]:
        """The tensor ``name``. Raises CheckpointError: the file lacks it, or it has another shape."""
        name = self._prefix + name
        found = self._tensors.get(name)
        if found is None:
            raise CheckpointError(self._path, f"missing {name}")
        if found.shape != shape:
            raise CheckpointError(self._path, f"wrong shape of {name}: {found.shape}, not {shape}")
        self._left.discard(name)
        return found

    def under(self, prefix: str) -> "Weights":
        """Those of a part."""
        return Weights(self._path, self._tensors, f"{self._prefix}{prefix}.", self._left)

    def check_all_used(self, but: str = "") -> None:
        """Raises CheckpointError: there are more than were asked for, those whose name ends with ``but`` aside."""
        unexpected = sorted(name for name in self._left if not (but and name.endswith(but)))
        if unexpected:
            raise CheckpointError(self._path, f"unexpected {unexpected[:3]}")


class Graph:
    """Nodes, constants, inputs and outputs; every method returns the name of what it added."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._states = 0

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One operation with one output."""
        (name,) = self.nodes(operator, *inputs, outputs=1, **attributes)
        return name

    def nodes(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """One operation with several outputs."""
        names = [f"v{len(self._nodes)}" + (f".{i}" if i else "") for i in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def index(self, value: int) -> str:
        """One number without an axis: to pick an element and drop the axis it was on."""
        return self.constant(np.array(value, np.int64))

    def input(self, name: str, *shape: int | str, dtype: int = onnx.TensorProto.FLOAT) -> str:
        """An input [B, *shape]; a name in place of a number leaves that length open."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))
        return name

    def output(self, value: str, name: str, *shape: int | str, dtype: int = onnx.TensorProto.FLOAT) -> None:
        """Give out ``value`` [B, *shape] as ``name``."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))

    def state(self, *shape: int) -> "State":
        """A state [B, *shape] that the caller keeps from step to step, zeros at first."""
        index, self._states = self._states, self._states + 1
        return State(self, self.input(f"past{index}", *shape), f"next{index}", shape)

    def build(self) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


@dataclass(frozen=True, slots=True)
class State:
    """One state: its value before the step, and where the value after it goes."""

    graph: Graph
    past: str
    following: str
    shape: tuple[int, ...]

    def becomes(self, value: str) -> None:
        self.graph.output(value, self.following, *self.shape)


def linear(g: Graph, x: Frames, weights: Weights, c_out: int) -> Frames:
    """``nn.Linear`` of every frame."""
    product = g.node("MatMul", x.name, g.constant(weights("weight", c_out, x.channels).T))
    return Frames(g.node("Add", product, g.constant(weights("bias", c_out))), x.steps, c_out)


def layer_norm(g: Graph, x: Frames, weights: Weights) -> Frames:
    scale, bias = (g.constant(weights(name, x.channels)) for name in ("weight", "bias"))
    y = g.node("LayerNormalization", x.name, scale, bias, epsilon=NORM_EPSILON)
    return Frames(y, x.steps, x.channels)


def _with_past(g: Graph, x: Frames, context: int) -> str:
    """The last ``context`` frames before ``x``, and ``x``: [B, context + steps, C]."""
    if context == 0:
        return x.name
    state = g.state(context, x.channels)
    joined = g.node("Concat", state.past, x.name, axis=1)
    first, last, time = g.integers(x.steps), g.integers(x.steps + context), g.integers(1)
    state.becomes(g.node("Slice", joined, first, last, time))
    return joined


def _windows(g: Graph, joined: str, n: int, kernel: int, stride: int, dilation: int) -> str:
    """[B, n, kernel, C]: what each of ``n`` outputs looks at."""
    at = np.arange(n)[:, None] * stride + np.arange(kernel) * dilation
    return g.node("Gather", joined, g.constant(at.astype(np.int64)), axis=1)


def causal_conv(
    g: Graph, x: Frames, weights: Weights, c_out: int, kernel: int, stride: int = 1, dilation: int = 1
) -> Frames:
    """``CausalConv1d`` from all channels to all."""
    joined = _with_past(g, x, (kernel - 1) * dilation + 1 - stride)
    n, weights = x.steps // stride, weights.under("conv")
    weight, bias = weights("weight", c_out, x.channels, kernel), weights("bias", c_out)
    if n >= MANY_FRAMES:
        channels_first = g.node("Transpose", joined, perm=[0, 2, 1])
        both = (g.constant(weight), g.constant(bias))
        y = g.node("Conv", channels_first, *both, strides=[stride], dilations=[dilation])
        return Frames(g.node("Transpose", y, perm=[0, 2, 1]), n, c_out)
    whole = n == 1 and dilation == 1  # the one window there is
    seen = joined if whole else _windows(g, joined, n, kernel, stride, dilation)
    flat = g.node("Reshape", seen, g.integers(0, n, kernel * x.channels))
    product = g.node("MatMul", flat, g.constant(weight.transpose(2, 1, 0).reshape(-1, c_out)))
    return Frames(g.node("Add", product, g.constant(bias)), n, c_out)


def depthwise_conv(g: Graph, x: Frames, weights: Weights, kernel: int) -> Frames:
    """``CausalConv1d`` of every channel by itself, stride 1."""
    joined, weights = _with_past(g, x, kernel - 1), weights.under("conv")
    taps = g.constant(weights("weight", x.channels, 1, kernel)[:, 0].T)
    if x.steps == 1:
        y = g.node("ReduceSum", g.node("Mul", joined, taps), g.integers(1), keepdims=1)
    else:
        seen = _windows(g, joined, x.steps, kernel, 1, 1)
        y = g.node("ReduceSum", g.node("Mul", seen, taps), g.integers(2), keepdims=0)
    return Frames(g.node("Add", y, g.constant(weights("bias", x.channels))), x.steps, x.channels)


def transposed_conv(g: Graph, x: Frames, weights: Weights, c_out: int, kernel: int, stride: int) -> Frames:
    """``CausalConvTranspose1d`` whose outputs overlap not at all or by half.

    Raises:
        ValueError: ``kernel`` is neither ``stride`` nor twice that.
    """
    if kernel not in (stride, 2 * stride):
        raise ValueError(f"kernel {kernel} is neither stride {stride} nor twice that")
    weights = weights.under("conv")
    spread = weights("weight", x.channels, c_out, kernel).transpose(0, 2, 1)  # [C, K, c_out]
    parts = [np.ascontiguousarray(part).reshape(x.channels, -1) for part in np.split(spread, kernel // stride, axis=1)]
    y = g.node("MatMul", x.name, g.constant(parts[0]))  # [B, T, stride * c_out]
    if kernel > stride:
        later = g.node("MatMul", x.name, g.constant(parts[1]))
        state, time = g.state(1, stride * c_out), g.integers(1)
        owed = g.node("Concat", state.past, later, axis=1)
        y = g.node("Add", y, g.node("Slice", owed, g.integers(0), g.integers(x.steps), time))
        state.becomes(g.node("Slice", owed, g.integers(x.steps), g.integers(x.steps + 1), time))
    y = g.node("Reshape", y, g.integers(0, x.steps * stride, c_out))
    return Frames(g.node("Add", y, g.constant(weights("bias", c_out))), x.steps * stride, c_out)


def convnext_block(g: Graph, x: Frames, weights: Weights, kernel: int, expansion: int) -> Frames:
    """``ConvNeXtBlock``, its scale worked into the last linear map."""
    y = depthwise_conv(g, x, weights.under("depthwise"), kernel)
    y = layer_norm(g, y, weights.under("norm"))
    y = linear(g, y, weights.under("rise"), x.channels * expansion)
    hidden = g.node("Gelu", y.name)
    scale, fall = weights("scale", x.channels), weights.under("fall")
    matrix = fall("weight", x.channels, y.channels) * scale[:, None]
    product = g.node("MatMul", hidden, g.constant(matrix.T))
    product = g.node("Add", product, g.constant(fall("bias", x.channels) * scale))
    return Frames(g.node("Add", x.name, product), x.steps, x.channels)


def per_frame(g: Graph, x: Frames, weights: Weights, c_out: int) -> Frames:
    """``PerFrame``: a layer norm and a linear map."""
    return linear(g, layer_norm(g, x, weights.under("norm")), weights.under("linear"), c_out)
