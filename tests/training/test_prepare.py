"""Folders as people have them become shards; interrupted or not, the bytes are the same."""

import csv
import json
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sottovoce.training import prepare, shards
from sottovoce.training.data import RATE_HZ, Speech, read_clips
from sottovoce.training.layouts import LayoutError, items
from sottovoce.training.prepare import gather, main, pack, quiet_cuts
from sottovoce.training.quality import active_level, frame_powers
from sottovoce.training.shards import ShardError, Shards, Writer
from support.utterance import utterance

TEXT = "the quick brown fox"


def write(path: Path, seed: int, seconds: float = 2.0, rate_hz: int = RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opus = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
    soundfile.write(path, utterance(seconds, seed, rate_hz), rate_hz, **opus)


def csv_layout(folder: Path) -> None:
    rows = [f'clips/{i}.opus,anna,"The {TEXT}, {i}",de,16000\n' for i in range(2)]
    for i in range(2):
        write(folder / "clips" / f"{i}.opus", i)
    (folder / "manifest.csv").write_text("file,speaker,transcript,language,orig_sr\n" + "".join(rows))


def jsonl_layout(folder: Path) -> None:
    lines = [json.dumps({"file": f"wavs/{i}.flac", "text": f"The {TEXT}, {i}", "voice": "anna"}) for i in range(2)]
    for i in range(2):
        write(folder / "wavs" / f"{i}.flac", i)
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")


def lj_speech_layout(folder: Path) -> None:
    for i in range(2):
        write(folder / "wavs" / f"LJ001-000{i}.wav", i, rate_hz=22_050)
    lines = [f'LJ001-000{i}|{i} "quoted {TEXT}|The {TEXT}, {i}\n' for i in range(2)]
    (folder / "metadata.csv").write_text("".join(lines))


def libri_tts_layout(folder: Path) -> None:
    for i in range(2):
        stem = folder / "train-clean-100" / "anna" / "124992" / f"anna_124992_00000{i}_000000"
        write(stem.with_suffix(".wav"), i)
        stem.with_suffix(".normalized.txt").write_text(f"The {TEXT}, {i}\n")
        stem.with_suffix(".original.txt").write_text("not this")


def plain_layout(folder: Path) -> None:
    for i in range(2):
        write(folder / "anna" / f"{i}.mp3", i)
        (folder / "anna" / f"{i}.txt").write_text(f"\ufeffThe {TEXT}, {i}\n", encoding="utf-8")


LAYOUTS = {
    "manifest.csv": csv_layout,
    "manifest.jsonl": jsonl_layout,
    "LJ Speech": lj_speech_layout,
    "LibriTTS": libri_tts_layout,
    "plain": plain_layout,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_sound_speaker_and_text(tmp_path: Path, name: str) -> None:
    LAYOUTS[name](tmp_path / "corpus")
    assert items(tmp_path / "corpus")[0] == name
    verdicts = pack(tmp_path / "corpus", tmp_path / "out")
    assert all(verdict.kept for verdict in verdicts), verdicts
    clips = read_clips(tmp_path / "out")
    assert [clip.text for clip in clips] == [f"The {TEXT}, {i}" for i in range(2)]
    assert {clip.speaker for clip in clips} == {"corpus" if name == "LJ Speech" else "anna"}
    assert [clip.wideband for clip in clips] == [name != "manifest.csv"] * 2  # whose originals had 16 kHz
    assert Speech(tmp_path / "out", RATE_HZ, RATE_HZ, batch=2).draw(0)[0].shape == (2, RATE_HZ)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_any_format_rate_and_channels_become_24_khz_at_one_level(tmp_path: Path, suffix: str, rate_hz: int) -> None:
    (tmp_path / "in").mkdir()
    sound = utterance(2.0, 1, rate_hz) * 0.3
    soundfile.write(tmp_path / "in" / f"a.{suffix}", np.stack([sound, sound], 1), rate_hz)
    pack(tmp_path / "in", tmp_path / "out")
    clip = read_clips(tmp_path / "out")[0]
    pcm = Shards(tmp_path / "out").read(clip.start, clip.n_samples) / 32768
    assert active_level(frame_powers(pcm)) == pytest.approx(prepare.LEVEL_DB, abs=0.5)
    assert 1.0 < clip.n_samples / RATE_HZ < 2.0  # some 0.3 s of silence at both ends are cut
    assert clip.wideband == (rate_hz > 16_000)
    assert clip.bandwidth_hz <= rate_hz / 2 + 200


def test_silence_around_speech_is_cut_and_little_else(tmp_path: Path) -> None:
    speech = utterance(2.0, 3)
    (tmp_path / "in").mkdir()
    soundfile.write(
        tmp_path / "in" / "a.wav", np.concatenate([np.zeros(2 * RATE_HZ), speech, np.zeros(RATE_HZ)]), RATE_HZ
    )
    pack(tmp_path / "in", tmp_path / "out")
    assert 1.3 < read_clips(tmp_path / "out")[0].n_samples / RATE_HZ < 2.1


def everything_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven files, one of them broken, and shards that hold three clips each."""
    monkeypatch.setattr(shards, "SHARD_SAMPLES", int(3.5 * RATE_HZ))
    for i in range(6):
        write(tmp_path / "corpus" / f"{i}.flac", i, seconds=1.5)
    (tmp_path / "corpus" / "3b.wav").write_bytes(b"RIFF nothing")
    return tmp_path / "corpus"


def torn_line(out: Path) -> None:
    index = out / "index.jsonl"
    index.write_bytes(index.read_bytes()[:-20])


def sound_without_a_line(out: Path) -> None:
    with sorted(out.glob("pcm-*.s16"))[-1].open("ab") as file:
        file.write(b"\1\2" * 999 + b"\3")


def line_without_its_sound(out: Path) -> None:
    path = sorted(out.glob("pcm-*.s16"))[-1]
    with path.open("r+b") as file:
        file.truncate(max(0, path.stat().st_size - 1000))


@pytest.mark.parametrize("stop_after", [0, 1, 4, 7])
@pytest.mark.parametrize("crash", [lambda out: None, torn_line, sound_without_a_line, line_without_its_sound])
def test_an_interrupted_run_ends_with_the_same_bytes(
    corpus: Path, tmp_path: Path, stop_after: int, crash: Callable[[Path], None]
) -> None:
    pack(corpus, tmp_path / "whole")
    with Writer(tmp_path / "out", {"longest_s": 30.0}) as writer:
        _ = list(islice(gather(items(corpus)[1], writer, 30.0), stop_after))
    crash(tmp_path / "out")
    pack(corpus, tmp_path / "out")
    assert everything_in(tmp_path / "out") == everything_in(tmp_path / "whole")
    assert len(list((tmp_path / "out").glob("pcm-*.s16"))) > 1


def test_what_is_done_is_not_read_again(corpus: Path, tmp_path: Path) -> None:
    pack(corpus, tmp_path / "out")
    with Writer(tmp_path / "out", {"longest_s": 30.0}) as writer:
        assert list(gather(items(corpus)[1], writer, 30.0)) == []
        write(corpus / "9.flac", 9)
        assert [records[0].file for records in gather(items(corpus)[1], writer, 30.0)] == ["9.flac"]


def test_several_processes_give_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    common = ["--no-report", str(corpus)]
    main([*common, "--out", str(tmp_path / "one")])
    main([*common, "--out", str(tmp_path / "two"), "--jobs", "2"])
    assert everything_in(tmp_path / "one") == everything_in(tmp_path / "two")


def test_a_second_folder_is_added(tmp_path: Path) -> None:
    lj_speech_layout(tmp_path / "a")
    plain_layout(tmp_path / "b")
    for seed, path in enumerate(sorted((tmp_path / "b" / "anna").glob("*.mp3")), 50):
        write(path, seed)
    pack(tmp_path / "a", tmp_path / "out")
    pack(tmp_path / "b", tmp_path / "out")
    assert [clip.source for clip in read_clips(tmp_path / "out")] == ["a", "a", "b", "b"]


def test_long_recordings_are_cut_where_it_is_quiet_window_by_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in" / "book.flac", 1, seconds=41.0, rate_hz=16_000)
    pack(tmp_path / "in", tmp_path / "whole", longest_s=6.0)
    monkeypatch.setattr(prepare, "WINDOW_S", 15)
    pack(tmp_path / "in", tmp_path / "windows", longest_s=6.0)
    for out in ("whole", "windows"):
        clips = read_clips(tmp_path / out)
        seconds = [clip.n_samples / RATE_HZ for clip in clips]
        assert max(seconds) <= 6.0
        assert 38 < sum(seconds) <= 41.1
        assert [clip.file for clip in clips] == ["book.flac", *(f"book.flac#{i}" for i in range(1, len(clips)))]


def test_pieces_may_be_longer_than_the_usual_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "WINDOW_S", 3)
    write(tmp_path / "in" / "book.flac", 1, seconds=25.0)
    pack(tmp_path / "in", tmp_path / "out", longest_s=5.0)
    assert 23 < sum(clip.n_samples for clip in read_clips(tmp_path / "out")) / RATE_HZ <= 25.1


def test_a_cut_falls_into_the_pause() -> None:
    sound = np.ones(10 * RATE_HZ, np.float32)
    sound[int(4.4 * RATE_HZ) : int(4.6 * RATE_HZ)] = 0
    stretches, done = quiet_cuts(sound, 6 * RATE_HZ, more=False)
    assert 4.39 * RATE_HZ < len(stretches[0]) < 4.61 * RATE_HZ
    assert done == len(sound) == sum(map(len, stretches))


def test_other_settings_and_data_of_the_first_version_are_refused(corpus: Path, tmp_path: Path) -> None:
    pack(corpus, tmp_path / "out")
    with pytest.raises(ShardError, match=r"longest_s was 30.0"):
        pack(corpus, tmp_path / "out", longest_s=10.0)
    (tmp_path / "old").mkdir()
    np.save(tmp_path / "old" / "pcm.npy", np.zeros(9, np.int16))
    with pytest.raises(ShardError, match="earlier version"):
        pack(corpus, tmp_path / "old")


BAD_MANIFESTS = {
    "manifest.csv": [
        (b"path,text\na.wav,b\n", "column 'file'"),
        (b"file\n\xff\xfe.wav\n", "not UTF-8"),
        (b"file,orig_sr\na.wav,fast\n", "whole number of Hz"),
        (b"", "no audio"),
        (b"file\na.wav\n" + 200_000 * b"x" + b"\n", "not a table, near line 3"),
    ],
    "manifest.jsonl": [(b'{"text": "no file"}\n', "line 1"), (b"[1]\n", "line 1"), (b"{\n", "line 1")],
    "metadata.csv": [(b"LJ001-0001 no bar\n", "line 1 has no '|'")],
}


@pytest.mark.parametrize(
    ("name", "content", "says"), [(n, *case) for n, cases in BAD_MANIFESTS.items() for case in cases]
)
def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LayoutError, match=says):
        items(tmp_path)


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    for folder, says in ((tmp_path / "none", "not a folder"), (tmp_path, "no audio")):
        with pytest.raises(SystemExit) as stopped:
            main([str(folder), "--out", str(tmp_path / "out")])
        assert str(stopped.value).startswith("prepare: ")
        assert says in str(stopped.value)
        assert "\n" not in str(stopped.value)
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(SystemExit, match="nothing could be kept of 1 clips"):
        main([str(tmp_path), "--out", str(tmp_path / "out")])


def test_what_is_in_hidden_folders_is_not_taken(tmp_path: Path) -> None:
    hidden = tmp_path / ".home"  # what lies above the folder does not hide it
    for name in ("a.wav", ".b.wav", ".cache/c.wav", "d/.trash/e/f.wav"):
        write(hidden / name, 1)
    assert [item.file for item in items(hidden)[1]] == ["a.wav"]


def test_a_report_that_cannot_be_drawn_is_said_before_anything_is_read(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "sottovoce.training.quality_report", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit, match="no report without matplotlib") as stopped:
        main([str(corpus), "--out", str(tmp_path / "out")])
    assert "\n" not in str(stopped.value)
    assert not (tmp_path / "out").exists()


def test_the_command_tells_what_it_kept_and_why_not_the_rest(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(corpus), "--out", str(tmp_path / "out"), "--limit", "5", "--no-report"])
    said = capsys.readouterr().out
    assert "plain, 7 files" in said
    assert "kept 4 of 5 clips" in said
    assert "left out: broken 1" in said
    with (tmp_path / "out" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        assert [(row["file"], row["kept"]) for row in csv.DictReader(file)][3:] == [("3.flac", "yes"), ("3b.wav", "no")]
