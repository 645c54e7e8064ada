"""The networks of a talker as ONNX graphs, from a weight file, without torch.

======  =====================================================  ====================================================
graph   in                                                     out
======  =====================================================  ====================================================
clause  symbols int64 [B, P], voice int64 [B]                  encodings [B, P, D], slots [B, P] (not whole yet)
frame   previous int64 [B, Q], condition [B, S, D + 2],        hidden [B, W]
        voice int64 [B], and the states
write   hidden [B, W], noise [B, Q, V], top_k int64 [B]        codes int64 [B, Q], logits [B, Q, V]
======  =====================================================  ====================================================

They are ``Talker.clause``, ``step`` and ``write``; clauses of one call are of one length. States are as in ``onnx_graph.py``,
zeros before the first frame. ``sampling.py`` draws the noise, so that torch and ONNX Runtime choose the same codes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from .config import Preset
from .onnx_attention import block, block_step, open_past, whole_turn
from .onnx_graph import Graph, Weights
from .onnx_layers import NORM_EPSILON, Frames, layer_norm, linear
from .talker_config import DEPTH_EXPANSION, LONGEST_SYMBOL, TalkerConfig
from .talker_file import TalkerAbout, read_talker

INT64 = TensorProto.INT64


@dataclass(frozen=True, slots=True)
class OnnxTalker:
    """What an engine needs: the graphs, and what they are."""

    about: TalkerAbout
    clause: onnx.ModelProto
    frame: onnx.ModelProto
    write: onnx.ModelProto


def build_talker(path: Path, codec: Preset, model_hash: str) -> OnnxTalker:
    """The talker of a weight file, checked to speak the codec of that preset and hash.

    Raises:
        CheckpointError: weights are missing, unreadable or do not fit.
    """
    about, tensors = read_talker(path, codec, model_hash)
    weights = Weights(path, tensors)
    graphs = (make(about.config, weights) for make in (clause_graph, frame_graph, write_graph))
    talker = OnnxTalker(about, *graphs)
    weights.check_all_used()
    return talker


def clause_graph(config: TalkerConfig, weights: Weights) -> onnx.ModelProto:
    """``PhonemeEncoder`` and ``DurationPredictor`` for clauses of any one length."""
    g, width, w = Graph("clause"), config.encoder_width, weights.under("encoder")
    symbols = g.input("symbols", "symbols", dtype=INT64)
    voice = g.node("Gather", g.constant(weights("voices.weight", config.voices, width)), g.input("voice", dtype=INT64))
    table = g.constant(w("symbols.weight", config.symbols, width))
    name = g.node("Add", g.node("Gather", table, symbols), g.node("Unsqueeze", voice, g.integers(1)))
    x = Frames(name, None, width, apart=True)
    x = Frames(g.node("Add", x.name, _symbol_conv(g, x, w.under("near"), 5)), None, width, apart=True)
    turn = whole_turn(g, symbols, width // config.encoder_heads)
    for i in range(config.encoder_layers):
        x = block(g, x, w.under(f"blocks.{i}"), config.encoder_heads, turn)
    x = layer_norm(g, x, w.under("norm"))
    g.output(x.name, "encodings", "symbols", width)
    w = weights.under("durations")
    for i in range(2):
        y = layer_norm(
            g, Frames(_symbol_conv(g, x, w.under(f"convs.{i}"), 3), None, width, apart=True), w.under(f"norms.{i}")
        )
        x = Frames(g.node("Add", x.name, g.node("Gelu", y.name)), None, width, apart=True)
    log_durations = g.node("Squeeze", linear(g, x, w.under("leave"), 1).name, g.integers(2))
    bounded = g.node("Clip", log_durations, g.scalar(0), g.scalar(np.log1p(LONGEST_SYMBOL)))
    g.output(g.node("Sub", g.node("Exp", bounded), g.scalar(1)), "slots", "symbols")
    return g.build()


def _symbol_conv(g: Graph, x: Frames, weights: Weights, kernel: int) -> str:
    """``SymbolConv``, with nothing to fill up."""
    weights, width, side = weights.under("conv"), x.channels, kernel // 2
    both = (g.constant(weights("weight", width, width, kernel)), g.constant(weights("bias", width)))
    y = g.node("Conv", g.node("Transpose", x.name, perm=[0, 2, 1]), *both, pads=[side, side])
    return g.node("Transpose", y, perm=[0, 2, 1])


def frame_graph(config: TalkerConfig, weights: Weights) -> onnx.ModelProto:
    """``Talker.enter`` and ``FrameTransformer`` for one frame."""
    g, width = Graph("frame"), config.width
    x = Frames(_enter(g, config, weights), 1, width)
    w, past = weights.under("frames"), open_past(g, config.window, config.heads, width // config.heads)
    for i in range(config.layers):
        x = block_step(g, x, w.under(f"blocks.{i}"), config.heads, past)
    x = layer_norm(g, x, w.under("norm"))
    g.output(x.name, "hidden", width)
    return g.build()


def _enter(g: Graph, config: TalkerConfig, weights: Weights) -> str:
    """[B, W]: codes before, condition and voice; what depends on the voice alone is one table."""
    books, width, told = config.books, config.width, config.mels_per_frame * config.condition_width
    tables = _code_tables(config, weights)
    starts = g.integers(*(book * tables.shape[1] for book in range(books)))
    row = g.node("Add", g.input("previous", books, dtype=INT64), starts)
    embedded = g.node("Gather", g.constant(tables.reshape(-1, config.code_width)), row)
    embedded = g.node("Reshape", embedded, g.integers(0, books * config.code_width))
    x = linear(g, Frames(embedded, 1, books * config.code_width), weights.under("enter_codes"), width).name
    condition = g.input("condition", config.mels_per_frame, config.condition_width)
    condition = g.node("Reshape", condition, g.integers(0, told))
    x = g.node("Add", x, linear(g, Frames(condition, 1, told), weights.under("enter_condition"), width).name)
    of_voice = weights.under("enter_voice")
    voices = weights("voices.weight", config.voices, config.encoder_width)
    voices = voices @ of_voice("weight", width, config.encoder_width).T + of_voice("bias", width)
    voice = g.node("Gather", g.constant(voices), g.input("voice", dtype=INT64))
    return g.node("Add", x, voice)


def _code_tables(config: TalkerConfig, weights: Weights) -> np.ndarray:
    """Of ``CodeEmbedding``: [Q, rows, C]."""
    return weights("codes.tables", config.books, max(config.book_size, config.start_code + 1), config.code_width)


def write_graph(config: TalkerConfig, weights: Weights) -> onnx.ModelProto:
    """``Talker.write``: the books of a frame in turn."""
    g = Graph("write")
    hidden = g.input("hidden", config.width)
    noise, choose = g.input("noise", config.books, config.book_size), _Choice(g, config.book_size)
    others = _Depth(g, config, weights, hidden) if config.depth_blocks else _Heads(g, config, weights, hidden)
    logits = [_dense(g, hidden, weights.under("head"), config.width, config.book_size)]
    codes = [choose(logits[0], g.node("Gather", noise, g.index(0), axis=1))]
    for book in range(1, config.books):
        logits.append(others.logits(codes[-1], book))
        codes.append(choose(logits[-1], g.node("Gather", noise, g.index(book), axis=1)))
    for values, name, shape, dtype in (
        (codes, "codes", (config.books,), INT64),
        (logits, "logits", (config.books, config.book_size), TensorProto.FLOAT),
    ):
        apart = [g.node("Unsqueeze", value, g.integers(1)) for value in values]
        g.output(g.node("Concat", *apart, axis=1), name, *shape, dtype=dtype)
    return g.build()


def _dense(g: Graph, x: str, weights: Weights, c_in: int, c_out: int) -> str:
    """``nn.Linear`` of [B, c_in]."""
    return g.node("Gemm", x, g.constant(weights("weight", c_out, c_in)), g.constant(weights("bias", c_out)), transB=1)


class _Choice:
    """``talker._choose``, with a ``top_k`` of every row."""

    def __init__(self, g: Graph, book_size: int) -> None:
        top_k = g.node("Min", g.input("top_k", dtype=INT64), g.integers(book_size))
        self.g, self.most = g, g.node("ReduceMax", top_k, keepdims=1)
        self.last = g.node("Unsqueeze", g.node("Sub", top_k, g.integers(1)), g.integers(1))

    def __call__(self, logits: str, noise: str) -> str:
        g = self.g
        ordered, _ = g.nodes("TopK", logits, self.most, outputs=2)
        least = g.node("GatherElements", ordered, self.last, axis=1)
        out = g.node("Less", logits, least)
        return g.node(
            "ArgMax", g.node("Where", out, g.scalar(-np.inf), g.node("Add", logits, noise)), axis=1, keepdims=0
        )


class _Depth:
    """``Depth``: what a code adds to the sum is looked up in one table, its embedding and ``spread`` multiplied."""

    def __init__(self, g: Graph, config: TalkerConfig, weights: Weights, hidden: str) -> None:
        books, width = config.books - 1, config.depth_width
        self.g, self.config, self.weights = g, config, weights.under("depth")
        self.total = _dense(g, hidden, self.weights.under("enter"), config.width, width)
        spread = self.weights("spread", books, config.code_width, width)
        self.added = _code_tables(config, weights)[:-1, : config.book_size] @ spread
        self.heads = self.weights("heads", books, config.book_size, width)
        self.blocks = [self._shared(self.weights.under(f"blocks.{i}")) for i in range(config.depth_blocks)]

    def _shared(self, weights: Weights) -> list[str]:
        """Matrices and biases of a block, one constant each for all books."""
        width, inner = self.config.depth_width, DEPTH_EXPANSION * self.config.depth_width
        rise, fall = weights.under("rise"), weights.under("fall")
        shapes = [rise("weight", inner, width), rise("bias", inner), fall("weight", width, inner), fall("bias", width)]
        return [self.g.constant(value) for value in shapes]

    def _norm(self, x: str, weights: Weights, book: int) -> str:
        shape = (self.config.books - 1, self.config.depth_width)
        both = (self.g.constant(weights(name, *shape)[book - 1]) for name in ("scale", "offset"))
        return self.g.node("LayerNormalization", x, *both, epsilon=NORM_EPSILON)

    def logits(self, before: str, book: int) -> str:
        g = self.g
        self.total = g.node("Add", self.total, g.node("Gather", g.constant(self.added[book - 1]), before))
        x = self.total
        for i, (rise, rise_bias, fall, fall_bias) in enumerate(self.blocks):
            y = self._norm(x, self.weights.under(f"blocks.{i}.norm"), book)
            y = g.node("Gelu", g.node("Gemm", y, rise, rise_bias, transB=1))
            x = g.node("Add", x, g.node("Gemm", y, fall, fall_bias, transB=1))
        x = self._norm(x, self.weights.under("norm"), book)
        return g.node("Gemm", x, g.constant(self.heads[book - 1]), transB=1)


class _Heads:
    """``Heads``."""

    def __init__(self, g: Graph, config: TalkerConfig, weights: Weights, hidden: str) -> None:
        self.g, self.config, self.weights, self.hidden = g, config, weights.under("depth.heads"), hidden

    def logits(self, before: str, book: int) -> str:
        return _dense(self.g, self.hidden, self.weights.under(str(book - 1)), self.config.width, self.config.book_size)
