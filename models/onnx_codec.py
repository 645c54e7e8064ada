"""The three networks of a codec as ONNX graphs of one code frame each, from weight files, without torch.

=========  =======================================  ==================================================
graph      in                                       out
=========  =======================================  ==================================================
encode     mel [B, T, M]                            codes int64 [B, Q]
decode     codes int64 [B, Q], -1 = absent book     mel [B, T, M]
vocode     mel [B, T, M]                            Vocos: real, imag [B, T, bins]; HiFi-GAN: pcm [B, T * hop]
=========  =======================================  ==================================================

with T mel frames to the code frame; and the states (see ``onnx_layers.py``). Front end and inverse STFT are in ``spectral.py``.
``decode`` and ``vocode`` are also made for any number of code frames n, with axes [B, n, Q], [B, n * T, M] and so on; there is
no such encoder, so that no cut changes a code.
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
from .onnx_graph import Dtype, Graph, Weights
from .onnx_layers import Frames, affine, apart, causal_conv, convnext_blocks, layer_norm, per_frame, transposed_conv
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
    decode_many: onnx.ModelProto | None = None
    """``decode`` for any number of frames, codes [B, n, Q] to mel [B, n * T, M], with the same states. None in int8: where
    numbers are cut to 255 steps, what rounds another way is not near any more."""
    vocode_many: onnx.ModelProto | None = None
    "Likewise."


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
    decode_many = decoder_graph(preset, weights, many=True) if dtype == "float32" else None
    weights.check_all_used(but=TRAINED_ALONE)
    weights = Weights(path, vocoder_tensors)
    try:
        vocode = vocoder_graph(preset, weights, dtype)
        vocode_many = vocoder_graph(preset, weights, many=True) if dtype == "float32" else None
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error
    weights.check_all_used()
    return OnnxCodec(preset, model_hash(codec, tensors), encode, decode, vocode, decode_many, vocode_many)


def _centred(g: Graph, preset: Preset, steps: int | None) -> Frames:
    """The input mel, near zero mean; what is left to do is to divide by `MEL_SPREAD`."""
    mel = g.input("mel", "time" if steps is None else steps, preset.n_mels)
    return Frames(g.node("Sub", mel, g.scalar(MEL_MEAN)), steps, preset.n_mels, apart=True)


def encoder_graph(preset: Preset, weights: Weights) -> onnx.ModelProto:
    """``Encoder`` and the search of ``ResidualQuantiser``: mel to codes."""
    g, trunk, w = Graph("encode"), preset.trunk, weights.under("analysis")
    stride, width, gain = trunk.mels_per_frame, trunk.encoder_width, 1 / MEL_SPREAD
    mel, parts = _centred(g, preset, stride), w.under("stack.parts")
    last = parts.under(str(1 + trunk.encoder_blocks))
    bias = last("linear.bias", trunk.latent)
    plain = causal_conv(g, mel, w.under("view"), trunk.latent, stride, stride, gain=gain, plus=bias)
    x = causal_conv(g, mel, parts.under("0"), width, 2 * stride + (stride == 1), stride, gain=gain)
    x = convnext_blocks(g, x, _several(parts, 1, trunk.encoder_blocks), trunk.kernel, trunk.expansion)
    latent = per_frame(g, x, last, trunk.latent, plain).name
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


def decoder_graph(preset: Preset, weights: Weights, dtype: Dtype = "float32", *, many: bool = False) -> onnx.ModelProto:
    """The sum of books in ``ResidualQuantiser.decode``, and ``Decoder``: codes to mel."""
    g, trunk, w = Graph("decode", dtype), preset.trunk, weights.under("synthesis")
    stride, width, blocks = trunk.mels_per_frame, trunk.decoder_width, trunk.decoder_blocks
    latent = _sum(g, preset, weights.under("quantiser"), many)
    parts = w.under("stack.parts")
    x = causal_conv(g, latent, parts.under("0"), width, 3)
    x, i = convnext_blocks(g, x, _several(parts, 1, blocks), trunk.kernel, trunk.expansion), 1 + blocks
    if trunk.refine_blocks:
        x, i = transposed_conv(g, x, parts.under(str(i)), trunk.refine_width, 2 * stride, stride), i + 1
        x = convnext_blocks(g, x, _several(parts, i, trunk.refine_blocks), trunk.kernel, trunk.expansion)
        i += trunk.refine_blocks
    last = parts.under(str(i))
    offset = last("linear.bias", preset.n_mels) * np.float32(MEL_SPREAD) + np.float32(MEL_MEAN)
    plain = transposed_conv(g, latent, w.under("view"), preset.n_mels, stride, stride, gain=MEL_SPREAD, plus=offset)
    mel = per_frame(g, x, last, preset.n_mels, plain, gain=MEL_SPREAD)
    g.output(apart(g, mel), "mel", mel.steps or "time", preset.n_mels)
    return g.build()


def _sum(g: Graph, preset: Preset, w: Weights, many: bool) -> Frames:
    """Latents of codes: rows of one long table, each book's after a row of zeros for when it is absent."""
    q = preset.quantiser
    tables = [np.pad(_book(w, preset, book)[1], ((1, 0), (0, 0))) for book in range(q.books)]
    table = np.concatenate(tables)
    if q.metric != "cosine" and q.width != q.code_width:
        table = table @ w("leave.weight", q.width, q.code_width).T
    codes = g.input("codes", *(("time",) if many else ()), q.books, dtype=TensorProto.INT64)
    if many:
        codes = g.node("Reshape", codes, g.integers(-1, q.books))
    row = g.node("Add", codes, g.integers(*(1 + book * (q.book_size + 1) for book in range(q.books))))
    latent = g.node("ReduceSum", g.node("Gather", g.constant(table), row, axis=0), g.integers(1), keepdims=0)
    return Frames(latent, None if many else 1, q.width)


def vocoder_graph(preset: Preset, weights: Weights, dtype: Dtype = "float32", *, many: bool = False) -> onnx.ModelProto:
    """``Vocos`` up to its spectra, or ``HiFiGan``."""
    g = Graph("vocode", dtype)
    mel = _centred(g, preset, None if many else preset.mels_per_frame)
    if isinstance(preset.vocoder, VocosConfig):
        _vocos(g, mel, preset, preset.vocoder, weights)
    else:
        _hifigan(g, mel, preset.vocoder, weights)
    return g.build()


def _vocos(g: Graph, mel: Frames, preset: Preset, config: VocosConfig, weights: Weights) -> None:
    parts = weights.under("stack.parts")
    x = causal_conv(g, mel, parts.under("0"), config.width, config.kernel, gain=1 / MEL_SPREAD)
    x = convnext_blocks(g, x, _several(parts, 1, config.blocks), config.kernel, config.expansion)
    length = STFT_OVERLAP * preset.mel.hop
    bins = length // 2 + 1
    last, shape = parts.under(str(1 + config.blocks)), outline(preset.mel, bins)
    bias = last("linear.bias", 2 * bins).copy()
    bias[:bins] += outline_offset(preset.mel, length) + MEL_MEAN * shape.sum(0)
    x = layer_norm(g, x, last.under("norm"))
    x = affine(g, x, last("linear.weight", 2 * bins, config.width).T, bias)
    size, angle = g.split(apart(g, x), 2, axis=2)
    size = g.node("Add", size, g.node("MatMul", mel.name, g.constant(shape)))
    magnitude = g.node("Exp", g.node("Min", size, g.scalar(LOUDEST)))
    for name, part in (("real", "Cos"), ("imag", "Sin")):
        g.output(g.node("Mul", magnitude, g.node(part, angle)), name, mel.steps or "time", bins)


def _hifigan(g: Graph, mel: Frames, config: HiFiGanConfig, weights: Weights) -> None:
    def leaky(x: Frames) -> Frames:
        return Frames(g.node("LeakyRelu", x.name, alpha=LEAKY_SLOPE), x.steps, x.channels)

    def plus(x: Frames, y: Frames) -> Frames:
        return Frames(g.node("Add", x.name, y.name), x.steps, x.channels)

    channels = config.channels
    x = causal_conv(g, mel, weights.under("enter"), channels, 7, gain=1 / MEL_SPREAD)
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
    pcm = g.node("Tanh", x.name)  # [B * T * hop, 1]
    pcm = g.node("Reshape", pcm, g.integers(-1, x.steps)) if x.steps else _by_row(g, pcm)
    g.output(pcm, "pcm", x.steps or "samples")


def _by_row(g: Graph, pcm: str) -> str:
    return g.node("Reshape", pcm, g.node("Concat", g.batch, g.integers(-1), axis=0))
