"""What the commands share: how they stop when they are asked to, and what they write about themselves."""

import argparse
import json
import math
import signal
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sottovoce.models.checkpoint import save
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import TINY
from sottovoce.models.weight_file import read_metadata
from sottovoce.training import codec, command
from sottovoce.training.run import Run

STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def options(out: Path, *more: str) -> argparse.Namespace:
    parser = command.parser(None, steps=6, batch=2, clip_s=0.2, lr=1e-3)
    return parser.parse_args(["--out", str(out), "--threads", str(torch.get_num_threads()), *more])


@pytest.mark.parametrize(("number", "status"), STOPS)
def test_a_signal_stops_at_the_end_of_a_step_which_is_saved(
    number: signal.Signals, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    taken, net = [], nn.Linear(1, 1)

    def train() -> None:
        with command.session(options(tmp_path)) as run:
            run.resume(net=net)
            for step in run.steps():
                if step == 3:
                    signal.raise_signal(number)
                    signal.raise_signal(number)  # torchrun passes on what the terminal has sent already
                nn.init.constant_(net.weight, step)
                run.log(loss=1.0)
                taken.append(step)

    with pytest.raises(SystemExit) as stopped:
        train()
    assert (taken, stopped.value.code) == ([0, 1, 2, 3], status)
    assert capsys.readouterr().err == "interrupted at step 4; the same command goes on\n"
    state = torch.load(tmp_path / "state.pt")
    assert (state["step"], float(state["parts"]["net"]["weight"])) == (4, 3.0)
    assert signal.getsignal(number) == before
    with command.session(options(tmp_path)) as run:
        run.resume(net=net)
        assert list(run.steps()) == [4, 5]


@pytest.mark.parametrize(("number", "status"), STOPS)
def test_before_the_first_step_a_signal_stops_at_once(number: signal.Signals, status: int, tmp_path: Path) -> None:
    def train() -> None:
        with command.session(options(tmp_path)):
            signal.raise_signal(number)
            pytest.fail("went on")

    with pytest.raises(SystemExit) as stopped:
        train()
    assert stopped.value.code == status
    assert not (tmp_path / "state.pt").exists()


def test_a_command_that_was_stopped_goes_on_to_the_same_weights(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go(out: Path) -> None:
        common = ["--preset", "tiny", "--data", str(packed), "--out", str(out), "--listen-every", "0"]
        common += ["--steps", "4", "--batch", "2", "--clip-s", "0.5", "--threads", str(torch.get_num_threads())]
        monkeypatch.setattr(sys, "argv", ["codec", *common])
        codec.main()

    go(tmp_path / "through")
    check = codec.BookUse.check

    def interrupted(self: codec.BookUse, *rest: torch.Tensor) -> None:
        signal.raise_signal(signal.SIGTERM)
        check(self, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as stopping:
        stopping.setattr(codec.BookUse, "check", interrupted)
        for step in (1, 2):
            with pytest.raises(SystemExit, match="143"):
                go(tmp_path / "broken")
            assert torch.load(tmp_path / "broken" / "state.pt")["step"] == step
    go(tmp_path / "broken")
    states = [torch.load(tmp_path / name / "state.pt")["parts"]["net"] for name in ("through", "broken")]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    lines = (tmp_path / "broken" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3]


def test_weights_tell_when_where_and_from_what_they_came_but_no_place(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(weights := tmp_path / "tiny-codec.safetensors", MelCodec(TINY), TINY, "codec", {"steps": "30"})
    run = Run(tmp_path / "first", 0, math.inf)
    run.resume(net=nn.Linear(1, 1))
    run.step = 12
    run.save()
    args = options(tmp_path)
    args.start_from, args.codec, args.judges_from = tmp_path / "first" / "state.pt", weights, tmp_path / "none.pt"
    args.vocoder = "vocos"  # a kind, not a file
    monkeypatch.chdir(tmp_path)
    argv = ["x", "--out", str(tmp_path / "a b"), f"--codec={weights}", "--data", "/far/data", "--lr", "1e-3", "rel/x"]
    monkeypatch.setattr(sys, "argv", argv)
    notes = command.notes("vocoder", args, run, packed)
    assert notes["command"] == (
        "python -m sottovoce.training.vocoder --out 'a b' --codec=tiny-codec.safetensors --data data --lr 1e-3 rel/x"
    )
    first, second, third = notes["begun_from"].split("; ")
    assert first.startswith("start_from state.pt, sha256 ")
    assert first.endswith(", 12 steps")
    assert second.startswith("codec tiny-codec.safetensors, sha256 ")
    assert second.endswith(", 30 steps")
    assert third == "judges_from none.pt, not there any more"
    assert len(notes["date"]) == 10
    assert notes["device"].startswith("cpu")
    save(out := tmp_path / "out.safetensors", MelCodec(TINY), TINY, "codec", notes)
    assert read_metadata(out)["begun_from"] == notes["begun_from"]
    assert str(tmp_path) not in json.dumps(read_metadata(out))
    assert "begun_from" not in command.notes("codec", options(tmp_path), run, packed)
