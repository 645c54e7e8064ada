"""The run folder: a line a step, states that are resumed or refused, and an end in time."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from sottovoce.models.weight_file import CheckpointError
from sottovoce.training.run import Diverged, Run


def lines(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def go(run: Run, until: int | None = None, loss: Callable[[int], float] = lambda step: 1.0) -> None:
    for step in run.steps():
        run.log(loss=torch.tensor(loss(step)), other=2)
        if step == until:
            raise KeyboardInterrupt


def test_every_step_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go(Run(tmp_path, 45, math.inf))
    assert lines(tmp_path) == list(range(45))
    assert capsys.readouterr().out.count("'step'") == 4  # 0, 20, 40 and the last are said aloud


def test_steps_after_the_last_state_are_taken_and_written_again(tmp_path: Path) -> None:
    run = Run(tmp_path, 4, math.inf)
    run.resume(net=nn.Linear(1, 1))
    go(run)
    broken = Run(tmp_path, 9, math.inf)
    broken.resume(net=nn.Linear(1, 1))
    with pytest.raises(KeyboardInterrupt):
        go(broken, until=6)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # the machine stopped here
    again = Run(tmp_path, 9, math.inf)
    again.resume(net=nn.Linear(1, 1))
    assert again.step == 4
    go(again)
    assert lines(tmp_path) == list(range(9))


def test_it_stops_itself_in_time(tmp_path: Path) -> None:
    run = Run(tmp_path, 10**9, 1e-4)
    run.resume(net=nn.Linear(1, 1))
    go(run)
    assert 0 < run.step < 10**9
    again = Run(tmp_path, 10**9, 0)
    again.resume(net=nn.Linear(1, 1))
    assert again.step == run.step


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stops_at_once_and_is_not_saved(bad: float, tmp_path: Path) -> None:
    run = Run(tmp_path, 10, math.inf, save_every_s=0)
    run.resume(net=nn.Linear(1, 1))
    with pytest.raises(Diverged, match="step 3: loss not finite"):
        go(run, loss=lambda step: bad if step == 3 else 1.0)
    assert torch.load(tmp_path / "state.pt")["step"] == 3
    assert lines(tmp_path) == [0, 1, 2]


def test_a_state_of_the_first_version_is_resumed(tmp_path: Path) -> None:
    """It knows nothing of other processes, nor of parts that came later."""
    net = nn.Linear(2, 2)
    torch.save(
        {
            "parts": {"net": net.state_dict()},
            "step": 5,
            "trained_s": 1.0,
            "random": torch.get_rng_state(),
            "cuda_random": [],
        },
        tmp_path / "state.pt",
    )
    run, held = Run(tmp_path, 10, math.inf), nn.Linear(2, 2)
    run.resume(net=held, added={"use": nn.BatchNorm1d(2)})
    assert run.step == 5
    assert torch.equal(held.weight, net.weight)


@pytest.mark.parametrize("fault", ["shape", "part", "empty", "cut", "text"])
def test_a_state_that_does_not_fit_is_refused_in_one_line(fault: str, tmp_path: Path) -> None:
    run = Run(tmp_path, 1, math.inf)
    run.resume(net=nn.Linear(2, 2))
    run.save()
    path = tmp_path / "state.pt"
    if fault in ("empty", "cut", "text"):
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:700], "text": b"hello"}[fault])
    parts = {"net": nn.Linear(3 if fault == "shape" else 2, 2)}
    if fault == "part":
        parts["judges"] = nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match="not a state of this command") as refused:
        Run(tmp_path, 1, math.inf).resume(**parts)
    assert "\n" not in str(refused.value)
