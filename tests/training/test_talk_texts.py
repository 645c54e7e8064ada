"""Texts for a teacher: varied, the same every time, and with every diphone that was asked for."""

import importlib.util
from pathlib import Path

import pytest

from sottovoce.training import talk_texts
from sottovoce.training.diphones import Coverage, diphones, inside, top_up
from sottovoce.training.talk_sentences import KINDS, made

WORDS = {"ship": "ʃˈɪp", "yes": "jˈɛs", "pot": "pˈɑt", "oil": "ˈYl", "think": "θˈɪŋk"}


def test_diphones_reach_across_words_but_not_across_pauses() -> None:
    assert diphones(["<s>", *"ʃˈɪp jˈɛs, ˈYl", "<s>"]) == [
        ("#", "ʃ"), ("ʃ", "ɪ"), ("ɪ", "p"), ("p", "j"), ("j", "ɛ"), ("ɛ", "s"), ("s", "#"), ("#", "Y"), ("Y", "l"), ("l", "#"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no symbol of ours"):
        diphones("ʘ")


def test_rare_diphones_are_topped_up() -> None:
    coverage = Coverage()
    for _ in range(5):
        coverage.add(WORDS["ship"])
    assert coverage.rare(inside(WORDS), 5) == [one for one in inside(WORDS) if one not in diphones(WORDS["ship"])]
    added = top_up(coverage, WORDS, least=5, most=100)
    assert coverage.rare(inside(WORDS), 5) == []
    spoken = " ".join(added)
    assert all(word in spoken for word in ("yes", "pot", "oil", "think"))
    assert added == top_up_again(5)
    assert len(top_up(Coverage(), WORDS, least=50, most=3)) == 3


def top_up_again(times: int) -> list[str]:
    coverage = Coverage()
    for _ in range(times):
        coverage.add(WORDS["ship"])
    return top_up(coverage, WORDS, least=5, most=100)


def test_a_report_says_what_is_missing() -> None:
    coverage = Coverage()
    coverage.add(WORDS["ship"])
    first, second = coverage.report(inside(WORDS), 2).splitlines()
    assert first.startswith("1 texts, 3 sounds")
    assert " θ " in f"{first} "
    assert second.startswith(f"2 of the {len(inside(WORDS))} diphones inside words, 0 of them at least 2 times")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_many_sentences_and_the_same_ones(kind: str) -> None:
    sentences = made(kind, 30)
    assert len(set(sentences)) == len(sentences) == 30
    assert sentences == made(kind, 30)
    assert sentences != made(kind, 30, seed=1)
    assert all(one == one.strip() and "  " not in one and "{" not in one for one in sentences)


needs_reader = pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="needs the extra 'talk'")


@needs_reader
def test_the_command_writes_texts_once_each_and_tells_what_they_cover(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lines.txt").write_text(
        "The birch canoe slid.\nThe birch canoe slid.\n\nGlue the sheet.\n" + 90 * "word "
    )
    out = tmp_path / "texts.txt"
    options = ["--each", "3", "--most-added", "20", "--out", str(out)]
    talk_texts.main(["--lines", str(tmp_path / "lines.txt"), *options])
    lines = out.read_text(encoding="utf-8").splitlines()
    assert len(set(lines)) == len(lines) >= 3 * len(KINDS) + 20
    assert {"The birch canoe slid.", "Glue the sheet."} <= set(lines)
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("2 too long or twice")
    have = [int(line.split()[0]) for line in told if "diphones inside words" in line]
    assert have[1] > have[0]


@needs_reader
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\xfa"])
def test_files_that_are_no_texts_are_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit, match=r"talk_texts: .*lines.txt"):
        talk_texts.main(["--lines", str(path), "--out", str(tmp_path / "out.txt")])
