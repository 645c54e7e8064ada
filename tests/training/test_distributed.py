"""Two processes on one machine, over gloo: one model in both, gradients of both, and one book."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sottovoce.models.config import TINY
from sottovoce.models.weight_file import CheckpointError
from sottovoce.training import codec
from sottovoce.training.data import Speech
from sottovoce.training.run import Run
from support.program import script

from .ddp_worker import CODEC

WORKER = Path(__file__).with_name("ddp_worker.py")


@pytest.fixture(scope="module")
def both(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the worker left behind."""
    out = tmp_path_factory.mktemp("both")
    start = out / "start.py"
    start.write_text(script(f"exec(compile({WORKER.read_text()!r}, 'ddp_worker.py', 'exec'))")[2])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", start, packed, out],
        capture_output=True, text=True, timeout=240, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def states(folder: Path, name: str) -> list[list[dict[str, Tensor]]]:
    return [torch.load(folder / f"{name}-{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", ["book", "codec", "vocoder", "chain"])
def test_both_have_the_same_model_bit_for_bit(name: str, both: Path) -> None:
    for one, other in zip(*states(both, name), strict=True):
        for key, value in one.items():
            assert torch.equal(value, other[key]), key


@pytest.mark.parametrize("name", ["codec", "chain"])
def test_together_too_a_resumed_run_is_an_uninterrupted_one(name: str, both: Path) -> None:
    for through, broken in zip(states(both, name)[0], states(both, f"{name}-broken")[0], strict=True):
        for key, value in through.items():
            assert torch.equal(value, broken[key]), key
    rows = [json.loads(line) for line in (both / f"{name}-broken" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]


def test_two_halves_of_a_batch_train_as_the_whole_does(
    both: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process that draws what both drew has the same gradients, and the same books."""

    class Joined(Speech):
        def draw(self, step: int) -> tuple[Tensor, Tensor]:
            if step < 0:
                return super().draw(step)
            first, second = super().draw(2 * step), super().draw(2 * step + 1)
            return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])

    monkeypatch.setattr(codec, "Speech", Joined)
    monkeypatch.setattr(codec, "draw_books", lambda books, batch, share: torch.full((2 * batch,), books))
    alone = codec.train(TINY, CODEC, packed, Run(tmp_path, 4, 1e9)).state_dict()
    together = states(both, "codec")[0][0]
    for key, value in alone.items():
        torch.testing.assert_close(
            together[key], value, rtol=1e-3, atol=2e-5, msg=lambda text, key=key: f"{key}: {text}"
        )
    logs = [
        [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
        for folder in (tmp_path, both / "codec")
    ]
    assert logs[1] == pytest.approx(logs[0], rel=1e-3)


def test_what_one_cannot_go_on_with_stops_both(both: Path) -> None:
    assert [(both / f"nan-{rank}.txt").read_text()[:23] for rank in range(2)] == ["step 0: loss not finite"] * 2


def test_a_state_of_two_is_not_resumed_by_one(both: Path, packed: Path) -> None:
    with pytest.raises(CheckpointError, match="saved by 2 processes, resumed by 1"):
        codec.train(TINY, CODEC, packed, Run(both / "codec", 4, 1e9))
