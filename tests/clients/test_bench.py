"""``sottovoce bench``: what it measures, under which conditions, as a table, as JSON, as a picture, and beside others."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sottovoce.clients import bench as benches
from sottovoce.clients.bench import BenchOptions, bench
from sottovoce.clients.bench_report import draw, lines
from sottovoce.clients.cli import main
from sottovoce.clients.engines import EngineOptions
from sottovoce.stream import peer_codecs

ECHO = ("bench", "--backend", "echo", "--steps", "20", "--warm-up", "2")


@pytest.mark.parametrize(("backend", "package"), [("onnx", "onnxruntime "), ("torch", "torch ")])
def test_a_bench_says_what_ran(backend: Any, package: str) -> None:
    result = bench(BenchOptions(EngineOptions("micro", backend=backend), n_steps=3, warm_up=1))
    assert str(result.conditions["backend"]).startswith(package)
    assert set(result.codec[0].stages) == {"mel", "encode", "decode", "vocode", "all"}
    assert not result.speech  # micro has no talker
    assert result.conditions["dtype"] == "float32"


def test_streams_in_one_batch_and_the_talker() -> None:
    result = bench(BenchOptions(EngineOptions("base"), rows=(1, 2), n_steps=4, warm_up=1))
    assert [run.rows for run in result.codec] == [run.rows for run in result.speech] == [1, 2]
    for run in result.codec + result.speech:
        assert run.first_ms > 0
        assert run.rtf > 0
        for times in run.stages.values():
            assert 0 < times.p50_ms <= times.p95_ms <= times.p99_ms
        assert run.stages["all"].p50_ms > max(times.p50_ms for name, times in run.stages.items() if name != "all")
        assert run.allocated_bytes > 0
        assert run.kept_bytes < 4096
    assert [(run.rows, run.frames) for run in result.pieces] == [(1, 2), (1, 4), (2, 2), (2, 4)]
    for run in result.pieces:
        assert set(run.stages) == {"decode", "vocode", "all"}
        taken_ms = run.stages["all"].p50_ms / (run.rows * run.frames * 40)  # of the sound's length
        assert 0.3 * taken_ms < run.rtf < 30 * taken_ms
    assert "codes to sound, 2 streams in one batch, 4 frames in a step" in set(lines(result))
    assert set(result.speech[0].stages) == {"talk", "decode", "vocode", "all"}
    assert result.read_ms is not None
    assert result.row_bytes is not None
    assert 1_000_000 < result.row_bytes < 3_000_000  # the talker's rings, and some states
    assert any("2 streams in one batch take" in line for line in lines(result))


def test_speech_can_be_left_out_and_memory_is_then_the_codecs() -> None:
    result = bench(BenchOptions(EngineOptions("base", dtype="int8"), n_steps=2, warm_up=0, speech=False))
    assert not result.speech
    assert result.row_bytes is not None
    assert result.row_bytes < 300_000
    assert result.conditions["dtype"] == "int8"


def test_json_and_picture_as_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = tmp_path / "a.json", tmp_path / "a.png"
    assert main([*ECHO, "--rows", "1", "3", "--json", str(file), "--plot", str(picture)]) == 0
    result = json.loads(file.read_text())
    assert [run["rows"] for run in result["codec"]] == [1, 3]
    assert result["conditions"]["n"] == 20
    assert result["peers"] == []
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "% of one core" in capsys.readouterr().out


def test_a_picture_says_what_its_numbers_and_its_line_are() -> None:
    figure = draw(bench(BenchOptions(EngineOptions("echo"), rows=(1, 3), n_steps=20, warm_up=2)))
    assert [axes.get_title() for axes in figure.axes] == ["codec, 1 stream", "codec, 3 streams"]
    for words in ("How long a step takes", "threads 1", "preset echo", "steps measured 20"):
        assert words in figure.get_suptitle()
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told[0] == "p50, whisker to p99"
    assert told[1].startswith("32 ms, the length of a frame")


def test_json_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ECHO, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["conditions"]["backend"] == "echo"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rows", "0"), "'0' is not a whole number from 1"),
        (("--rows", "100000"), "'100000' is not a whole number from 1 to 8192"),
        (("--sessions", "100000"), "'100000' is not a whole number from 1 to 8192"),
        (("--rows",), "expected at least one argument"),
        (("--steps", "1.5"), "'1.5' is not a whole number from 1"),
        (("--warm-up", "-1"), "'-1' is not a whole number from 0"),
        (("--plot", "a.txt"), "names no kind of picture"),
        (("--vs", "nobody"), "invalid choice: 'nobody'"),
        (("--vs", "--sessions", "2"), "--vs is for single steps"),
        (("--dtype", "int8", "--backend", "torch"), "int8 runs on ONNX Runtime alone"),
    ],
)
def test_bad_options_are_one_line(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--steps", "2", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def missing(package: str) -> bool:
    try:
        importlib.import_module(package)
    except (ImportError, OSError):
        return True
    return False


PEERS = {"encodec": "encodec", "mimi": "moshi.models", "vocos": "vocos.models"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_there_is_measured_and_another_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--preset", "base", "--steps", "2", "--warm-up", "0", "--no-speech", "--json", "--vs", name]
    code = main(arguments)
    told = capsys.readouterr()
    if missing(PEERS[name]):
        assert code == 2
        assert f"{name} needs the package" in told.err
        assert told.err.count("\n") == 1
        return
    (peer,) = json.loads(told.out)["peers"]
    assert peer["name"] == name
    assert peer["n"] >= 6
    assert peer["rtf"] / peer["our_rtf"] == pytest.approx(peer["ratio"])
    assert peer["does"] == ("vocode" if name == "vocos" else "all")


def absent(n_samples: int) -> Any:
    raise ImportError("no such package")


def present(n_samples: int) -> Any:
    return "all", n_samples, lambda: None


def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: Any) -> Any:
        raise AssertionError("it was measured")

    monkeypatch.setattr(benches, "measure", measure)


@pytest.mark.parametrize("wanted", [("--vs", "mimi"), ("--vs", "encodec", "mimi")])
def test_a_named_peer_that_does_not_load_is_told_before_anything_is_measured(
    wanted: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_is_measured(monkeypatch)
    monkeypatch.setattr(peer_codecs, "PEERS", {"encodec": ("numpy", present), "mimi": ("moshi", absent)})
    assert main([*ECHO, *wanted]) == 2
    told = capsys.readouterr().err
    assert told == "sottovoce: mimi needs the package moshi, which does not load: no such package\n"


@pytest.mark.parametrize("torch", [True, False])
def test_where_no_peer_loads_nothing_is_measured(
    torch: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_is_measured(monkeypatch)
    monkeypatch.setattr(peer_codecs, "PEERS", {"encodec": ("encodec", absent), "mimi": ("moshi", absent)})
    if not torch:
        monkeypatch.setitem(sys.modules, "sottovoce.stream.peer_codecs", None)
    assert main([*ECHO, "--vs"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for words in ("the package encodec", "the package moshi") if torch else ("needs torch",):
        assert words in told


def test_of_all_peers_those_that_do_not_load_are_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peer_codecs, "PEERS", {"mimi": ("moshi", absent), "encodec": ("numpy", present)})
    assert main([*ECHO, "--json", "--vs"]) == 0
    told = capsys.readouterr()
    assert [peer["name"] for peer in json.loads(told.out)["peers"]] == ["encodec"]
    assert told.err == "sottovoce: left out: mimi needs the package moshi, which does not load: no such package\n"
