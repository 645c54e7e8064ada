"""What the program says of files and of runs: in clear words, one line each, whatever the bytes are."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sottovoce.clients.info import describe
from sottovoce.clients.pipes import say, tell
from sottovoce.clients.report import Run, summary
from sottovoce.stream.engine import ECHO
from sottovoce.stream.errors import WeightsError
from sottovoce.stream.packer import Dial, Packer
from sottovoce.stream.packet import unpack
from sottovoce.stream.pipeline import Settings
from sottovoce.stream.statistics import Statistics

TENSOR = {"dtype": "F16", "shape": [3, 4], "data_offsets": [0, 24]}


def weights(path: Path, header: Any) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(24))
    return path


def test_weights_are_described(tmp_path: Path) -> None:
    path = weights(tmp_path / "a", {"__metadata__": {"preset": "base"}, "w": TENSOR, "scalar": {**TENSOR, "shape": []}})
    lines = list(describe(str(path)))
    assert "parameters     13" in lines
    assert "preset         base" in lines


@pytest.mark.parametrize("header", [
    {"__metadata__": [], "w": TENSOR},
    {"__metadata__": {"preset": 5}, "w": TENSOR},
    {"w": {"shape": [3], "data_offsets": [0, 24]}},
    {"w": {**TENSOR, "dtype": 5}},
    {"w": {**TENSOR, "shape": "x"}},
    {"w": {**TENSOR, "shape": 5}},
    {"w": {**TENSOR, "shape": [3, -1]}},
    {"w": {**TENSOR, "shape": [True]}},
    {"w": {**TENSOR, "shape": [1e3]}},
    {"w": {**TENSOR, "shape": [1 << 60] * 10_000}},
    {"w": {**TENSOR, "shape": [10**4000] * 2}},
    {"w": {"dtype": "F16", "shape": [3, 4]}},
    {"w": {**TENSOR, "data_offsets": [24]}},
    {"w": {**TENSOR, "data_offsets": [0, "24"]}},
    {"w": []},
    [TENSOR],
    b"{" + b"[" * 100_000,
    b'{"w": \xff}',
])  # fmt: skip
def test_weights_that_are_damaged_are_refused(tmp_path: Path, header: Any) -> None:
    with pytest.raises(WeightsError, match="is no safetensors file, or a damaged one"):
        list(describe(str(weights(tmp_path / "a.safetensors", header))))


def test_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(WeightsError, match="damaged"):
        list(describe(str(tmp_path / "a.safetensors")))


@pytest.mark.parametrize("change", [-1, 1])
def test_weights_that_are_longer_or_shorter_than_they_say_are_refused(tmp_path: Path, change: int) -> None:
    path = weights(tmp_path / "a.safetensors", {"w": TENSOR})
    whole = path.stat().st_size
    os.truncate(path, whole + change)
    with pytest.raises(WeightsError, match=f"has {whole + change} bytes in place of {whole}"):
        list(describe(str(path)))


def test_what_stands_in_a_file_cannot_break_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("größer\nthan \x1b[31mred \udcff")
    tell("größer\nthan \x1b[31mred \udcff")
    for text in capsys.readouterr():
        assert text == "größer\\nthan \\x1b[31mred \\udcff\n"


def test_the_bitrate_is_that_of_the_whole_run_wherever_the_dial_stood_at_its_end() -> None:
    statistics, dial = Statistics(ECHO), Dial(8, 2)
    packer = Packer(ECHO, dial)
    for books in (2, 8):
        dial.books = books
        for packed in packer.push(np.zeros((30, 8), np.int16)):
            statistics.sent(len(packed), 1, unpack(packed, ECHO.bits_per_code).codes.shape[1])
    lines = "\n".join(summary(Run(statistics, Settings(), sound_s=2.0, wall_s=1.0, engine_s=0.5)))
    assert "5 of 8 books" in lines
    assert f"{ECHO.bitrate(5):.0f} bit/s of codes" in lines
    assert f"{statistics.wire_bitrate:.0f} bit/s with packet headers" in lines
