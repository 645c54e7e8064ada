"""What a talker is measured by: flags of what went wrong, peers that are there or not, a table."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sottovoce.training import talk_evaluate, talker
from sottovoce.training.bootstrap import Estimate
from sottovoce.training.metrics import Metric, score_one
from sottovoce.training.store import Store
from sottovoce.training.talk_evaluate import Row, System, as_table, measure, speak
from sottovoce.training.talk_flags import flags
from sottovoce.training.talk_peers import PeerFailed, TextPeer, peers
from sottovoce.training.talk_prompts import PROMPTS, Prompt

TEXT = "the birch canoe slid on the smooth planks"


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (TEXT, []),
        ("the birch canoe slid on the smooth blanks", []),
        ("the birch canoe slid on the", ["cut"]),
        ("", ["cut"]),
        ("the planks", ["skipped"]),
        ("the birch canoe the birch canoe slid on the smooth planks", ["repeated"]),
        ("the birch canoe slid on the smooth planks smooth planks smooth planks", ["repeated"]),
        ("the birch canoe slid on the smooth planks and then he went home", ["babbled"]),
        ("the birch canoe slid on a the smooth planks", []),
    ],
)
def test_what_went_badly_wrong_is_named(heard: str, expected: list[str]) -> None:
    assert flags(TEXT.split(), heard.split()) == expected


def test_of_a_single_word_every_word_counts() -> None:
    assert flags(["yes"], ["yes"]) == []
    assert flags(["yes"], ["yes", "sir"]) == ["babbled"]
    assert flags(["yes"], []) == ["cut"]
    assert flags([], ["oh"]) == ["babbled"]
    assert flags([], []) == []


def test_there_are_sixty_texts_of_all_kinds() -> None:
    assert len(PROMPTS) == len({prompt.text for prompt in PROMPTS}) == 60
    assert {"number", "name", "abbreviation", "twister", "word", "long"} <= {prompt.kind for prompt in PROMPTS}
    assert 300 <= len(PROMPTS[-1].text.split()) < 330


def program(folder: Path, name: str, lines: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)


def test_a_program_speaks_into_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell script in place of the program: what it is called with, and what it is fed."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    soundfile.write(tmp_path / "given.wav", np.full((800, 2), 0.25), 8000)
    program(tmp_path, "says", f'cp {tmp_path}/given.wav "$2"; echo "$1|$(cat)" > {tmp_path}/called')
    for arguments, called in ((("{text}", "{wav}"), "a {b}|\n"), (("-", "{wav}"), "-|a {b}\n")):
        pcm, rate_hz, took_s = TextPeer("x", "says", arguments, "nowhere").say("a {b}")
        assert (tmp_path / "called").read_text() == called
        assert (len(pcm), rate_hz, float(pcm[0])) == (800, 8000, 0.25)
        assert took_s > 0


@pytest.mark.parametrize("lines", ["exit 3", "echo broken >&2; exit 1", "true", 'echo nothing > "$2"'])
def test_a_program_that_fails_says_why(lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, "says", lines)
    with pytest.raises(PeerFailed, match="x"):
        TextPeer("x", "says", ("{text}", "{wav}"), "nowhere").say("a")


def test_programs_that_are_not_there_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = {peer.name: peer.missing() for peer in peers(Path("joe.onnx"))}
    assert told.keys() == {"espeak-ng", "flite slt", "flite rms", "piper joe"}
    assert told["espeak-ng"] == "not installed (espeak-ng); apt-get install espeak-ng"
    program(tmp_path, "flite", "true")
    assert peers()[1].missing() is None


def test_what_was_said_is_not_said_again(tmp_path: Path) -> None:
    calls: list[str] = []

    def say(text: str) -> tuple[np.ndarray, int, float]:
        calls.append(text)
        return np.full(2400, 0.1, np.float32), 24_000, 0.05

    prompts = [Prompt("word", "Yes."), Prompt("word", "No.")]
    for key in ("a", "a", "b"):
        spoken = speak(System("x y", key, say), prompts, tmp_path)
    assert calls == ["Yes.", "No.", "Yes.", "No."]
    assert [one.file for one in spoken] == ["x-y/00.wav", "x-y/01.wav"]
    quiet = Metric("dnsmos", "DNSMOS", True, "1", lambda _, decoded: float(len(decoded)), score_one)
    row, lines = measure(System("x y", "b", say), spoken, [quiet], {"wer": "not installed"}, Store(tmp_path), str.lower)
    assert (row.sentences, row.seconds, row.took_s) == (2, pytest.approx(0.2), pytest.approx(0.1))
    assert row.metrics["dnsmos"].value == 1600
    assert [line["text"] for line in lines] == ["Yes.", "No."]


def test_the_table_names_the_sentences_that_went_wrong() -> None:
    wer = Estimate(0.035, 0.01, 0.06, 60, 700)
    rows = [
        Row("ours heart", 60, 200.0, 50.0, {"wer": wer}, {"cut": ["A text."]}),
        Row("teacher", 60, 200.0, 0.0, {}, missing={"wer": "not installed"}),
    ]
    lines = as_table(rows).splitlines()
    assert lines[2] == "| ours heart | 60 | 3.5 (1.0 to 6.0) | n/a | 0.250 | 1, 0, 0, 0 |"
    assert lines[3] == "| teacher | 60 | n/a | n/a |  | n/a |"
    assert "ours heart, cut: A text." in lines
    assert lines[-1] == "WER %: not installed"


@pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="needs the extra 'talk'")
def test_the_command_speaks_with_weights_and_programs(
    talk: Path, taught: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    common = ["--preset", "tiny", "--data", str(talk), "--codec", str(tiny_weights), "--threads", "1", "--steps", "2"]
    common += ["--batch", "2", "--row-s", "1", "--listen-every", "0", "--least-minutes", "0.1"]
    talker.main([*common, "--out", str(tmp_path / "run")])
    weights = tmp_path / "run" / "tiny-talker.safetensors"
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))  # so that none of this machine is found
    program(programs, "flite", "echo no such voice >&2; exit 1")
    out = tmp_path / "out"
    options = ["--codec", str(tiny_weights), "--limit", "2", "--metrics", "--out", str(out)]
    talk_evaluate.main([str(weights), "--voices", "am_two", "--spoken", str(taught), *options])
    text = (out / "table.md").read_text()
    assert "| ours am_two | 2 |" in text
    assert "Not run: espeak-ng: not installed" in text
    assert "no such voice" in text
    assert "does not say" in text
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == [prompt.text for prompt in PROMPTS[:2]]
    sound, rate_hz = soundfile.read(out / lines[0]["file"])
    assert len(sound) == pytest.approx(lines[0]["seconds"] * rate_hz)
    assert len(sound) % 960 == 0
    capsys.readouterr()
    talk_evaluate.main([str(weights), "--texts", "--limit", "1"])
    assert capsys.readouterr().out == PROMPTS[0].text + "\n"
    for bad in (["--voices", "nobody"], ["--top-k", "0"], ["--codec", str(tmp_path)]):
        with pytest.raises(SystemExit, match="talk_evaluate: "):
            talk_evaluate.main([str(weights), *options, *bad])
