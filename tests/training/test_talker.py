"""The talker's loop, tiny and on CPU: it learns to listen, it resumes exactly, it refuses what does not fit."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sottovoce.models.checkpoint import load_net, load_talker, save
from sottovoce.models.config import TINY
from sottovoce.models.sampling import Sampling
from sottovoce.models.talker import Talker
from sottovoce.models.talker_file import read_about
from sottovoce.models.weight_file import CheckpointError, read_metadata
from sottovoce.training import talk_checks, talker
from sottovoce.training.precision import Precision
from sottovoce.training.run import Diverged, Run
from sottovoce.training.talk_cast import cast
from sottovoce.training.talk_loss import LossConfig, TalkerLoss, neighbours
from sottovoce.training.talk_play import said
from sottovoce.training.talk_rows import RowDrawer
from sottovoce.training.talk_store import TalkData
from sottovoce.training.talker import Config, Given, gather, train

SMALL = Config(steps=6, batch=2, row_s=1.0, check_every=3)


@pytest.fixture(scope="module")
def given(talk: Path, tiny_weights: Path) -> Given:
    return gather("tiny", [talk], tiny_weights, None, least_minutes=0.1)


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_is_an_uninterrupted_one(given: Given, tmp_path: Path) -> None:
    """Dropout, disturbed codes and the share of frames are drawn alike; checking on the way changes nothing."""
    through = train(given, SMALL, Run(tmp_path / "through", 6, math.inf))
    train(given, SMALL, Run(tmp_path / "broken", 4, math.inf))
    resumed = train(given, replace(SMALL, check_every=0), Run(tmp_path / "broken", 6, math.inf))
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in through.state_dict().items())
    assert [row["step"] for row in logged(tmp_path / "broken")] == list(range(6))


def test_listening_on_the_way_changes_nothing(given: Given, tmp_path: Path) -> None:
    """Sound of what is held out, as it is and as the talker says it, for TensorBoard; chance is as it was."""
    pytest.importorskip("tensorboard")
    plain = train(given, replace(SMALL, steps=2), Run(tmp_path / "plain", 2, math.inf))
    heard = train(given, replace(SMALL, steps=2, listen_every=1), Run(tmp_path / "heard", 2, math.inf))
    assert all(torch.equal(value, heard.state_dict()[key]) for key, value in plain.state_dict().items())
    written = next((tmp_path / "heard").glob("events.*")).read_bytes()
    assert b"clip 1/said" in written
    assert b"clip 0/original" in written


def test_the_log_tells_of_every_book(given: Given, tmp_path: Path) -> None:
    train(given, SMALL, Run(tmp_path, 2, math.inf))
    row = logged(tmp_path)[0]
    assert {f"{name}_{book}" for name in ("ce", "accuracy") for book in range(TINY.books)} <= row.keys()
    assert {"loss", "duration", "duration_slots", "pace", "gradient"} <= row.keys()
    assert row["ce_0"] == pytest.approx(math.log(TINY.book_size), abs=1.0)


def test_it_learns_to_say_what_it_is_told(given: Given, talk: Path, tiny_weights: Path, tmp_path: Path) -> None:
    """After a minute at most on tones: it listens to its text, at the right time, and knows something of every book."""
    config = Config(steps=150, batch=4, row_s=2.0, lr=4e-3, dropout=0.0, check_every=0)
    learnt = train(given, config, Run(tmp_path, 150, math.inf))
    rows = logged(tmp_path)
    assert rows[-1]["ce_0"] < 0.6 * rows[0]["ce_0"]
    assert rows[-1]["duration_slots"] < 0.8 * rows[0]["duration_slots"]
    known = talk_checks.known_utterances(given.data, list(given.voices), 20) + [
        talk_checks.Known(given.data.symbols(i), given.data.slots(i), np.asarray(given.data.codes(i), np.int64), i % 2)
        for i in range(6)
    ]
    found = talk_checks.listens(talk_checks.predictor(learnt), known, TINY.mels_per_frame)
    assert [one.name for one in found if not one.good] == []
    drawn = RowDrawer(given.data, given.voices, 2.0, 2).draw(0)
    codes = said(learnt, drawn, 2, torch.device("cpu"), Sampling(temperature=0.0))
    assert codes.shape == drawn.codes.shape
    assert float((codes[..., 0] == drawn.codes[..., 0]).float().mean()) > 0.2


def test_the_weights_carry_what_a_doctor_needs(
    talk: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--preset", "tiny", "--data", str(talk), "--codec", str(tiny_weights), "--threads", "1", "--batch", "2"]
    common += ["--row-s", "1", "--listen-every", "0", "--least-minutes", "0.1"]
    talker.main([*common, "--out", str(tmp_path / "a"), "--steps", "3", "--voice-dropout", "0.2"])
    path = tmp_path / "a" / "tiny-talker.safetensors"
    about, data = read_about(path), TalkData(talk)
    loaded, _ = load_talker(path, TINY, data.about.model_hash)
    assert isinstance(loaded, Talker)
    told = {voice.name: (voice.sex, voice.language) for voice in about.voices}
    assert told == {"af_one": ("female", "en-US"), "am_two": ("male", "en-US"), "any": ("any", "en")}
    assert "Kokoro-82M" in about.voices[0].licence
    metadata = read_metadata(path)
    assert metadata["steps"] == "3"
    assert "hours of speech" in metadata["data"]
    assert str(tmp_path) not in json.dumps(metadata)
    found = talk_checks.examine_file(path, tiny_weights)
    assert all(one.good for one in found[:4])
    assert [one.name for one in found[4:]] == ["every book", "listens to its text", "codes in time", "text in time"]
    with pytest.raises(SystemExit):
        talk_checks.main([str(path), "--codec", str(tiny_weights), "--data", str(talk)])
    assert "good  frame rate" in capsys.readouterr().out
    more = [*common, "--out", str(tmp_path / "b"), "--steps", "2", "--start-from", str(path)]
    talker.main([*more, "--voice-dropout", "0.2"])
    assert (
        "start_from tiny-talker.safetensors" in read_metadata(tmp_path / "b" / "tiny-talker.safetensors")["begun_from"]
    )
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(SystemExit, match="other shape or voices"):
        talker.main(more)


def test_where_a_new_run_starts_from_weights_they_are_its_own(given: Given, tmp_path: Path, tiny_weights: Path) -> None:
    first = train(given, SMALL, Run(tmp_path / "first", 3, math.inf))
    voices = cast(given.data, given.voices, [])
    path = tmp_path / "t.safetensors"
    talker.save_talker(path, first, voices, given.data.about.model_hash, {})
    begun = train(given, replace(SMALL, start_from=path), Run(tmp_path / "second", 0, math.inf))
    for key, value in begun.state_dict().items():
        assert torch.equal(value, first.state_dict()[key].half().float()), key


def test_bf16_trains_the_same_talker(given: Given, tmp_path: Path) -> None:
    config = replace(SMALL, precision=Precision(bf16=True))
    train(given, config, Run(tmp_path / "narrow", 2, math.inf))
    train(given, SMALL, Run(tmp_path / "wide", 2, math.inf))
    losses = [logged(tmp_path / name)[1]["loss"] for name in ("narrow", "wide")]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_loss_that_is_not_finite_stops_the_run(given: Given, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="not finite"):
        train(given, replace(SMALL, lr=1e30), Run(tmp_path, 6, math.inf))


def test_what_is_heard_is_disturbed_and_what_is_said_is_not(given: Given) -> None:
    near = neighbours(given.codec.quantiser)
    assert near.shape == (TINY.books, TINY.book_size, 16)
    assert not (near == torch.arange(TINY.book_size)[:, None]).any()
    loss = TalkerLoss(Talker(given.shape), LossConfig(noise=0.5), near)
    codes = torch.randint(TINY.book_size, (50, TINY.books))
    heard = loss.train()._disturbed(codes)
    share = float((heard != codes).float().mean())
    assert 0.35 < share < 0.65
    books = torch.arange(TINY.books)
    assert ((near[books, codes] == heard[..., None]).any(-1) | (heard == codes)).all()
    assert torch.equal(loss.eval()._disturbed(codes), codes)


def test_checking_sees_every_frame_undisturbed(given: Given) -> None:
    loss = TalkerLoss(Talker(given.shape), LossConfig(), neighbours(given.codec.quantiser)).eval()
    rows = RowDrawer(given.data, given.voices, 1.0, 2).draw(0)
    with torch.no_grad():
        one, two = loss(rows), loss(rows)
    torch.testing.assert_close(one.cross_entropy, two.cross_entropy)


@pytest.mark.parametrize(
    "options",
    [{"noise": 1.0}, {"silenced": -0.1}, {"depth_share": 0.0}, {"book_decay": 0.0}, {"duration_weight": -1.0}],
)
def test_losses_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        LossConfig(**options)


def test_what_does_not_belong_together_is_refused(
    talk: Path, tiny_weights: Path, given: Given, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="speaks codes of base"):
        gather("base", [talk], tiny_weights, None, 0.1)
    with pytest.raises(ValueError, match="no voice has"):
        gather("tiny", [talk], tiny_weights, None, 60.0)
    with pytest.raises(ValueError, match="no speech of nobody"):
        gather("tiny", [talk], tiny_weights, ["nobody"], 0.0)
    torch.manual_seed(5)
    net = load_net(tiny_weights / "tiny-codec.safetensors")
    net.quantiser.books[0].vectors.normal_()  # type: ignore[operator,union-attr]

    save(tmp_path / "tiny-codec.safetensors", net, TINY, "codec", {})
    with pytest.raises(CheckpointError, match="the data speak"):
        gather("tiny", [talk], tmp_path, None, 0.1)
    for told in ("x", "x=female", "x=cat,en,CC0", "=female,en,CC0"):
        with pytest.raises(ValueError, match="not of the form"):
            cast(given.data, given.voices, [told])
    with pytest.raises(SystemExit, match=r"cannot train: .*no about.json"):
        talker.main(["--preset", "tiny", "--data", str(tmp_path), "--out", str(tmp_path / "x"), "--threads", "1"])


def test_voices_of_people_are_to_be_explained(given: Given) -> None:
    with pytest.raises(ValueError, match="nothing is known of the voice kathleen; say --about kathleen=female"):
        cast(given.data, ["af_one", "kathleen"], [])
    voices = cast(given.data, ["kathleen", "am_two"], ["kathleen=female,en-US,CC0-1.0"])
    assert [(voice.sex, voice.licence[:6]) for voice in voices] == [("female", "CC0-1."), ("male", "Apache")]
