"""The layers of ``conv.py`` as ONNX nodes, for steps of a fixed number of frames or of any number.

Time comes before channels. Between layers the frames of all rows lie below each other, [B * T, C]: a linear map and its bias
are then one operation. States are [B, frames * C]. Windows of a convolution are gathered and multiplied, as in ``conv.py``: on
so few frames a convolution's own kernels are slower.

A graph for any number of frames (``steps`` None) reads its weights once for all of them. It has the states of the graph for
one frame, and says the same but for rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .onnx_graph import Graph, Weights

MANY_FRAMES = 16  # from here on a convolution's own kernel is the faster one
NORM_EPSILON = 1e-5  # of torch's LayerNorm

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frames:
    """A value in the graph: [B * steps, channels]."""

    name: str
    steps: int | None
    "Frames of a row; None: any number."
    channels: int
    apart: bool = False
    "Whether it is [B, steps, channels]."


def apart(g: Graph, x: Frames) -> str:
    """[B, steps, channels]."""
    if x.apart:
        return x.name
    return g.node("Reshape", x.name, _shape(g, x.steps, x.channels))


def _shape(g: Graph, steps: int | None, channels: int) -> str:
    """Of frames by row."""
    if steps is not None:
        return g.integers(-1, steps, channels)
    return g.node("Concat", g.batch, g.integers(-1, channels), axis=0)


def flat(g: Graph, x: Frames) -> Frames:
    """[B * steps, channels]."""
    if not x.apart:
        return x
    return Frames(g.node("Reshape", x.name, g.integers(-1, x.channels)), x.steps, x.channels)


def affine(g: Graph, x: Frames, matrix: Matrix, plus: Matrix | Frames) -> Frames:
    """Every frame times ``matrix`` [channels, N], plus a bias [N] or other frames."""
    y = g.affine(flat(g, x).name, matrix, flat(g, plus).name if isinstance(plus, Frames) else plus)
    return Frames(y, x.steps, matrix.shape[1])


def linear(g: Graph, x: Frames, weights: Weights, c_out: int) -> Frames:
    """``nn.Linear`` of every frame."""
    matrix, bias = weights("weight", c_out, x.channels).T, weights("bias", c_out)
    if x.apart:
        return Frames(g.matmul(x.name, matrix, bias), x.steps, c_out, apart=True)
    return affine(g, x, matrix, bias)


def layer_norm(g: Graph, x: Frames, weights: Weights) -> Frames:
    scale, bias = (g.constant(weights(name, x.channels)) for name in ("weight", "bias"))
    y = g.node("LayerNormalization", x.name, scale, bias, epsilon=NORM_EPSILON)
    return Frames(y, x.steps, x.channels, x.apart)


def _with_past(g: Graph, x: Frames, context: int) -> str:
    """The last ``context`` frames before ``x``, and ``x``: [B, (context + steps) * C], or [B, context + steps, C] where the
    number of steps is open."""
    wide = context * x.channels
    if x.steps is None:
        new = apart(g, x)
    elif x.steps == 1 and not x.apart:
        new = x.name
    else:
        new = g.node("Reshape", x.name, g.integers(-1, x.steps * x.channels))
    if context == 0:
        return new
    state = g.state(wide)
    if x.steps is not None:
        joined = g.node("Concat", state.past, new, axis=1)
        state.becomes(new if context == x.steps else g.last(joined, wide))
        return joined
    joined = g.node("Concat", _by_frame(g, state.past, context, x.channels), new, axis=1)
    state.becomes(g.node("Reshape", g.last(joined, context), g.integers(-1, wide)))
    return joined


def causal_conv(
    g: Graph,
    x: Frames,
    weights: Weights,
    c_out: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    gain: float = 1,
    plus: Matrix | None = None,
) -> Frames:
    """``CausalConv1d`` from all channels to all, of ``gain`` times the input, and ``plus`` [c_out]."""
    context = (kernel - 1) * dilation + 1 - stride
    joined, weights = _with_past(g, x, context), weights.under("conv")
    weight, bias = weights("weight", c_out, x.channels, kernel) * np.float32(gain), weights("bias", c_out)
    bias = bias if plus is None else bias + plus
    n = None if x.steps is None else x.steps // stride
    if n == 1 and dilation == 1:  # the one window there is
        return Frames(g.affine(joined, _matrix(weight), bias), n, c_out)
    if x.steps is not None:
        joined = _by_frame(g, joined, context + x.steps, x.channels)
    if n is None or n >= MANY_FRAMES:
        channels_first = g.node("Transpose", joined, perm=[0, 2, 1])
        both = (g.constant(weight), g.constant(bias))
        y = g.node("Conv", channels_first, *both, strides=[stride], dilations=[dilation])
        return flat(g, Frames(g.node("Transpose", y, perm=[0, 2, 1]), n, c_out, apart=True))
    at = np.arange(n)[:, None] * stride + np.arange(kernel) * dilation
    seen = g.node("Gather", joined, g.constant(at.astype(np.int64)), axis=1)  # [B, n, kernel, C]
    seen = g.node("Reshape", seen, g.integers(-1, kernel * x.channels))
    return Frames(g.affine(seen, _matrix(weight), bias), n, c_out)


def _matrix(weight: Matrix) -> Matrix:
    """Of a convolution [c_out, C, kernel], for its windows: [kernel * C, c_out]."""
    return weight.transpose(2, 1, 0).reshape(-1, len(weight))


def transposed_conv(
    g: Graph,
    x: Frames,
    weights: Weights,
    c_out: int,
    kernel: int,
    stride: int,
    gain: float = 1,
    plus: Matrix | None = None,
) -> Frames:
    """``gain`` times ``CausalConvTranspose1d`` whose outputs overlap not at all or by half, and ``plus`` [c_out].

    Raises:
        ValueError: ``kernel`` is neither ``stride`` nor twice that.
    """
    if kernel not in (stride, 2 * stride):
        raise ValueError(f"kernel {kernel} is neither stride {stride} nor twice that")
    weights = weights.under("conv")
    spread = weights("weight", x.channels, c_out, kernel).transpose(0, 2, 1)  # [C, K, c_out]
    parts = [part.reshape(x.channels, -1) for part in np.split(spread * np.float32(gain), kernel // stride, axis=1)]
    bias = np.tile(weights("bias", c_out) * np.float32(gain) + (0 if plus is None else plus), stride)
    if kernel == stride:
        y = affine(g, x, parts[0], bias)  # [B * T, stride * c_out]
    else:
        both = affine(g, x, np.concatenate(parts, axis=1), np.concatenate([bias, np.zeros_like(bias)]))
        y = _overlapping(g, both, stride * c_out)
    name = y.name if stride == 1 else g.node("Reshape", y.name, g.integers(-1, c_out))
    return Frames(name, None if x.steps is None else x.steps * stride, c_out)


def _overlapping(g: Graph, both: Frames, width: int) -> Frames:
    """The halves of [B * T, 2 * width], the second a step later: [B * T, width]."""
    state = g.state(width)
    if both.steps == 1:
        now, later = g.split(both.name, 2, axis=1)
        state.becomes(later)
        return Frames(g.node("Add", now, state.past), 1, width)
    now, later = g.split(apart(g, both), 2, axis=2)
    owed = g.node("Concat", _by_frame(g, state.past, 1, width), later, axis=1)
    state.becomes(g.node("Reshape", g.last(owed, 1), g.integers(-1, width)))
    y = g.node("Add", now, g.slice(owed, 0, -1))
    return flat(g, Frames(y, both.steps, width, apart=True))


def _by_frame(g: Graph, state: str, frames: int, channels: int) -> str:
    return g.node("Reshape", state, g.integers(-1, frames, channels))


def convnext_blocks(g: Graph, x: Frames, blocks: Sequence[Weights], kernel: int, expansion: int) -> Frames:
    """``ConvNeXtBlock`` after ``ConvNeXtBlock``, their scales worked into the last linear maps."""
    if not blocks:
        return x
    convs = [weights.under("depthwise.conv") for weights in blocks]
    heard = _Windows(g, x, convs, kernel) if x.steps is None else _Heard(g, x, convs, kernel)
    for i, weights in enumerate(blocks):
        y = layer_norm(g, heard(x, i), weights.under("norm"))
        y = linear(g, y, weights.under("rise"), x.channels * expansion)
        y = Frames(g.node("Gelu", y.name), y.steps, y.channels)
        scale, fall = weights("scale", x.channels), weights.under("fall")
        matrix = fall("weight", x.channels, y.channels) * scale[:, None]
        y = affine(g, y, matrix.T, fall("bias", x.channels) * scale)
        x = Frames(g.node("Add", x.name, y.name), x.steps, x.channels)
    heard.remember()
    return x


class _Heard:
    """Causal depthwise convolutions ``CausalConv1d``, stride 1, that hear one after the other, all of one shape.

    What the past adds to all of them is summed in one go, from one state [B, (kernel - 1) * convolutions * C]. As matrices:
    output t of a step is the sum over past frames p and over frames j of the step of ``past[p] * before[t, p] +
    x[j] * within[t, j]``, channel by channel.
    """

    def __init__(self, g: Graph, x: Frames, convs: Sequence[Weights], kernel: int) -> None:
        assert x.steps is not None
        self._g, self._steps, self._width, self._context = g, x.steps, x.channels, kernel - 1
        self._all = len(convs) * x.channels
        self._state = g.state(self._context * self._all)
        self._new: list[str] = []
        taps = [_taps(weights, x.channels, kernel) for weights in convs]
        lag = (
            np.arange(self._context + x.steps) - np.arange(x.steps)[:, None]
        )  # the tap of output t for each frame heard
        spread = [np.where(((lag >= 0) & (lag < kernel))[..., None], tap[lag.clip(0, kernel - 1)], 0) for tap in taps]
        self._within = [weight[:, self._context :] for weight in spread]  # [T, T, C] each
        before = np.concatenate([weight[:, : self._context] for weight in spread], axis=-1)  # [T, P, all]
        bias = g.constant(np.concatenate([weights("bias", x.channels) for weights in convs]))
        if x.steps == 1:  # a ReduceSum would add up one row in another order than several
            weighted = g.node("Mul", self._state.past, g.constant(before.reshape(-1)))
            summed, axis = g.node("Sum", *g.split(weighted, self._context, axis=1), bias), 1
        else:
            past = g.node("Reshape", self._state.past, g.integers(-1, 1, self._context, self._all))
            weighted = g.node("Mul", past, g.constant(before))
            summed, axis = g.node("Add", g.node("ReduceSum", weighted, g.integers(2), keepdims=0), bias), 2
        self._owed = g.split(summed, len(convs), axis=axis)  # [B, C] or [B, T, C] each

    def __call__(self, x: Frames, i: int) -> Frames:
        """The convolution number ``i`` of x."""
        g, steps = self._g, self._steps
        self._new.append(x.name)
        if steps == 1:
            y = g.node("Mul", x.name, g.constant(self._within[i][0, 0]))
            return Frames(g.node("Add", y, self._owed[i]), 1, self._width)
        frames = g.node("Reshape", x.name, g.integers(-1, 1, steps, self._width))
        y = g.node("ReduceSum", g.node("Mul", frames, g.constant(self._within[i])), g.integers(2), keepdims=0)
        return flat(g, Frames(g.node("Add", y, self._owed[i]), steps, self._width, apart=True))

    def remember(self) -> None:
        """What all of them heard becomes the past."""
        g, steps, context = self._g, self._steps, self._context
        new = self._new[0] if len(self._new) == 1 else g.node("Concat", *self._new, axis=1)  # [B * T, all]
        if steps > 1:
            new = g.node("Reshape", new, g.integers(-1, steps * self._all))
        if steps < context:
            new = g.node("Concat", g.last(self._state.past, (context - steps) * self._all), new, axis=1)
        elif steps > context:
            new = g.last(new, context * self._all)
        self._state.becomes(new)


class _Windows:
    """What `_Heard` is, for any number of frames: windows over past and step, gathered."""

    def __init__(self, g: Graph, x: Frames, convs: Sequence[Weights], kernel: int) -> None:
        self._g, self._width, self._context, self._all = g, x.channels, kernel - 1, len(convs) * x.channels
        self._state = g.state(self._context * self._all)
        self._new: list[str] = []
        self._taps = [_taps(weights, x.channels, kernel) for weights in convs]
        self._biases = [weights("bias", x.channels) for weights in convs]
        self._by_frame = _shape(g, None, x.channels)
        past = _by_frame(g, self._state.past, self._context, self._all)
        self._pasts, self._past = g.split(past, len(convs), axis=2), past
        n = g.node("Squeeze", g.node("Shape", g.node("Reshape", x.name, self._by_frame), start=1, end=2))
        first = g.node("Unsqueeze", g.node("Range", g.index(0), n, g.index(1)), g.integers(1))
        self._at = g.node("Add", first, g.integers(*range(kernel)))  # [T, kernel]

    def __call__(self, x: Frames, i: int) -> Frames:
        """The convolution number ``i`` of x."""
        g = self._g
        self._new.append(x.name)
        joined = g.node("Concat", self._pasts[i], g.node("Reshape", x.name, self._by_frame), axis=1)
        seen = g.node("Gather", joined, self._at, axis=1)  # [B, T, kernel, C]
        y = g.node("ReduceSum", g.node("Mul", seen, g.constant(self._taps[i])), g.integers(2), keepdims=0)
        y = g.node("Add", y, g.constant(self._biases[i]))
        return flat(g, Frames(y, None, self._width, apart=True))

    def remember(self) -> None:
        """What all of them heard becomes the past."""
        g = self._g
        new = self._new[0] if len(self._new) == 1 else g.node("Concat", *self._new, axis=1)
        joined = g.node("Concat", self._past, g.node("Reshape", new, _shape(g, None, self._all)), axis=1)
        kept = g.last(joined, self._context)
        self._state.becomes(g.node("Reshape", kept, g.integers(-1, self._context * self._all)))


def _taps(weights: Weights, width: int, kernel: int) -> Matrix:
    """[kernel, C]."""
    return weights("weight", width, 1, kernel)[:, 0].T


def per_frame(g: Graph, x: Frames, weights: Weights, c_out: int, plus: Frames, gain: float = 1) -> Frames:
    """``gain`` times ``PerFrame``, a layer norm and a linear map, without its bias; and ``plus``."""
    matrix = weights("linear.weight", c_out, x.channels).T * np.float32(gain)
    return affine(g, layer_norm(g, x, weights.under("norm")), matrix, plus)
