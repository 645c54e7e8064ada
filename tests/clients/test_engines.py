"""Which backend runs the models: the one that is there and can, and one clear line where none can."""

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sottovoce.clients import engines
from sottovoce.clients.engines import EngineOptions, choose_backend, make_engine
from sottovoce.stream.errors import UsageError, WeightsError

SILENT = Path(__file__).parent  # a folder without weights


def installed(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: name if name in packages else None)


@pytest.mark.parametrize(
    ("packages", "options", "chosen"),
    [
        (("onnx", "onnxruntime", "torch"), EngineOptions(), "onnx"),
        (("onnx", "onnxruntime"), EngineOptions(), "onnx"),
        (("torch",), EngineOptions(), "torch"),
        (("onnxruntime", "torch"), EngineOptions(), "torch"),
        (("onnx", "onnxruntime", "torch"), EngineOptions(backend="torch"), "torch"),
        (("onnx", "onnxruntime", "torch"), EngineOptions(vocoder="griffin-lim"), "torch"),
        (("onnx", "onnxruntime", "torch"), EngineOptions(weights=SILENT), "torch"),
        (("onnx", "onnxruntime", "torch"), EngineOptions(weights=SILENT, vocoder="neural"), "onnx"),
    ],
)
def test_the_faster_one_that_can(
    packages: tuple[str, ...], options: EngineOptions, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, *packages)
    assert choose_backend(options) == chosen


@pytest.mark.parametrize(
    ("packages", "options", "words"),
    [
        ((), EngineOptions(), r"onnxruntime and onnx must be installed for this: pip install 'sottovoce\[engine\]'"),
        (("torch",), EngineOptions(backend="onnx"), r"sottovoce\[engine\]"),
        (("onnx", "onnxruntime"), EngineOptions(backend="torch"), r"sottovoce\[torch\]"),
        (("onnx", "onnxruntime"), EngineOptions(vocoder="griffin-lim"), r"sottovoce\[torch\]"),
        (("onnx", "onnxruntime"), EngineOptions(weights=SILENT), r"no vocoder for base.*sottovoce\[torch\]"),
        (("onnx", "onnxruntime"), EngineOptions(weights=SILENT / "nix"), r"there is no folder .*nix"),
    ],
)
def test_what_must_be_installed_is_said(
    packages: tuple[str, ...], options: EngineOptions, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, *packages)
    with pytest.raises(WeightsError, match=words):
        choose_backend(options)


def test_griffin_lim_has_no_graph() -> None:
    with pytest.raises(UsageError, match="Griffin-Lim runs on torch alone"):
        make_engine(EngineOptions(backend="onnx", vocoder="griffin-lim"))


def test_int8_has_no_torch() -> None:
    with pytest.raises(UsageError, match="int8 runs on ONNX Runtime alone"):
        make_engine(EngineOptions(backend="torch", dtype="int8"))


def test_a_backend_that_does_not_load_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *rest: Any) -> Any:
        if name == "sottovoce.stream.onnx_engine":
            raise ImportError("DLL load failed")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(WeightsError, match="the backend onnx is installed but does not load: DLL load failed"):
        make_engine(EngineOptions())


def test_graphs_bring_no_torch() -> None:
    code = "import sys, sottovoce.stream.onnx_engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
