"""The blocks of ``attention.py`` as ONNX nodes: over a ring of past steps for one step, and over a whole clause.

The ring holds keys that were turned by their place when they came (a score depends on the difference of two places alone), each
in the slot of its place modulo the ring's length: nothing is moved, and the order in a softmax does not matter.
"""

from typing import NamedTuple

import numpy as np

from .onnx_graph import Graph, Weights
from .onnx_layers import Frames, layer_norm, linear
from .rotary import frequencies
from .talker_config import FEED_FORWARD

FLOAT, INT64, DOUBLE = 1, 7, 11  # of onnx.TensorProto


class Past(NamedTuple):
    """What one step knows in every layer, as names of values in the graph."""

    length: int
    "Of the rings: the window and the step itself."
    place: str
    "Int64 [B, heads, 3]: row, head and slot in which the step goes."
    cos: str
    "Of its place, [B, 1, d], both halves alike."
    sin: str
    "The first half negative."
    hidden: str
    "Float [B, 1, 1, length]: zero, or minus infinity where nothing was seen yet."


def open_past(g: Graph, window: int, heads: int, head_width: int) -> Past:
    """The state ``seen``, how many steps there were, and what follows from it. It is exact below 2 ** 24: for a week."""
    length, seen = window + 1, g.state(1)
    seen.becomes(g.node("Add", seen.past, g.scalar(1)))
    slot = g.node("Cast", g.node("Mod", seen.past, g.scalar(length), fmod=1), to=INT64)
    row = g.node("Range", g.index(0), g.node("Squeeze", g.batch), g.index(1))
    shape, every_head = g.integers(-1, 1, 1), g.integers(1, heads, 1)
    row, slot = (g.node("Expand", g.node("Reshape", one, shape), every_head) for one in (row, slot))
    head = g.node("Add", g.node("Mul", row, g.index(0)), g.constant(np.arange(heads)[:, None]))
    place = g.node("Concat", row, head, slot, axis=2)
    angle = g.node("Mul", g.node("Cast", seen.past, to=DOUBLE), g.constant(frequencies(head_width)))
    cos, sin = (g.node("Cast", g.node(part, angle), to=FLOAT) for part in ("Cos", "Sin"))
    shape = g.integers(0, 1, head_width)
    cos = g.node("Reshape", g.node("Concat", cos, cos, axis=-1), shape)
    sin = g.node("Reshape", g.node("Concat", g.node("Neg", sin), sin, axis=-1), shape)
    unseen = g.node("Greater", g.constant(np.arange(length, dtype=np.float32)), seen.past)
    hidden = g.node("Where", unseen, g.scalar(-np.inf), g.scalar(0))
    return Past(length, place, cos, sin, g.node("Reshape", hidden, g.integers(0, 1, 1, length)))


def block_step(g: Graph, x: Frames, weights: Weights, heads: int, past: Past) -> Frames:
    """``Block`` for one step, x [B, D]; its rings are two states [B, heads, length, d]."""
    y = layer_norm(g, x, weights.under("attention_norm"))
    x = _add(g, x, _attention_step(g, y, weights.under("attention"), heads, past))
    return _add(g, x, _feed_forward(g, layer_norm(g, x, weights.under("norm")), weights.under("feed_forward")))


def block(g: Graph, x: Frames, weights: Weights, heads: int, turn: tuple[str, str]) -> Frames:
    """``Block`` for a whole row [B, P, D] whose steps all see each other."""
    y = layer_norm(g, x, weights.under("attention_norm"))
    x = _add(g, x, _attention(g, y, weights.under("attention"), heads, turn))
    return _add(g, x, _feed_forward(g, layer_norm(g, x, weights.under("norm")), weights.under("feed_forward")))


def whole_turn(g: Graph, x: str, head_width: int) -> tuple[str, str]:
    """Cosines and sines [P, d / 2] for the steps of x [B, P, ...]."""
    length = g.node("Squeeze", g.node("Shape", x, start=1, end=2))
    places = g.node("Range", g.constant(np.array(0)), length, g.constant(np.array(1)))
    places = g.node("Unsqueeze", g.node("Cast", places, to=DOUBLE), g.integers(1))
    angle = g.node("Mul", places, g.constant(frequencies(head_width)))
    return tuple(g.node("Cast", g.node(part, angle), to=FLOAT) for part in ("Cos", "Sin"))  # type: ignore[return-value]


def _add(g: Graph, x: Frames, y: Frames) -> Frames:
    return Frames(g.node("Add", x.name, y.name), x.steps, x.channels, x.apart)


def _enter(g: Graph, x: Frames, weights: Weights, heads: int) -> str:
    """Queries, divided by the root of the head's width, keys and values: [..., 3 * D]."""
    width, enter = x.channels, weights.under("enter")
    scale = np.ones(3 * width, np.float32)
    scale[:width] = (width // heads) ** -0.5
    matrix, bias = enter("weight", 3 * width, width) * scale[:, None], enter("bias", 3 * width) * scale
    return g.matmul(x.name, matrix.T, bias)


def _quarter_turn(g: Graph, x: str, axis: int) -> str:
    """[a, b] -> [-b, a]."""
    a, b = g.split(x, 2, axis=axis)
    return g.node("Concat", g.node("Neg", b), a, axis=axis)


def _attention_step(g: Graph, x: Frames, weights: Weights, heads: int, past: Past) -> Frames:
    head_width = x.channels // heads
    parts = g.node("Reshape", _enter(g, x, weights, heads), g.integers(0, 3 * heads, head_width))
    turning, value = g.nodes("Split", parts, g.integers(2 * heads, heads), outputs=2, axis=1)
    first, second = g.split(turning, 2, axis=2)
    swapped = g.node("Concat", second, first, axis=2)
    turned = g.node("Add", g.node("Mul", turning, past.cos), g.node("Mul", swapped, past.sin))
    query, key = g.split(turned, 2, axis=1)
    rings, column = [], g.integers(0, heads, head_width, 1)
    for new in (key, value):
        ring = g.state(heads, past.length, head_width, in_place=True)
        rings.append(g.node("ScatterND", ring.past, past.place, new))  # ten times as fast as ScatterElements
        ring.becomes(rings[-1])
    scores = g.node("MatMul", rings[0], g.node("Reshape", query, column))  # [B, heads, length, 1]
    scores = g.node("Reshape", scores, g.integers(0, heads, 1, past.length))
    share = g.node("Softmax", g.node("Add", scores, past.hidden), axis=-1)
    y = g.node("Reshape", g.node("MatMul", share, rings[1]), g.integers(0, x.channels))
    return linear(g, Frames(y, 1, x.channels), weights.under("leave"), x.channels)


def _attention(g: Graph, x: Frames, weights: Weights, heads: int, turn: tuple[str, str]) -> Frames:
    split = g.integers(0, 0, heads, x.channels // heads)
    query, key, value = (
        g.node("Transpose", g.node("Reshape", part, split), perm=[0, 2, 1, 3])
        for part in g.split(_enter(g, x, weights, heads), 3, axis=-1)
    )
    query, key = _turned(g, query, turn), _turned(g, key, turn)
    scores = g.node("MatMul", query, g.node("Transpose", key, perm=[0, 1, 3, 2]))
    y = g.node("MatMul", g.node("Softmax", scores, axis=-1), value)
    y = g.node("Reshape", g.node("Transpose", y, perm=[0, 2, 1, 3]), g.integers(0, 0, x.channels))
    return linear(g, Frames(y, x.steps, x.channels, x.apart), weights.under("leave"), x.channels)


def _turned(g: Graph, x: str, turn: tuple[str, str]) -> str:
    cos, sin = (g.node("Concat", part, part, axis=-1) for part in turn)
    return g.node("Add", g.node("Mul", x, cos), g.node("Mul", _quarter_turn(g, x, -1), sin))


def _feed_forward(g: Graph, x: Frames, weights: Weights) -> Frames:
    inner = FEED_FORWARD * x.channels
    rise = linear(g, x, weights.under("rise"), 2 * inner)
    gate, value = g.split(rise.name, 2, axis=-1)
    gated = g.node("Mul", g.node("Mul", gate, g.node("Sigmoid", gate)), value)
    return linear(g, Frames(gated, x.steps, inner, x.apart), weights.under("fall"), x.channels)
