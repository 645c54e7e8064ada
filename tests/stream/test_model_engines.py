"""The models behind the engine's protocol: rows, batches and cuts change nothing."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.models.codec import Codec, MelCodec
from sottovoce.models.config import TINY, VOCODERS
from sottovoce.models.onnx_codec import OnnxCodec, decoder_graph, encoder_graph, vocoder_graph
from sottovoce.models.onnx_graph import Weights
from sottovoce.models.vocoder import make_vocoder
from sottovoce.models.weight_file import default_path
from sottovoce.stream.batch_engine import BatchEngine
from sottovoce.stream.engine import KINDS, Kind, Work
from sottovoce.stream.errors import NoSlot, WeightsError
from sottovoce.stream.onnx_engine import OnnxEngine
from sottovoce.stream.torch_engine import TorchEngine
from support import clip


def tiny(rows: int) -> dict[str, BatchEngine]:
    """One codec behind each backend, with either kind of vocoder."""
    torch.manual_seed(1)
    net = MelCodec(TINY).eval().requires_grad_(False)
    engines: dict[str, BatchEngine] = {}
    for name, shape in VOCODERS["tiny"].items():
        preset = dataclasses.replace(TINY, vocoder=shape)
        vocoder = make_vocoder(preset).eval().requires_grad_(False)
        weights, of_vocoder = (
            Weights(Path(), {k: v.numpy() for k, v in m.state_dict().items()}) for m in (net, vocoder)
        )
        graphs = encoder_graph(preset, weights), decoder_graph(preset, weights), vocoder_graph(preset, of_vocoder)
        engines[f"torch {name}"] = TorchEngine(rows=rows, codec=Codec(net, vocoder, "0123456789ab"))
        engines[f"onnx {name}"] = OnnxEngine(rows=rows, codec=OnnxCodec(preset, "0123456789ab", *graphs))
    return engines


ENGINES = tiny(rows=3)
D = ENGINES["torch hifigan"].descriptor
each_backend = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())


def speech(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n * D.frame_samples).astype(np.float32)


def through(engine: BatchEngine, row: int, pcm: np.ndarray) -> dict[Kind, np.ndarray]:
    answers: dict[Kind, np.ndarray] = {}
    data = pcm
    for kind in KINDS:
        data = answers[kind] = engine.step([Work(row, kind, data, 0.0)])[0]
    return answers


def assert_same(a: dict[Kind, np.ndarray], b: dict[Kind, np.ndarray]) -> None:
    for kind in KINDS:
        assert a[kind].shape == b[kind].shape
        if kind == "encode":
            assert np.array_equal(a[kind], b[kind])
        else:
            assert np.abs(a[kind] - b[kind]).max() <= 1e-5


@each_backend
def test_every_kind_answers_in_the_promised_shape_and_type(engine: BatchEngine) -> None:
    row = engine.open()
    answers = through(engine, row, speech(2, 0))
    engine.close(row)
    mel = (2 * D.mels_per_frame, D.n_mels)
    assert [answers[kind].shape for kind in KINDS] == [mel, (2, D.books), mel, (2 * D.frame_samples,)]
    assert [answers[kind].dtype for kind in KINDS] == [np.float32, np.int16, np.float32, np.float32]
    assert np.abs(answers["vocode"]).max() <= 1


@each_backend
@settings(max_examples=8)
@given(sizes=st.lists(st.integers(1, 3), min_size=2, max_size=4))
def test_cuts_do_not_matter(engine: BatchEngine, sizes: list[int]) -> None:
    pcm = speech(sum(sizes), 1)
    row = engine.open()
    whole = through(engine, row, pcm)
    engine.close(row)
    row = engine.open()
    parts = [through(engine, row, part) for part in np.split(pcm, np.cumsum(sizes[:-1]) * D.frame_samples)]
    engine.close(row)
    assert_same(whole, {kind: np.concatenate([part[kind] for part in parts]) for kind in KINDS})


@each_backend
def test_a_row_does_not_hear_its_neighbours(engine: BatchEngine) -> None:
    sounds = [speech(2, seed) for seed in range(3)]
    alone = []
    for sound in sounds:
        row = engine.open()
        alone.append(through(engine, row, sound))
        engine.close(row)
    rows = [engine.open() for _ in sounds]
    together: list[dict[Kind, np.ndarray]] = [{} for _ in sounds]
    data = list(sounds)
    for kind in KINDS:  # all rows, then two out of order, one of them with another length of piece
        data = engine.step([Work(row, kind, d, 0.0) for row, d in zip(rows, data, strict=True)])
        for i in range(3):
            together[i][kind] = data[i]
    for i in range(3):
        assert_same(alone[i], together[i])
    later = engine.step([Work(rows[2], "mel", sounds[1], 0.0), Work(rows[0], "mel", sounds[1][: D.frame_samples], 0.0)])
    assert [len(mel) for mel in later] == [2 * D.mels_per_frame, D.mels_per_frame]
    for row in rows:
        engine.close(row)


@each_backend
def test_any_rows_in_any_order_as_one_batch(engine: BatchEngine) -> None:
    """Some rows rest, others step together, in orders that change: each says what it says alone."""
    chance = np.random.default_rng(7)
    sounds = [speech(6, seed) for seed in range(3)]
    rows = [engine.open() for _ in sounds]
    assert sorted(rows) == [0, 1, 2]
    heard = [0] * 3
    said: list[dict[Kind, list[np.ndarray]]] = [{kind: [] for kind in KINDS} for _ in sounds]
    sizes = set()
    while min(heard) < 6:
        batch = [int(i) for i in chance.permutation(3)[: chance.integers(1, 4)] if heard[i] < 6]
        sizes.add(len(batch))
        data = [sounds[i][heard[i] * D.frame_samples : (heard[i] + 1) * D.frame_samples] for i in batch]
        for kind in KINDS:
            data = engine.step([Work(rows[i], kind, piece, 0.0) for i, piece in zip(batch, data, strict=True)])
            for i, answer in zip(batch, data, strict=True):
                said[i][kind].append(answer)
        for i in batch:
            heard[i] += 1
    assert sizes >= {1, 2, 3}
    for row in rows:
        engine.close(row)
    for i, sound in enumerate(sounds):
        row = engine.open()
        alone = through(engine, row, sound)
        engine.close(row)
        assert_same(alone, {kind: np.concatenate(said[i][kind]) for kind in KINDS})


@each_backend
def test_a_fresh_piece_forgets_what_the_row_heard(engine: BatchEngine) -> None:
    row = engine.open()
    first = through(engine, row, speech(1, 5))
    through(engine, row, speech(2, 6))
    data: np.ndarray = speech(1, 5)
    for kind in KINDS:
        data = engine.step([Work(row, kind, data, 0.0, fresh=True)])[0]
        assert np.abs(data - first[kind]).max() <= 1e-5
    engine.close(row)


@each_backend
def test_absent_books_decode(engine: BatchEngine) -> None:
    row = engine.open()
    codes = np.full((2, D.books), -1, np.int16)
    codes[0, :2] = 3
    assert np.isfinite(engine.step([Work(row, "decode", codes, 0.0)])[0]).all()
    engine.close(row)


@each_backend
def test_there_are_only_so_many_rows(engine: BatchEngine) -> None:
    rows = [engine.open() for _ in range(3)]
    with pytest.raises(NoSlot):
        engine.open()
    for row in rows:
        engine.close(row)
    with pytest.raises(ValueError, match="not open"):
        engine.step([Work(0, "mel", speech(1, 0), 0.0)])


@each_backend
def test_one_piece_for_each_row_and_kind(engine: BatchEngine) -> None:
    row = engine.open()
    with pytest.raises(ValueError, match="same row"):
        engine.step([Work(row, "mel", speech(1, 0), 0.0)] * 2)
    engine.close(row)


@pytest.mark.parametrize("make", [TorchEngine, OnnxEngine])
def test_missing_weights_are_one_clear_error(make: type[TorchEngine] | type[OnnxEngine], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="base-codec"):
        make("base", weights=tmp_path)
    with pytest.raises(WeightsError, match="no preset"):
        make("nonsense", weights=tmp_path)


def test_graphs_need_a_vocoder(tmp_path: Path) -> None:
    shutil.copy(default_path("micro", "codec"), tmp_path)
    with pytest.raises(WeightsError, match=r"micro-vocoder\.safetensors: not a readable weight file"):
        OnnxEngine("micro", weights=tmp_path)


def test_cuts_change_no_bit_of_what_the_graphs_say() -> None:
    engine, pcm = ENGINES["onnx vocos"], speech(6, 2)
    row = engine.open()
    whole = through(engine, row, pcm)
    engine.close(row)
    row = engine.open()
    parts = [through(engine, row, part) for part in np.split(pcm, np.array([1, 4]) * D.frame_samples)]
    engine.close(row)
    for kind in KINDS:
        assert np.array_equal(whole[kind], np.concatenate([part[kind] for part in parts]))


@pytest.mark.parametrize("preset", ["base", "micro"])
def test_the_shipped_weights_speak_alike_behind_both_backends(preset: str) -> None:
    """Codes equal but where two vectors are as near as rounding; sound as near as rounding."""
    engines = [TorchEngine(preset), OnnxEngine(preset)]
    assert engines[0].descriptor == engines[1].descriptor
    descriptor = engines[0].descriptor
    voice = clip.speech(descriptor.rate_hz, descriptor.frame_samples)[0].numpy()
    codes: list[np.ndarray] = []
    for engine in engines:
        mel = engine.step([Work(engine.open(), "mel", voice, 0.0)])[0]
        codes += engine.step([Work(0, "encode", mel, 0.0)])
    assert (codes[0] == codes[1]).mean() > 0.999
    sounds = []
    for engine in engines:
        mel = engine.step([Work(0, "decode", codes[0], 0.0)])[0]
        sounds += engine.step([Work(0, "vocode", mel, 0.0)])
    assert np.abs(sounds[0] - sounds[1]).max() <= 1e-4
