"""``sottovoce verify``: a table, a JSON, and an exit code that tells whether the law holds."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from sottovoce.clients import verify as command
from sottovoce.clients.cli import main
from sottovoce.stream.engine import EchoEngine, Work
from sottovoce.stream.errors import LawBroken
from sottovoce.stream.onnx_engine import OnnxEngine

QUICK = ("--rows", "2", "--frames", "40", "--preset", "micro")


class Forgetful(OnnxEngine):
    """An engine that drops its state."""

    def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
        return super().step([replace(piece, fresh=True) for piece in work])


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_shipped_weights_keep_the_law(dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "law.json"
    assert main(["verify", *QUICK, "--dtype", dtype, "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["good"] is True
    assert {(one["check"], one["kind"]) for one in report["verdicts"]} >= {
        *((check, kind) for check in ("cuts", "rows", "resets") for kind in ("mel", "encode", "decode", "vocode")),
        ("clicks", "vocode"),
    }
    assert report["conditions"]["dtype"] == dtype
    assert report["conditions"]["rows"] == 2
    table = capsys.readouterr().out
    assert table.count("good") == len(report["verdicts"])
    assert "onnxruntime" in table


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_fewer_bits_keep_the_law_but_for_rounding(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--rows", "2", "--frames", "40", "--preset", "micro", "--backend", "torch", "--dtype", dtype, "--json")
    assert main(["verify", *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    allowed = {one["kind"]: one["allowed"] for one in report["verdicts"] if one["check"] == "rows"}
    assert allowed["encode"] == 0
    assert allowed["mel"] == 1e-5
    assert allowed["decode"] == allowed["vocode"] > 1e-3


def test_fewer_bits_are_no_excuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "make_engine", lambda options, rows: Forgetful("micro", rows))
    assert main(["verify", *QUICK, "--backend", "torch", "--dtype", "bfloat16"]) == LawBroken.exit_code
    assert "cuts of decode, cuts of vocode" in capsys.readouterr().err


def test_a_broken_engine_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "make_engine", lambda options, rows: Forgetful(options.preset, rows))
    assert main(["verify", *QUICK]) == LawBroken.exit_code
    told = capsys.readouterr()
    assert "WRONG" in told.out
    assert told.err.count("\n") == 1
    assert "the streaming law is broken on this machine: cuts of mel, cuts of encode" in told.err


def test_json_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", "--backend", "echo", "--rows", "2", "--frames", "40", "--json"])
    assert json.loads(capsys.readouterr().out)["conditions"]["backend"] == "echo"


def test_a_silent_engine_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Silent(EchoEngine):
        def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
            return [answer * 0 for answer in super().step(work)]

    monkeypatch.setattr(command, "make_engine", lambda options, rows: Silent(rows))
    assert main(["verify", "--backend", "echo", "--rows", "2", "--frames", "40"]) == LawBroken.exit_code
    assert "clicks of vocode" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rows", "1"), "'1' is not a whole number from 2 to 8192"),
        (("--rows", "many"), "'many' is not a whole number from 2"),
        (("--frames", "39"), "'39' is not a whole number from 40"),
        (("--seed", "-1"), "'-1' is not a whole number from 0"),
        (("--dtype", "int4"), "invalid choice: 'int4'"),
        (("--backend", "torch", "--dtype", "int8"), "int8 runs on ONNX Runtime alone"),
        (("--preset", "nonsense"), "there is no preset 'nonsense'"),
        (("--weights", "nowhere", "--preset", "micro", "--backend", "onnx"), "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_checked_is_one_line(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *arguments]) != 0
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_a_json_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "no such folder" / "a.json"
    assert main(["verify", "--backend", "echo", "--rows", "2", "--frames", "40", "--json", str(file)]) == 1
    assert "its folder does not exist" in capsys.readouterr().err
