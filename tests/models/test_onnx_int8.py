"""Decoder and vocoder in int8: near float32, rows independent to the bit, and the encoder as it was."""

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from sottovoce.models.onnx_codec import OnnxCodec, build_codec
from sottovoce.models.onnx_graph import INT8_BLOCK, Graph
from sottovoce.stream.engine import KINDS, Work
from sottovoce.stream.law import check_engine, voice
from sottovoce.stream.onnx_engine import OnnxEngine


@pytest.fixture(scope="module")
def codec() -> OnnxCodec:
    return build_codec("micro", dtype="int8")


def said(engine: OnnxEngine, pcm: NDArray[np.float32]) -> list[NDArray[np.generic]]:
    row, data, answers = engine.open(), pcm, []
    for kind in KINDS:
        data = engine.step([Work(row, kind, data, 0.0)])[0]
        answers.append(data)
    engine.close(row)
    return answers


def test_codes_are_those_of_float32_and_sound_is_near(codec: OnnxCodec) -> None:
    plain, small = OnnxEngine("micro"), OnnxEngine(codec=codec)
    assert small.descriptor == plain.descriptor
    pcm = voice(plain.descriptor, 60)
    expected, got = said(plain, pcm), said(small, pcm)
    assert np.array_equal(got[1], expected[1])
    assert 1e-6 < float(np.abs(got[2] - expected[2]).mean()) < 0.05  # of the natural logarithm of a band
    mels = [said(plain, sound)[0] for sound in (expected[3], got[3])]
    assert float(np.abs(mels[0] - mels[1]).mean()) < 0.2


def test_the_law_holds(codec: OnnxCodec) -> None:
    verdicts = list(check_engine(OnnxEngine(rows=2, codec=codec), 45))
    assert all(one.good for one in verdicts), verdicts


def test_a_quarter_of_the_bytes(codec: OnnxCodec) -> None:
    plain = build_codec("micro")
    for name in ("decode", "vocode"):
        sizes = [len(getattr(one, name).SerializeToString()) for one in (codec, plain)]
        assert sizes[0] < 0.5 * sizes[1]
    assert codec.encode == plain.encode


def test_a_product_and_the_matrices_that_stay_float() -> None:
    chance = np.random.default_rng(1)
    matrix, bias = chance.standard_normal((64, 48), np.float32), chance.standard_normal(48, np.float32)
    matrix[:INT8_BLOCK, 3] = 0  # a block of nothing has no scale
    x = chance.standard_normal((5, 64), np.float32)
    g = Graph("product", "int8")
    g.output(g.matmul(g.input("x", 64), matrix, bias), "y", 48)
    runs = onnxruntime.InferenceSession(g.build().SerializeToString(), providers=["CPUExecutionProvider"])
    y, exact = runs.run(["y"], {"x": x})[0], x @ matrix + bias
    assert 0 < np.sqrt(np.square(y - exact).mean() / np.square(exact).mean()) < 0.02
    odd = Graph("odd", "int8")
    odd.matmul(odd.input("x", 20), chance.standard_normal((20, 4), np.float32))
    assert [node.op_type for node in odd.build().graph.node] == ["MatMul"]
