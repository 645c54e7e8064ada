"""The three networks of a codec as ONNX graphs of one code frame each, from weight files, without torch.

=========  =======================================  ==================================================
graph      in                                       out
=========  =======================================  ==================================================
encode     mel [B, T, M]                            codes int64 [B, Q]
decode     codes int64 [B, Q], -1 = absent book     mel [B, T, M]
vocode     mel [B, T, M]                            Vocos: real, imag [B, T, bins]; HiFi-GAN: pcm [B, T * hop]
=========  =======================================  ==================================================

with T mel frames to the code frame; and the states (see ``onnx_graph.py``). Front end and inverse STFT are in ``spectral.py``.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from .bands import outline, outline_offset
from .config import (
    LEAKY_SLOPE,
    LOUDEST,
    MEL_MEAN,
    MEL_SPREAD,
    STFT_OVERLAP,
    HiFiGanConfig,
    Preset,
    VocosConfig,
)
from .onnx_graph import (
    Dtype,
    Frames,
    Graph,
    Weights,
    causal_conv,
    convnext_blocks,
    per_frame,
    transposed_conv,
)
from .weight_file import WEIGHTS, CheckpointError, check_same_mel, default_path, model_hash, read, read_preset

TRAINED_ALONE = ".ready"  # whether a book was placed: of no use once it was


@dataclass(frozen=True, slots=True)
class OnnxCodec:
    """What an engine needs: the graphs, and what they are."""

    preset: Preset
    "The codec's, with the vocoder that ``vocode`` is."
    model_hash: str
    encode: onnx.ModelProto
    decode: onnx.ModelProto
    vocode: onnx.ModelProto


def build_codec(name: str = "base", folder: Path = WEIGHTS, dtype: Dtype = "float32") -> OnnxCodec:
    """The codec of the preset ``name`` and its neural vocoder.

    Raises:
        CheckpointError: weights are missing, unreadable or do not fit.
    """
    codec, tensors = read_preset(name, folder)
    path = default_path(name, "vocoder", folder)
    of_vocoder, vocoder_tensors = read(path, "vocoder")
    check_same_mel(path, of_vocoder, codec)
    preset = replace(codec, vocoder=of_vocoder.vocoder)
    weights = Weights(default_path(name, "codec", folder), tensors)
    encode, decode = encoder_graph(preset, weights), decoder_graph(preset, weights, dtype)
    weights.check_all_used(but=TRAINED_ALONE)
    weights = Weights(path, vocoder_tensors)
    try:
        vocode = vocoder_graph(preset, weights, dtype)
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error
    weights.check_all_used()
    return OnnxCodec(preset, model_hash(codec, tensors), encode, decode, vocode)


def _standard(g: Graph, preset: Preset) -> tuple[str, Frames]:
    """The input mel, and the same near zero mean and unit variance."""
    mel = g.input("mel", preset.mels_per_frame, preset.n_mels)
    centred = g.node("Sub", mel, g.scalar(MEL_MEAN))
    x = g.node("Mul", centred, g.scalar(1 / MEL_SPREAD))
    return mel, Frames(x, preset.mels_per_frame, preset.n_mels)


def encoder_graph(preset: Preset, weights: Weights) -> onnx.ModelProto:
    """``Encoder`` and the search of ``ResidualQuantiser``: mel to codes."""
    g, trunk, w = Graph("encode"), preset.trunk, weights.under("analysis")
    stride, width = trunk.mels_per_frame, trunk.encoder_width
    _, mel = _standard(g, preset)
    plain = causal_conv(g, mel, w.under("view"), trunk.latent, stride, stride)
    parts = w.under("stack.parts")
    x = causal_conv(g, mel, parts.under("0"), width, 2 * stride + (stride == 1), stride)
    x = convnext_blocks(g, x, _several(parts, 1, trunk.encoder_blocks), trunk.kernel, trunk.expansion)
    x = per_frame(g, x, parts.under(str(1 + trunk.encoder_blocks)), trunk.latent)
    latent = g.node("Reshape", g.node("Add", plain.name, x.name), g.integers(0, trunk.latent))
    g.output(_search(g, latent, preset, weights.under("quantiser")), "codes", preset.books, dtype=TensorProto.INT64)
    return g.build()


def _several(parts: Weights, first: int, count: int) -> list[Weights]:
    return [parts.under(str(first + i)) for i in range(count)]


def _search(g: Graph, residual: str, preset: Preset, w: Weights) -> str:
    """Codes int64 [B, Q] of latents [B, D]."""
    q = preset.quantiser
    cosine = q.metric == "cosine"
    if not cosine and q.width != q.code_width:
        residual = g.node("MatMul", residual, g.constant(w("enter.weight", q.code_width, q.width).T))
    codes = []
    for book in range(q.books):
        vectors, added = _book(w, preset, book)
        if cosine:  # as in ``ResidualQuantiser.encode``
            down = w(f"down.{book}.weight", q.code_width - 1, q.width)
            matrix, offset = vectors[:, :-1] @ down, vectors[:, -1]
        else:
            matrix, offset = vectors, -0.5 * np.square(vectors).sum(-1)
        searched = g.constant(matrix)
        closeness = g.node("Gemm", residual, searched, g.constant(offset), transB=1)
        index = g.node("ArgMax", closeness, axis=-1, keepdims=0)
        codes.append(index)
        if book < q.books - 1:
            table = searched if added is matrix else g.constant(added)
            residual = g.node("Sub", residual, g.node("Gather", table, index, axis=0))
    by_book = g.node("Reshape", g.node("Concat", *codes, axis=0), g.integers(q.books, -1))
    return g.node("Transpose", by_book, perm=[1, 0])


def _book(w: Weights, preset: Preset, book: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [V, code_width] of a book, and what each adds to the sum [V, inner width]."""
    q = preset.quantiser
    vectors = w(f"books.{book}.vectors", q.book_size, q.code_width)
    if q.metric != "cosine":
        return vectors, vectors
    up = w.under(f"up.{book}")
    return vectors, vectors @ up("weight", q.width, q.code_width).T + up("bias", q.width)


def decoder_graph(preset: Preset, weights: Weights, dtype: Dtype = "float32") -> onnx.ModelProto:
    """The sum of books in ``ResidualQuantiser.decode``, and ``Decoder``: codes to mel."""
    g, trunk, w = Graph("decode", dtype), preset.trunk, weights.under("synthesis")
    stride, width = trunk.mels_per_frame, trunk.decoder_width
    latent = Frames(_sum(g, preset, weights.under("quantiser")), 1, trunk.latent)
    plain = transposed_conv(g, latent, w.under("view"), preset.n_mels, stride, stride)
    parts = w.under("stack.parts")
    x, i = causal_conv(g, latent, parts.under("0"), width, 3), 1
    x = convnext_blocks(g, x, _several(parts, 1, trunk.decoder_blocks), trunk.kernel, trunk.expansion)
    i += trunk.decoder_blocks
    if trunk.refine_blocks:
        x, i = transposed_conv(g, x, parts.under(str(i)), trunk.refine_width, 2 * stride, stride), i + 1
        x = convnext_blocks(g, x, _several(parts, i, trunk.refine_blocks), trunk.kernel, trunk.expansion)
        i += trunk.refine_blocks
    x = per_frame(g, x, parts.under(str(i)), preset.n_mels)
    mel = g.node("Mul", g.node("Add", plain.name, x.name), g.scalar(MEL_SPREAD))
    mel = g.node("Add", mel, g.scalar(MEL_MEAN))
    g.output(mel, "mel", preset.mels_per_frame, preset.n_mels)
    return g.build()


def _sum(g: Graph, preset: Preset, w: Weights) -> str:
    """Latents [B, 1, D] of codes: rows of one long table, each book's followed by zeros for when it is absent."""
    q = preset.quantiser
    tables = [np.pad(_book(w, preset, book)[1], ((0, 1), (0, 0))) for book in range(q.books)]
    table = np.concatenate(tables)
    if q.metric != "cosine" and q.width != q.code_width:
        table = table @ w("leave.weight", q.width, q.code_width).T
    codes = g.input("codes", q.books, dtype=TensorProto.INT64)
    absent = g.node("Less", codes, g.integers(0))
    row = g.node("Where", absent, g.integers(q.book_size), codes)
    row = g.node("Add", row, g.integers(*(book * (q.book_size + 1) for book in range(q.books))))
    return g.node("ReduceSum", g.node("Gather", g.constant(table), row, axis=0), g.integers(1), keepdims=1)


def vocoder_graph(preset: Preset, weights: Weights, dtype: Dtype = "float32") -> onnx.ModelProto:
    """``Vocos`` up to its spectra, or ``HiFiGan``."""
    if isinstance(preset.vocoder, VocosConfig):
        return _vocos(preset, preset.vocoder, weights, dtype)
    return _hifigan(preset, preset.vocoder, weights, dtype)


def _vocos(preset: Preset, config: VocosConfig, weights: Weights, dtype: Dtype) -> onnx.ModelProto:
    g, parts = Graph("vocode", dtype), weights.under("stack.parts")
    mel, x = _standard(g, preset)
    x = causal_conv(g, x, parts.under("0"), config.width, config.kernel)
    x = convnext_blocks(g, x, _several(parts, 1, config.blocks), config.kernel, config.expansion)
    length = STFT_OVERLAP * preset.mel.hop
    bins = length // 2 + 1
    x = per_frame(g, x, parts.under(str(1 + config.blocks)), 2 * bins)
    time, middle = g.integers(2), g.integers(bins)
    size = g.node("Slice", x.name, g.integers(0), middle, time)
    angle = g.node("Slice", x.name, middle, g.integers(2 * bins), time)
    drawn = g.node("MatMul", mel, g.constant(outline(preset.mel, bins)))
    offset = g.scalar(outline_offset(preset.mel, length))
    size = g.node("Add", g.node("Add", size, drawn), offset)
    magnitude = g.node("Exp", g.node("Min", size, g.scalar(LOUDEST)))
    for name, part in (("real", "Cos"), ("imag", "Sin")):
        g.output(g.node("Mul", magnitude, g.node(part, angle)), name, x.steps, bins)
    return g.build()


def _hifigan(preset: Preset, config: HiFiGanConfig, weights: Weights, dtype: Dtype) -> onnx.ModelProto:
    g = Graph("vocode", dtype)

    def leaky(x: Frames) -> Frames:
        return Frames(g.node("LeakyRelu", x.name, alpha=LEAKY_SLOPE), x.steps, x.channels)

    def plus(x: Frames, y: Frames) -> Frames:
        return Frames(g.node("Add", x.name, y.name), x.steps, x.channels)

    _, x = _standard(g, preset)
    channels = config.channels
    x = causal_conv(g, x, weights.under("enter"), channels, 7)
    for i, (rate, kernel) in enumerate(zip(config.rates, config.kernels, strict=True)):
        stage, channels = weights.under(f"stages.{i}"), channels // 2
        x = transposed_conv(g, leaky(x), stage.under("up"), channels, kernel, rate)
        total: Frames | None = None
        for j, mrf_kernel in enumerate(config.mrf_kernels):
            y = x
            for k, dilation in enumerate(config.mrf_dilations):
                w = stage.under(f"blocks.{j}.convs.{k}")
                y = plus(y, causal_conv(g, leaky(y), w, channels, mrf_kernel, dilation=dilation))
            total = y if total is None else plus(total, y)
        assert total is not None
        share = g.scalar(1 / len(config.mrf_kernels))
        x = Frames(g.node("Mul", total.name, share), x.steps, channels)
    x = causal_conv(g, leaky(x), weights.under("leave"), 1, 7)
    pcm = g.node("Reshape", g.node("Tanh", x.name), g.integers(0, x.steps))
    g.output(pcm, "pcm", x.steps)
    return g.build()
