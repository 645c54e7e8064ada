"""The models behind the engine's protocol: rows, batches and cuts change nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.models.codec import Codec, MelCodec
from sottovoce.models.config import TINY
from sottovoce.models.hifigan import HiFiGan
from sottovoce.stream.engine import KINDS, Kind, Work
from sottovoce.stream.errors import NoSlot, WeightsError
from sottovoce.stream.torch_engine import TorchEngine


def tiny(rows: int) -> TorchEngine:
    torch.manual_seed(1)
    vocoder = HiFiGan(TINY.mel, TINY.vocoder).eval().requires_grad_(False)
    net = MelCodec(TINY).eval().requires_grad_(False)
    return TorchEngine(rows=rows, codec=Codec(net, vocoder, "0123456789ab"))


ENGINE = tiny(rows=3)
D = ENGINE.descriptor


def speech(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n * D.frame_samples).astype(np.float32)


def through(engine: TorchEngine, row: int, pcm: np.ndarray) -> dict[Kind, np.ndarray]:
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


def test_every_kind_answers_in_the_promised_shape_and_type() -> None:
    row = ENGINE.open()
    answers = through(ENGINE, row, speech(2, 0))
    ENGINE.close(row)
    mel = (2 * D.mels_per_frame, D.n_mels)
    assert [answers[kind].shape for kind in KINDS] == [mel, (2, D.books), mel, (2 * D.frame_samples,)]
    assert [answers[kind].dtype for kind in KINDS] == [np.float32, np.int16, np.float32, np.float32]
    assert np.abs(answers["vocode"]).max() <= 1


@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.integers(1, 3), min_size=2, max_size=4))
def test_cuts_do_not_matter(sizes: list[int]) -> None:
    pcm = speech(sum(sizes), 1)
    row = ENGINE.open()
    whole = through(ENGINE, row, pcm)
    ENGINE.close(row)
    row = ENGINE.open()
    parts = [through(ENGINE, row, part) for part in np.split(pcm, np.cumsum(sizes[:-1]) * D.frame_samples)]
    ENGINE.close(row)
    assert_same(whole, {kind: np.concatenate([part[kind] for part in parts]) for kind in KINDS})


def test_a_row_does_not_hear_its_neighbours() -> None:
    sounds = [speech(2, seed) for seed in range(3)]
    alone = []
    for sound in sounds:
        row = ENGINE.open()
        alone.append(through(ENGINE, row, sound))
        ENGINE.close(row)
    rows = [ENGINE.open() for _ in sounds]
    together: list[dict[Kind, np.ndarray]] = [{} for _ in sounds]
    data = list(sounds)
    for kind in KINDS:  # all rows, then two out of order, one of them with another length of piece
        data = ENGINE.step([Work(row, kind, d, 0.0) for row, d in zip(rows, data, strict=True)])
        for i in range(3):
            together[i][kind] = data[i]
    for i in range(3):
        assert_same(alone[i], together[i])
    later = ENGINE.step([Work(rows[2], "mel", sounds[1], 0.0), Work(rows[0], "mel", sounds[1][: D.frame_samples], 0.0)])
    assert [len(mel) for mel in later] == [2 * D.mels_per_frame, D.mels_per_frame]
    for row in rows:
        ENGINE.close(row)


def test_a_fresh_piece_forgets_what_the_row_heard() -> None:
    row = ENGINE.open()
    first = through(ENGINE, row, speech(1, 5))
    through(ENGINE, row, speech(2, 6))
    data: np.ndarray = speech(1, 5)
    for kind in KINDS:
        data = ENGINE.step([Work(row, kind, data, 0.0, fresh=True)])[0]
        assert np.abs(data - first[kind]).max() <= 1e-5
    ENGINE.close(row)


def test_absent_books_decode() -> None:
    row = ENGINE.open()
    codes = np.full((2, D.books), -1, np.int16)
    codes[0, :2] = 3
    assert np.isfinite(ENGINE.step([Work(row, "decode", codes, 0.0)])[0]).all()
    ENGINE.close(row)


def test_there_are_only_so_many_rows() -> None:
    rows = [ENGINE.open() for _ in range(3)]
    with pytest.raises(NoSlot):
        ENGINE.open()
    for row in rows:
        ENGINE.close(row)
    with pytest.raises(ValueError, match="not open"):
        ENGINE.step([Work(0, "mel", speech(1, 0), 0.0)])


def test_one_piece_for_each_row_and_kind() -> None:
    row = ENGINE.open()
    with pytest.raises(ValueError, match="same row"):
        ENGINE.step([Work(row, "mel", speech(1, 0), 0.0)] * 2)
    ENGINE.close(row)


def test_missing_weights_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="base-codec"):
        TorchEngine("base", weights=tmp_path)
    with pytest.raises(WeightsError, match="no preset"):
        TorchEngine("nonsense", weights=tmp_path)
