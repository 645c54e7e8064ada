"""Going on from what another run left: its weights alone, or all of its state."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from sottovoce.models.checkpoint import load_vocoder, save
from sottovoce.models.config import TINY, VOCODERS, Preset
from sottovoce.models.weight_file import CheckpointError
from sottovoce.training import vocoder
from sottovoce.training.adversary import JudgeConfig
from sottovoce.training.run import Run

VOCOS = dataclasses.replace(TINY, vocoder=VOCODERS["tiny"]["vocos"])


def trained(
    data: Path, out: Path, steps: int, start_from: Path | None = None, preset: Preset = VOCOS
) -> tuple[nn.Module, Run]:
    config = vocoder.Config(
        steps=steps,
        judged_from=0,
        batch=2,
        clip_s=0.2,
        judges=JudgeConfig(judged_s=0.15, width=4),
        start_from=start_from,
    )
    run = Run(out, steps, math.inf)
    return vocoder.train(preset, config, data, run), run


def test_weights_are_where_a_new_run_begins(packed: Path, tmp_path: Path) -> None:
    net, _ = trained(packed, tmp_path / "first", 3)
    save(path := tmp_path / "tiny-vocoder.safetensors", net, VOCOS, "vocoder", {})
    begun, run = trained(packed, tmp_path / "second", 0, path)
    expected = load_vocoder(path, VOCOS).state_dict()
    assert run.step == 0
    assert all(torch.equal(value, expected[key]) for key, value in begun.state_dict().items())
    assert all(parameter.requires_grad for parameter in begun.parameters())


def test_a_state_brings_the_judges_but_not_the_schedule(packed: Path, tmp_path: Path) -> None:
    net, first = trained(packed, tmp_path / "first", 3)
    begun, second = trained(packed, tmp_path / "second", 0, tmp_path / "first" / "state.pt")
    assert second.step == 0
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in begun.state_dict().items())
    judges, before = second.parts["judges"].state_dict(), first.parts["judges"].state_dict()
    assert all(torch.equal(value, before[key]) for key, value in judges.items())
    assert second.parts["of_judges"].state_dict()["state"][0]["step"] == 2  # of three steps, two were the first judge's


def test_where_a_run_has_a_state_of_its_own_that_counts(packed: Path, tmp_path: Path) -> None:
    net, _ = trained(packed, tmp_path / "first", 3)
    save(path := tmp_path / "tiny-vocoder.safetensors", net, VOCOS, "vocoder", {})
    through, _ = trained(packed, tmp_path / "second", 2, path)
    path.unlink()
    again, run = trained(packed, tmp_path / "second", 2, path)
    assert run.step == 2
    assert all(torch.equal(value, through.state_dict()[key]) for key, value in again.state_dict().items())


def test_what_does_not_fit_is_refused(packed: Path, tmp_path: Path) -> None:
    net, _ = trained(packed, tmp_path / "first", 0)
    save(path := tmp_path / "tiny-vocoder.safetensors", net, VOCOS, "vocoder", {})
    with pytest.raises(CheckpointError, match="another kind of vocoder"):
        trained(packed, tmp_path / "second", 0, path, preset=TINY)
    with pytest.raises(CheckpointError, match="not a state"):
        trained(packed, tmp_path / "third", 0, tmp_path / "first" / "state.pt", preset=TINY)
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    for missing in ("none.pt", "broken.pt", "none.safetensors"):
        with pytest.raises(CheckpointError):
            trained(packed, tmp_path / missing.replace(".", "-"), 0, tmp_path / missing)
