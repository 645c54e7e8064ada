"""The command: what it hears is what the product gives, what it writes is complete, and bad input is one clear line."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sottovoce.models.checkpoint import load_codec, save
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import TINY
from sottovoce.models.vocoder import make_vocoder
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.pipeline import Settings, loopback
from sottovoce.stream.statistics import Statistics
from sottovoce.stream.torch_engine import TorchEngine
from sottovoce.training import evaluate
from sottovoce.training.bootstrap import difference
from sottovoce.training.clip_pictures import log_mel, spread
from sottovoce.training.metrics import RATE_HZ
from sottovoce.training.ours import Encoder, Ours, Wire, _source_files, perplexities
from sottovoce.training.recordings import Recording, read_folder
from sottovoce.training.store import Store
from support.voice import voice

BOOKS = 3


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec that nobody trained: it sounds like nothing, but every part of it runs."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    save(folder / "tiny-codec.safetensors", MelCodec(TINY), TINY, "codec", {})
    save(folder / "tiny-vocoder.safetensors", make_vocoder(TINY), TINY, "vocoder", {})
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("some clips")  # a name that a shell would take apart
    for i, pitch_hz in enumerate((110, 150, 210)):
        soundfile.write(folder / f"{i}.wav", voice(1.2 + 0.1 * i, pitch_hz), TINY.rate_hz)
    return folder


def product(weights: Path, recording: Recording, wire: Wire) -> Pcm:
    """What `sottovoce loopback` gives: stages, channels and an engine, frame by frame."""
    heard: list[Pcm] = []

    async def source() -> AsyncIterator[Pcm]:
        yield recording.at(TINY.rate_hz)

    async def sink(frame: Frame[Pcm]) -> None:
        heard.append(frame.data)

    async def main() -> None:
        seed = wire.seed_of(recording.name)
        settings = Settings(books=BOOKS, loss=wire.loss, seed=seed)
        async with EngineLoop(TorchEngine("tiny", vocoder="neural", weights=weights)) as loop:
            with loop.open() as session:
                await loopback(source(), sink, session, settings, Statistics(session.descriptor))

    asyncio.run(main())
    return np.concatenate(heard)


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_what_is_measured_is_what_the_product_gives(loss: float, weights: Path, clips: Path) -> None:
    recording = read_folder(clips)[0]
    wire = Wire(loss, seed=5)
    carried = Ours(Encoder(load_codec("tiny", weights)), "neural", BOOKS, wire).carry(recording)
    assert (carried.size.lost_frames > 0) == (loss > 0)
    assert np.abs(carried.pcm - product(weights, recording, wire)).max() <= 1e-5


def test_losses_are_seeded_and_other_for_every_clip() -> None:
    def pattern(seed: int, name: str) -> list[bool]:
        loss = Wire(0.3, seed).of(name)
        return [loss.lost() for _ in range(200)]

    assert pattern(0, "a") == pattern(0, "a")
    assert pattern(0, "a") != pattern(0, "b")
    assert pattern(0, "a") != pattern(1, "a")


def test_bytes_are_those_of_real_files_and_packets(weights: Path, clips: Path) -> None:
    recording = read_folder(clips)[0]
    size = Ours(Encoder(load_codec("tiny", weights)), "neural", BOOKS).carry(recording).size
    assert size.payload_bytes == -(-size.frames * BOOKS * 5 // 8)
    assert size.packet_bytes == size.frames * (5 + 2) + 5  # 15 bits each, and the end of the talk
    assert size.file_bytes > size.payload_bytes


def test_perplexity_counts_the_codes_in_the_files(weights: Path, clips: Path) -> None:
    encoder = Encoder(load_codec("tiny", weights))
    recordings = read_folder(clips)
    found = perplexities([Ours(encoder, "neural", BOOKS).carry(recording).compressed for recording in recordings])
    codes = np.concatenate([encoder.codes(recording) for recording in recordings])
    for book, perplexity in enumerate(found):
        shares = np.unique(codes[:, book], return_counts=True)[1] / len(codes)
        assert perplexity == pytest.approx(np.prod(shares**-shares))
    assert len(found) == BOOKS


def command(clips: Path, weights: Path, out: Path, *more: str) -> dict[str, Any]:
    options = [
        "--presets",
        "tiny",
        "--weights",
        str(weights),
        "--books",
        "8",
        "2",
        "--out",
        str(out),
        "--peers",
        "none",
    ]
    evaluate.main([str(clips), *options, "--metrics", "estoi", "mel", "--threads", "1", *more])
    found: dict[str, Any] = json.loads((out / "table.json").read_text())
    return found


def test_the_json_is_complete_and_a_second_run_measures_nothing(
    weights: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command(clips, weights, tmp_path, "--loss", "0", "0.3", "--copy")
    rows = {row["name"]: row for row in first["rows"]}
    names = ["original", "tiny-mel-neural", "tiny-4-neural", "tiny-4-neural-loss30", "tiny-2-neural"]
    assert list(rows) == [*names, "tiny-2-neural-loss30"]
    assert rows["tiny-4-neural"]["bits_per_s"] == pytest.approx(500, rel=0.02)
    assert rows["tiny-4-neural-loss30"]["lost_share"] > 0
    assert len(rows["tiny-4-neural"]["perplexity"]) == 4
    for row in rows.values():
        assert set(row["metrics"]) == {"estoi", "mel"}
        assert all({"value", "low", "high", "clips", "count"} == set(value) for value in row["metrics"].values())
    assert first["conditions"]["clips"] == 3
    assert shlex.split(first["conditions"]["command"])[3] == str(clips)
    assert {limit["kept"] for limit in first["limits"]} <= {"yes", "no", "not measured"}
    printed = capsys.readouterr().out
    assert "| tiny-2-neural-loss30 |" in printed
    assert (tmp_path / "table.md").read_text() in printed + "\n"
    pytest.importorskip("matplotlib")
    assert (tmp_path / "quality.png").stat().st_size > 1000
    assert (tmp_path / "loss.png").stat().st_size > 1000
    assert len(list((tmp_path / "clips").glob("*.png"))) == 3

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(Ours, "carry", never)
    before = (tmp_path / "measured.jsonl").read_text()
    again = command(clips, weights, tmp_path, "--loss", "0", "0.3")
    assert (tmp_path / "measured.jsonl").read_text() == before
    assert [row for row in again["rows"]] == [row for row in first["rows"] if row["kind"] != "copy"]


def test_mel_in_a_picture_stands_below_its_samples() -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[RATE_HZ // 2] = 0.9
    heard = log_mel(click).mean(0)
    loud = np.flatnonzero(heard > heard.max() - 0.1) * 0.01
    assert loud.mean() == pytest.approx(0.5, abs=0.02)


def test_clips_to_draw_are_spread_over_the_folder() -> None:
    assert [spread(108, 5), spread(2, 5), spread(3, 1)] == [[0, 27, 54, 80, 107], [0, 1], [0]]


def test_a_table_without_transcripts_says_why_it_has_no_words(
    weights: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'faster_whisper'")

    monkeypatch.setattr(evaluate.judges, "word_errors", absent)
    found = command(clips, weights, tmp_path, "--words", "--limit", "1")
    assert "faster_whisper" in found["rows"][0]["missing"]["wer"]
    assert "WER %: not installed" in capsys.readouterr().out


def test_other_sound_or_weights_are_decoded_again(weights: Path, clips: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    encoder = Encoder(load_codec("tiny", weights))
    recording = read_folder(clips)[0]
    first = store.carried(Ours(encoder, "neural", 2), recording)
    louder = Recording(recording.name, recording.pcm * 0.5, recording.rate_hz)
    other = Store(tmp_path).carried(Ours(Encoder(load_codec("tiny", weights)), "neural", 2), louder)
    assert not np.array_equal(first.pcm, other.pcm)
    before = store.carried(Ours(encoder, "neural", 2), recording)
    torch.manual_seed(1)
    save(tmp_path / "new" / "tiny-codec.safetensors", MelCodec(TINY), TINY, "codec", {})
    for part in ("codec", "vocoder"):  # first the books change, then what plays
        save(tmp_path / "new" / "tiny-vocoder.safetensors", make_vocoder(TINY), TINY, "vocoder", {})
        after = Store(tmp_path).carried(Ours(Encoder(load_codec("tiny", tmp_path / "new")), "neural", 2), recording)
        assert not np.array_equal(before.pcm, after.pcm), part
        before = after


def test_other_code_decodes_again() -> None:
    names = {file.name for file in _source_files()}
    assert {"ours.py", "conceal.py", "vocoder.py"} <= names


def test_clips_that_differ_in_their_suffix_alone_are_kept_apart(tmp_path: Path) -> None:
    store, random = Store(tmp_path), np.random.default_rng(0)
    recordings = [
        Recording(f"sub/a.{suffix}", random.normal(0, 0.1, 16_000).astype(np.float32), 16_000)
        for suffix in ("wav", "flac")
    ]
    first = [store.carried(evaluate.Original(), recording).pcm for recording in recordings]
    assert not np.array_equal(*first)
    assert len(list((tmp_path / "original" / "sub").glob("*.flac"))) == 2
    soundfile.write(tmp_path / "original" / "sub" / "a.wav.flac", np.zeros(99), 16_000)
    assert len(Store(tmp_path).carried(evaluate.Original(), recordings[0]).pcm) == 99  # read, not made again


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path) -> None:
    Store(tmp_path).value("a", lambda: 1.5)
    with (tmp_path / "measured.jsonl").open("a") as file:
        file.write('\n["b", 2.')
    again = Store(tmp_path)
    assert again.value("a", lambda: 0.0) == 1.5
    assert again.value("b", lambda: None) is None
    assert Store(tmp_path).value("b", lambda: 7.0) is None


def test_clips_that_cannot_be_measured_are_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "good.wav", voice(1.0, 120), 24_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(24_000), 24_000)
    soundfile.write(tmp_path / "short.wav", voice(0.2, 120), 24_000)
    soundfile.write(tmp_path / "nan.wav", np.full(24_000, np.nan, np.float32), 24_000, subtype="FLOAT")
    (tmp_path / "broken.wav").write_bytes(b"RIFFnothing")
    (tmp_path / "good.txt").write_text("what is said")
    (recording,) = read_folder(tmp_path)
    assert (recording.name, recording.text) == ("good.wav", "what is said")
    said = capsys.readouterr().err
    for name in ("silent", "short", "nan", "broken"):
        assert f"left out {name}.wav: " in said


def test_every_and_limit_choose_clips(clips: Path) -> None:
    assert [r.name for r in read_folder(clips, every=2)] == ["0.wav", "2.wav"]
    assert [r.name for r in read_folder(clips, limit=1, every=2)] == ["0.wav"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "folder"),
        ({}, "no audio"),
        ({"a.wav": "RIFF"}, "no audio of 0.5 s"),
        ({"manifest.csv": "name,transcript\nx,y\n"}, "column 'file'"),
        ({"manifest.csv": "file,transcript\n../../etc/passwd,y\n"}, "no audio of 0.5 s"),
    ],
)
def test_a_bad_folder_is_one_clear_line(files: dict[str, str] | None, said: str, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    with pytest.raises(SystemExit, match=said):
        command(folder, weights, tmp_path / "out")


@pytest.mark.parametrize(
    "wrong", [["--books", "0"], ["--loss", "1.5"], ["--loss", "x"], ["--every", "-1"], ["--peers", "mp3"]]
)
def test_bad_options_are_refused(wrong: list[str], clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([str(clips), *wrong])
    assert wrong[0] in capsys.readouterr().err


def test_missing_weights_are_one_clear_line(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="tiny-codec"):
        command(clips, tmp_path / "nothing", tmp_path)


def test_our_rows_pair_clip_by_clip_with_the_originals(weights: Path, clips: Path, tmp_path: Path) -> None:
    found = evaluate.judges.load(["mel"])[0]
    evaluation = evaluate.Evaluation(read_folder(clips), found, {}, Store(tmp_path))
    ours = evaluation.measure(Ours(Encoder(load_codec("tiny", weights)), "neural", 2))
    original = evaluation.measure(evaluate.Original())
    assert not original.tallies["mel"][:, 0].any()
    assert difference(ours.tallies["mel"], original.tallies["mel"]).value == ours.row.metrics["mel"].value > 0
