"""Building ONNX graphs of streaming modules, one node after the other.

The layers are those of ``conv.py``, for a step of a fixed number of frames, with time before channels ([B, T, C]) and the
state as inputs ``past0 ...`` and outputs ``next0 ...``. Only the batch is left open. Windows of a convolution are gathered and
multiplied, as in ``conv.py``: on so few frames a convolution's own kernels are slower.

A step reads every weight once and does little else: on a processor it is as fast as memory. Hence ``dtype`` "int8", in which
the large matrices take a quarter of the bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from .weight_file import CheckpointError

Dtype = Literal["float32", "int8"]
OPSET = 20  # the first with Gelu
IN_PLACE = "in_place"  # key of the model's metadata
EXTRA = "com.microsoft"  # ONNX Runtime's own operators: those of int8
INT8_BLOCK = 32  # weights that share a scale; at 128 what a row says depends on how many step with it
INT8_PRODUCTS = 4  # products of int8 with int8, summed in int32
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

    def __init__(self, name: str, dtype: Dtype = "float32") -> None:
        """``dtype``: of the matrices that `matmul` multiplies with; everything else is float32."""
        self.name, self.dtype = name, dtype
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._named: dict[str, str] = {}
        self._states = 0
        self._in_place: list[str] = []

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One operation with one output."""
        (name,) = self.nodes(operator, *inputs, outputs=1, **attributes)
        return name

    def nodes(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """One operation with several outputs."""
        names = [f"v{len(self._nodes)}" + (f".{i}" if i else "") for i in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def split(self, x: str, parts: int, axis: int) -> list[str]:
        """``x`` in equal parts along ``axis``."""
        return [x] if parts == 1 else self.nodes("Split", x, outputs=parts, axis=axis, num_outputs=parts)

    def matmul(self, x: str, matrix: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> str:
        """x [..., K] times ``matrix`` [K, N], plus ``bias`` [N].

        In int8 the weights of a block of a column share a scale, and so do the numbers of a block of a row of ``x``: rows stay
        independent of each other (LLM.int8(), arXiv 2208.07339, has the idea; ONNX Runtime's MatMulNBits the kernel).
        """
        depth, width = matrix.shape
        if self.dtype == "int8" and depth % INT8_BLOCK == 0:
            whole, scales = _blocks_of_int8(matrix)
            shape = {"K": depth, "N": width, "bits": 8, "block_size": INT8_BLOCK, "accuracy_level": INT8_PRODUCTS}
            y = self.node("MatMulNBits", x, self.constant(whole), self.constant(scales), domain=EXTRA, **shape)
        else:
            y = self.node("MatMul", x, self.constant(matrix))
        return y if bias is None else self.node("Add", y, self.constant(bias))

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
        """Give out ``value`` [B, *shape], which a node made, as ``name``."""
        if self._named.setdefault(value, name) != name:  # it is given out already
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))

    def state(self, *shape: int, in_place: bool = False) -> "State":
        """A state [B, *shape] that the caller keeps from step to step, zeros at first.

        ``in_place``: one node alone reads it, and can write what follows over it (`IN_PLACE` of the model's metadata has their
        names). A caller may give both the same memory.
        """
        index, self._states = self._states, self._states + 1
        if in_place:
            self._in_place.append(f"past{index}")
        return State(self, self.input(f"past{index}", *shape), f"next{index}", shape)

    def build(self) -> onnx.ModelProto:
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [self._named.get(name, name) for name in names]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._constants)
        domains = {"": OPSET, EXTRA: 1} if self.dtype == "int8" else {"": OPSET}
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        helper.set_model_props(model, {IN_PLACE: " ".join(self._in_place)})
        return model


def _blocks_of_int8(matrix: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Of [K, N]: whole numbers 128 + (-127 ... 127) [N, K / block, block], and what a one of each block is worth."""
    depth, width = matrix.shape
    blocks = matrix.T.reshape(width, depth // INT8_BLOCK, INT8_BLOCK)
    scales = np.abs(blocks).max(-1) / 127
    whole = np.rint(blocks / np.where(scales > 0, scales, 1)[..., None]) + 128
    return whole.astype(np.uint8), scales.astype(np.float32)


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
    return Frames(g.matmul(x.name, weights("weight", c_out, x.channels).T, weights("bias", c_out)), x.steps, c_out)


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
    return Frames(g.matmul(flat, weight.transpose(2, 1, 0).reshape(-1, c_out), bias), n, c_out)


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
    if kernel == stride:
        y = g.matmul(x.name, parts[0])  # [B, T, stride * c_out]
    else:
        y = _overlapping(g, x, g.matmul(x.name, np.concatenate(parts, axis=1)), stride * c_out)
    y = g.node("Reshape", y, g.integers(0, x.steps * stride, c_out))
    return Frames(g.node("Add", y, g.constant(weights("bias", c_out))), x.steps * stride, c_out)


def _overlapping(g: Graph, x: Frames, both: str, width: int) -> str:
    """The halves of [B, T, 2 * width], the second a step later: [B, T, width]."""
    now, later = g.split(both, 2, axis=2)
    state = g.state(1, width)
    if x.steps == 1:
        state.becomes(later)
        return g.node("Add", now, state.past)
    owed, time = g.node("Concat", state.past, later, axis=1), g.integers(1)
    state.becomes(g.node("Slice", owed, g.integers(x.steps), g.integers(x.steps + 1), time))
    return g.node("Add", now, g.node("Slice", owed, g.integers(0), g.integers(x.steps), time))


def convnext_blocks(g: Graph, x: Frames, blocks: Sequence[Weights], kernel: int, expansion: int) -> Frames:
    """``ConvNeXtBlock`` after ``ConvNeXtBlock``, their scales worked into the last linear maps.

    What the past adds to the depthwise convolutions of all blocks is summed in one go, from one state.
    """
    if not blocks:
        return x
    heard = _Heard(g, x, [weights.under("depthwise.conv") for weights in blocks], kernel)
    for i, weights in enumerate(blocks):
        y = layer_norm(g, Frames(heard(x.name, i), x.steps, x.channels), weights.under("norm"))
        y = linear(g, y, weights.under("rise"), x.channels * expansion)
        hidden = g.node("Gelu", y.name)
        scale, fall = weights("scale", x.channels), weights.under("fall")
        matrix = fall("weight", x.channels, y.channels) * scale[:, None]
        product = g.matmul(hidden, matrix.T, fall("bias", x.channels) * scale)
        x = Frames(g.node("Add", x.name, product), x.steps, x.channels)
    heard.remember()
    return x


class _Heard:
    """Causal depthwise convolutions ``CausalConv1d``, stride 1, that hear one after the other, all of one shape.

    As matrices: output t of a step is the sum over past frames p and over frames j of the step of ``past[p] * before[t, p] +
    x[j] * within[t, j]``, channel by channel. The state is [B, kernel - 1, blocks * C].
    """

    def __init__(self, g: Graph, x: Frames, convs: Sequence[Weights], kernel: int) -> None:
        steps, width, context = x.steps, x.channels, kernel - 1
        taps = [weights("weight", width, 1, kernel)[:, 0].T for weights in convs]  # [kernel, C] each
        lag = np.arange(context + steps) - np.arange(steps)[:, None]  # the tap of output t for frame f of past and step
        spread = [np.where(((lag >= 0) & (lag < kernel))[..., None], tap[lag.clip(0, context)], 0) for tap in taps]
        self._g, self._steps, self._state = g, steps, g.state(context, len(convs) * width)
        self._within = [weight[:, context:] for weight in spread]  # [T, T, C] each
        before = np.concatenate([weight[:, :context] for weight in spread], axis=-1)  # [T, P, blocks * C]
        past = self._state.past if steps == 1 else g.node("Unsqueeze", self._state.past, g.integers(1))
        summed = self._sum(past, before)
        bias = np.concatenate([weights("bias", width) for weights in convs])
        summed = g.node("Add", summed, g.constant(bias))
        self._owed = g.split(summed, len(convs), axis=2)  # [B, T, C] each
        self._new: list[str] = []

    def _sum(self, frames: str, weight: NDArray[np.float32]) -> str:
        """[B, 1, F, C] ([B, F, C] where there is one output) times [T, F, C], summed over F: [B, T, C]."""
        g, depth = self._g, weight.shape[1]
        if self._steps == 1:  # a ReduceSum would add up one row in another order than several
            apart = g.split(g.node("Mul", frames, g.constant(weight[0])), depth, axis=1)
            return apart[0] if depth == 1 else g.node("Sum", *apart)
        return g.node("ReduceSum", g.node("Mul", frames, g.constant(weight)), g.integers(2), keepdims=0)

    def __call__(self, x: str, i: int) -> str:
        """The convolution number ``i`` of x [B, T, C]."""
        self._new.append(x)
        frames = x if self._steps == 1 else self._g.node("Unsqueeze", x, self._g.integers(1))
        return self._g.node("Add", self._sum(frames, self._within[i]), self._owed[i])

    def remember(self) -> None:
        """What all of them heard becomes the past."""
        g, context = self._g, self._state.shape[0]
        new = self._new[0] if len(self._new) == 1 else g.node("Concat", *self._new, axis=2)
        if self._steps < context:
            kept = g.node("Slice", self._state.past, g.integers(self._steps), g.integers(context), g.integers(1))
            new = g.node("Concat", kept, new, axis=1)
        elif self._steps > context:
            new = g.node("Slice", new, g.integers(self._steps - context), g.integers(self._steps), g.integers(1))
        self._state.becomes(new)


def per_frame(g: Graph, x: Frames, weights: Weights, c_out: int) -> Frames:
    """``PerFrame``: a layer norm and a linear map."""
    return linear(g, layer_norm(g, x, weights.under("norm")), weights.under("linear"), c_out)
