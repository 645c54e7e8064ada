"""The blocks of ``attention.py`` as ONNX nodes: over a ring of past steps for one step, and over a whole clause.

One step needs no keys rotated: a score is the sum over pairs of components of the query turned back by as many steps as the
key is old, and that is two products of the keys, weighted by cosines and by sines, with the query and with its quarter turn.
"""

from typing import NamedTuple

import numpy as np

from .onnx_graph import Frames, Graph, State, Weights, layer_norm, linear
from .rotary import frequencies, rotary_table
from .talker_config import FEED_FORWARD


class Past(NamedTuple):
    """What one step sees in every layer, as names of values in the graph."""

    window: int
    cos: str
    "Of how old each key is, the oldest first: [W + 1, d], both halves alike."
    sin: str
    hidden: str
    "Float [B, 1, 1, W + 1]: zero, or minus infinity where nothing was seen yet."


def open_past(g: Graph, window: int, head_width: int) -> Past:
    """The state ``seen`` of a ring of ``window`` steps, and what follows from it."""
    cos, sin = (np.concatenate([part[::-1]] * 2, -1) for part in rotary_table(window + 1, head_width))
    seen = g.state(1)
    seen.becomes(g.node("Min", g.node("Add", seen.past, g.scalar(1)), g.scalar(window)))
    empty = g.node("Sub", g.scalar(window), seen.past)  # [B, 1]: slots not filled yet
    unseen = g.node("Less", g.constant(np.arange(window + 1, dtype=np.float32)), empty)
    hidden = g.node("Where", unseen, g.scalar(-np.inf), g.scalar(0))
    return Past(window, g.constant(cos), g.constant(sin), g.node("Reshape", hidden, g.integers(0, 1, 1, window + 1)))


def block_step(g: Graph, x: Frames, weights: Weights, heads: int, past: Past) -> Frames:
    """``Block`` for one step [B, 1, D]; its ring is two states [B, heads, W, d]."""
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


FLOAT, DOUBLE = 1, 11  # of onnx.TensorProto


def _add(g: Graph, x: Frames, y: Frames) -> Frames:
    return Frames(g.node("Add", x.name, y.name), x.steps, x.channels)


def _query_key_value(g: Graph, x: Frames, weights: Weights, heads: int) -> list[str]:
    """Three of [B, P, D]; queries divided by the root of the head's width."""
    width, enter = x.channels, weights.under("enter")
    scale = np.ones(3 * width, np.float32)
    scale[:width] = (width // heads) ** -0.5
    matrix, bias = enter("weight", 3 * width, width) * scale[:, None], enter("bias", 3 * width) * scale
    joined = g.node("Add", g.node("MatMul", x.name, g.constant(matrix.T)), g.constant(bias))
    return g.nodes("Split", joined, outputs=3, axis=-1, num_outputs=3)


def _quarter_turn(g: Graph, x: str, axis: int) -> str:
    """[a, b] -> [-b, a]."""
    a, b = g.nodes("Split", x, outputs=2, axis=axis, num_outputs=2)
    return g.node("Concat", g.node("Neg", b), a, axis=axis)


def _shift_in(g: Graph, ring: State, new: str, window: int) -> str:
    """``new`` after the ring: [B, heads, W + 1, d]; the ring loses its oldest."""
    joined = g.node("Concat", ring.past, new, axis=2)
    ring.becomes(g.node("Slice", joined, g.integers(1), g.integers(window + 1), g.integers(2)))
    return joined


def _attention_step(g: Graph, x: Frames, weights: Weights, heads: int, past: Past) -> Frames:
    window, head_width = past.window, x.channels // heads
    query, key, value = _query_key_value(g, x, weights, heads)
    query = g.node("Reshape", query, g.integers(0, heads, head_width, 1))
    row = g.integers(0, heads, 1, head_width)
    rings = [g.state(heads, window, head_width) for _ in range(2)]
    keys = _shift_in(g, rings[0], g.node("Reshape", key, row), window)
    values = _shift_in(g, rings[1], g.node("Reshape", value, row), window)
    straight = g.node("MatMul", g.node("Mul", keys, past.cos), query)  # [B, heads, W + 1, 1]
    across = g.node("MatMul", g.node("Mul", keys, past.sin), _quarter_turn(g, query, 2))
    scores = g.node("Reshape", g.node("Add", straight, across), g.integers(0, heads, 1, window + 1))
    share = g.node("Softmax", g.node("Add", scores, past.hidden), axis=-1)
    y = g.node("Reshape", g.node("MatMul", share, values), g.integers(0, 1, x.channels))
    return linear(g, Frames(y, 1, x.channels), weights.under("leave"), x.channels)


def _attention(g: Graph, x: Frames, weights: Weights, heads: int, turn: tuple[str, str]) -> Frames:
    split = g.integers(0, 0, heads, x.channels // heads)
    query, key, value = (
        g.node("Transpose", g.node("Reshape", part, split), perm=[0, 2, 1, 3])
        for part in _query_key_value(g, x, weights, heads)
    )
    query, key = _turned(g, query, turn), _turned(g, key, turn)
    scores = g.node("MatMul", query, g.node("Transpose", key, perm=[0, 1, 3, 2]))
    y = g.node("MatMul", g.node("Softmax", scores, axis=-1), value)
    y = g.node("Reshape", g.node("Transpose", y, perm=[0, 2, 1, 3]), g.integers(0, 0, x.channels))
    return linear(g, Frames(y, x.steps, x.channels), weights.under("leave"), x.channels)


def _turned(g: Graph, x: str, turn: tuple[str, str]) -> str:
    cos, sin = (g.node("Concat", part, part, axis=-1) for part in turn)
    return g.node("Add", g.node("Mul", x, cos), g.node("Mul", _quarter_turn(g, x, -1), sin))


def _feed_forward(g: Graph, x: Frames, weights: Weights) -> Frames:
    inner = FEED_FORWARD * x.channels
    rise = linear(g, x, weights.under("rise"), 2 * inner)
    gate, value = g.nodes("Split", rise.name, outputs=2, axis=-1, num_outputs=2)
    gated = g.node("Mul", g.node("Mul", gate, g.node("Sigmoid", gate)), value)
    return linear(g, Frames(gated, x.steps, inner), weights.under("fall"), x.channels)
