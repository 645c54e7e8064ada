"""What a training shows of itself, and that showing it changes nothing."""

import math
import sys
from pathlib import Path

import pytest
import torch

from sottovoce.models.config import TINY
from sottovoce.training import codec, vocoder
from sottovoce.training.adversary import JudgeConfig
from sottovoce.training.distributed import Group
from sottovoce.training.listen import Listener
from sottovoce.training.run import Run

pytest.importorskip("tensorboard")


def codec_run(data: Path, out: Path, listen_every: int) -> torch.nn.Module:
    config = codec.Config(steps=5, batch=2, clip_s=0.5, start_batches=4, listen_every=listen_every)
    return codec.train(TINY, config, data, Run(out, 5, math.inf))


def vocoder_run(data: Path, out: Path, listen_every: int) -> torch.nn.Module:
    judges = JudgeConfig(judged_s=0.15, width=4)
    config = vocoder.Config(steps=5, judged_from=0, batch=2, clip_s=0.2, judges=judges, listen_every=listen_every)
    return vocoder.train(TINY, config, data, Run(out, 5, math.inf))


@pytest.mark.parametrize(("train", "shown"), [(codec_run, "4 books"), (vocoder_run, "made")], ids=["codec", "vocoder"])
def test_listening_writes_clips_and_does_not_change_the_training(
    train: "object", shown: str, packed: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert callable(train)
    alone, heard = train(packed, tmp_path / "alone", 0), train(packed, tmp_path / "heard", 2)
    for key, value in alone.state_dict().items():
        assert torch.equal(value, heard.state_dict()[key]), key
    assert not list((tmp_path / "alone").glob("events*"))
    events = EventAccumulator(str(tmp_path / "heard"))
    events.Reload()
    for kind, read in (("images", events.Images), ("audio", events.Audio)):
        assert {f"clip 0/{shown}", "clip 1/original"} <= set(events.Tags()[kind])
        assert [event.step for event in read(f"clip 1/{shown}")] == [0, 2, 4]
    assert events.Audio("clip 0/original")[0].sample_rate == TINY.rate_hz


def test_without_tensorboard_the_training_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    listener = Listener(tmp_path, 24_000, 10, Group())
    assert not listener.wants(10)
    assert "pip install" in capsys.readouterr().err


def test_of_several_processes_one_listens(tmp_path: Path) -> None:
    assert not Listener(tmp_path, 24_000, 10, Group(rank=1, size=2)).wants(10)
