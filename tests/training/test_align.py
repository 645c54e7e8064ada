"""The aligner: its sums and paths against brute force, and what it learns."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.models.symbols import SYMBOLS
from sottovoce.models.weight_file import CheckpointError
from sottovoce.training import align
from sottovoce.training.align import Config, Ear, Heard, evaluate, hear, held_out, train
from sottovoce.training.aligner import (
    SILENCE,
    SPACE,
    Aligner,
    AlignerConfig,
    along,
    best_path,
    forced,
    forward_sum,
    load_aligner,
    save_aligner,
)
from sottovoce.training.run import Run
from sottovoce.training.takes import BadTake, Take, synthesised

SHAPE = AlignerConfig(width=48, blocks=2)


def paths(n_slots: int, n_symbols: int) -> list[tuple[int, ...]]:
    """All ways to give each symbol one slot or more."""
    cuts = itertools.combinations(range(1, n_slots), n_symbols - 1)
    return [tuple(np.diff([0, *cut, n_slots])) for cut in cuts]


@given(st.integers(1, 7), st.data())
def test_sum_and_best_of_all_paths(n_slots: int, data: st.DataObject) -> None:
    n_symbols = data.draw(st.integers(1, n_slots))
    scores = np.random.default_rng(data.draw(st.integers(0, 9))).normal(size=(n_slots, n_symbols)).astype(np.float32)
    every = {
        path: float(scores[np.arange(n_slots), np.repeat(np.arange(n_symbols), path)].sum())
        for path in paths(n_slots, n_symbols)
    }
    found = best_path(scores)
    assert every[tuple(found)] == pytest.approx(max(every.values()), abs=1e-4)
    padded = torch.full((1, n_slots + 2, n_symbols + 1), 7.0)  # what lies beyond must not count
    padded[0, :n_slots, :n_symbols] = torch.from_numpy(scores)
    total = forward_sum(padded, torch.tensor([n_slots]), torch.tensor([n_symbols]))
    assert float(total) == pytest.approx(float(np.logaddexp.reduce(list(every.values()))), abs=1e-3)


def test_more_symbols_than_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        best_path(np.zeros((3, 4), np.float32))


def test_punctuation_is_silence_and_a_space_may_be() -> None:
    scores = torch.zeros(1, 1, len(SYMBOLS))
    scores[..., SILENCE] = 5.0
    comma, sound = SYMBOLS.index(","), SYMBOLS.index("s")
    assert along(scores, torch.tensor([[comma, sound]]))[0, 0].tolist() == [5.0, 0.0]
    aligner = Aligner(SHAPE)
    scaled = aligner.scores(scores)[0, 0]
    assert scaled[SPACE] == scaled[SILENCE] > scaled[sound]


@pytest.fixture(scope="module")
def heard(taught: Path) -> list[Heard]:
    ear = Ear()
    return [hear(take, ear) for take in synthesised(taught)]


@pytest.fixture(scope="module")
def aligner(heard: list[Heard], tmp_path_factory: pytest.TempPathFactory) -> Aligner:
    config = Config(steps=60, batch=8, clip_s=1.0, lr=4e-3, shape=SHAPE)
    return train(config, heard[:24], [], Run(tmp_path_factory.mktemp("align"), 60, math.inf))


def test_it_finds_when_tones_begin_and_end(aligner: Aligner, heard: list[Heard]) -> None:
    """Of utterances that it did not learn from. Marks sound as what follows them: no one could tell where they end."""
    found = evaluate(aligner, heard[24:])
    assert found.boundaries > 80
    assert found.word_mean_ms < 15
    assert found.mean_ms < 25
    assert found.score > found.wrong_score + 0.5


def test_a_resumed_run_is_an_uninterrupted_one(heard: list[Heard], tmp_path: Path) -> None:
    """With recordings whose times are not told: the sum over paths takes part from the third step on."""
    people = [Heard(one.mel, one.symbols, np.zeros(0, np.int64)) for one in heard[24:]]
    config = Config(steps=6, batch=4, clip_s=0.5, speech_batch=2, shape=AlignerConfig(width=16, blocks=1))
    through = train(config, heard[:24], people, Run(tmp_path / "through", 6, math.inf))
    train(config, heard[:24], people, Run(tmp_path / "broken", 4, math.inf))
    resumed = train(config, heard[:24], people, Run(tmp_path / "broken", 6, math.inf))
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in through.state_dict().items())
    lines = (tmp_path / "through" / "log.jsonl").read_text().splitlines()
    assert ["speech" in line for line in lines] == [False, False, True, True, True, True]


def test_people_teach_it_sounds_that_no_teacher_made(aligner: Aligner, heard: list[Heard], tmp_path: Path) -> None:
    """The sum over paths alone, on new voices (the same tones, all a little higher), raises the fit of their texts."""
    people = [Heard(np.roll(one.mel, 1, axis=0), one.symbols, np.zeros(0, np.int64)) for one in heard[24:]]

    def fit(of: Aligner) -> float:
        return float(
            np.mean([forced(of, torch.from_numpy(one.mel.astype(np.float32)), one.symbols)[1] for one in people])
        )

    config = Config(steps=84, batch=8, clip_s=1.0, lr=4e-3, shape=SHAPE, speech_from=0.7)
    longer = train(config, heard[:24], people, Run(tmp_path, 84, math.inf))
    assert fit(longer) > fit(aligner) + 0.2


def test_weights_come_back(aligner: Aligner, heard: list[Heard], tmp_path: Path) -> None:
    save_aligner(tmp_path / "a.safetensors", aligner, {"steps": "60"})
    mel = torch.from_numpy(heard[0].mel.astype(np.float32))
    before, after = (forced(one, mel, heard[0].symbols) for one in (aligner, load_aligner(tmp_path / "a.safetensors")))
    assert np.array_equal(before[0], after[0])
    assert before[0].sum() == mel.shape[1]
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    for name in ("b", "none"):
        with pytest.raises(CheckpointError, match="not an aligner"):
            load_aligner(tmp_path / f"{name}.safetensors")


def test_what_cannot_be_learnt_from_is_said(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no speech"):
        train(Config(1, shape=SHAPE), [], [], Run(tmp_path, 1, math.inf))
    with pytest.raises(ValueError, match="no held-out"):
        evaluate(Aligner(SHAPE), [])
    soundfile.write(tmp_path / "a.wav", np.zeros(24_000), 24_000)
    with pytest.raises(BadTake, match="silent"):
        hear(Take("a", "v", "t", "kokoro", str(tmp_path / "a.wav"), phones=("<s>",), durations_s=(1.0,)), Ear())


def test_the_command_prints_the_error_of_what_was_held_out(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And its weights put recordings in time."""
    options = ["--steps", "8", "--batch", "4", "--clip-s", "0.5", "--width", "16", "--blocks", "1", "--threads", "1"]
    align.main(["--spoken", str(taught), "--out", str(tmp_path), *options])
    told = capsys.readouterr().out
    expected = sum(held_out(take.key) for take in synthesised(taught))
    assert expected
    assert f"held out {expected} takes" in told
    assert "95 % within" in told
    load_aligner(tmp_path / "aligner.safetensors")
    with pytest.raises(SystemExit, match=r"no manifest.jsonl"):
        align.main(["--spoken", str(tmp_path), "--out", str(tmp_path / "x"), *options])
