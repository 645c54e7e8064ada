"""``sottovoce export``: files that ONNX Runtime alone can run, without a line of ours."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sottovoce.clients.cli import main
from sottovoce.stream.engine import Work
from sottovoce.stream.law import voice
from sottovoce.stream.onnx_engine import OnnxEngine

FRAMES = 6
ALONE = """
import json, sys
from pathlib import Path
import numpy as np, onnxruntime

folder = Path(sys.argv[1])
about = json.loads((folder / "manifest.json").read_text())

def run(name, steps):
    graph = about["graphs"][name]
    session = onnxruntime.InferenceSession(folder / graph["file"], providers=["CPUExecutionProvider"])
    states = {state: np.zeros([1, *told["shape"][1:]], told["type"]) for state, told in graph["states"].items()}
    outputs, said = list(graph["outputs"]), []
    for step in steps:
        inputs = dict(zip(graph["inputs"], [step], strict=True))
        answers = session.run(outputs + [state.replace("past", "next") for state in states], inputs | states)
        states = dict(zip(states, answers[len(outputs):], strict=True))
        said.append(answers[:len(outputs)])
    return [np.concatenate(parts, axis=1 if parts[0].ndim == 3 else 0) for parts in zip(*said, strict=True)]

mel = np.load(folder / "mel.npy")
codes, = run("encode", np.split(mel[None], len(mel) // about["codec"]["mels_per_frame"], axis=1))
heard, = run("decode", list(codes[:, None]))
real, imaginary = run("vocode", np.split(heard, len(codes), axis=1))
assert not [name for name in sys.modules if name.startswith(("sottovoce", "torch"))]
np.savez(folder / "said.npz", codes=codes, mel=heard[0], real=real[0], imaginary=imaginary[0])
"""


def test_onnx_runtime_alone_runs_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--preset", "micro"]) == 0
    listed = capsys.readouterr().out
    assert [line.split(": ")[0] for line in listed.splitlines()] == [
        str(tmp_path / name) for name in ("encode.onnx", "decode.onnx", "vocode.onnx", "manifest.json")
    ]
    engine = OnnxEngine("micro")
    row = engine.open()
    mel = engine.step([Work(row, "mel", voice(engine.descriptor, FRAMES), 0.0)])[0]
    np.save(tmp_path / "mel.npy", mel)
    (tmp_path / "alone.py").write_text(ALONE)
    subprocess.run([sys.executable, "-I", tmp_path / "alone.py", tmp_path], check=True, timeout=60)
    said = np.load(tmp_path / "said.npz")
    codes = engine.step([Work(row, "encode", mel, 0.0)])[0]
    assert np.array_equal(said["codes"], codes)
    heard = engine.step([Work(row, "decode", codes, 0.0)])[0]
    assert np.abs(said["mel"] - heard).max() <= 1e-4
    assert said["real"].shape == said["imaginary"].shape == (FRAMES, 3 * 256 // 2 + 1)
    window = np.hanning(3 * 256 + 1)[:-1]
    frames = np.fft.irfft(said["real"] + 1j * said["imaginary"], n=3 * 256) * window / 1.5**2 * 1.5
    pcm = np.zeros((FRAMES + 2) * 256)
    for i, frame in enumerate(frames):
        pcm[256 * i : 256 * (i + 3)] += frame
    expected = engine.step([Work(row, "vocode", heard, 0.0)])[0]
    scale = float(pcm[: len(expected)] @ expected) / float(expected @ expected)
    assert np.abs(pcm[: len(expected)] / scale - expected).max() <= 1e-3 * np.abs(expected).max()


def test_the_manifest_tells_every_end(tmp_path: Path) -> None:
    assert main(["export", str(tmp_path), "--dtype", "int8"]) == 0
    about = json.loads((tmp_path / "manifest.json").read_text())
    assert about["codec"]["preset"] == "base"
    assert about["dtype"] == "int8"
    assert set(about["graphs"]) == {"encode", "decode", "vocode", "clause", "frame", "write"}
    encode, clause = about["graphs"]["encode"], about["graphs"]["clause"]
    assert encode["inputs"] == {"mel": {"type": "float32", "shape": ["batch", 4, 128]}}
    assert encode["outputs"] == {"codes": {"type": "int64", "shape": ["batch", 8]}}
    assert all(name.startswith("past") for name in encode["states"])
    assert clause["inputs"]["symbols"] == {"type": "int64", "shape": ["batch", "symbols"]}
    assert about["talker"]["voices"][0] == "heart"
    assert (tmp_path / "decode.onnx").stat().st_size < 8e6 < (tmp_path / "encode.onnx").stat().st_size


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("out", "--preset", "nonsense"), 2, "there is no preset 'nonsense'"),
        (("out", "--weights", "nowhere"), 6, "cannot load the weights of base"),
        (("file", "--preset", "micro"), 1, "could not be written"),
        ((), 2, "the following arguments are required: FOLDER"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(["export", *arguments]) == code
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()
