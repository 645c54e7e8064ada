"""Faults are planted among clean clips: each is found and named, and the clean ones stay."""

import base64
import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from sottovoce.training import quality, quality_rules
from sottovoce.training.data import read_clips
from sottovoce.training.phonemes import coverage
from sottovoce.training.prepare import main
from support.utterance import utterance

RATE_HZ = 24_000
Sound = NDArray[np.float32]
TEXT = "Seven words that are easily read aloud"
CLEAN = 24
SECONDS = 2.5


def wav(path: Path, sound: Sound, rate_hz: int = RATE_HZ) -> None:
    soundfile.write(path, sound, rate_hz)


def noisy(path: Path, sound: Sound) -> None:
    wav(path, sound + np.random.default_rng(0).normal(0, 0.02, len(sound)).astype(np.float32))


def clipped(path: Path, sound: Sound) -> None:
    wav(path, (sound * 12).clip(-1, 1) * np.float32(0.7))  # clipped, then turned down: the peak is not full scale


def silent(path: Path, sound: Sound) -> None:
    wav(path, np.random.default_rng(0).normal(0, 1e-4, 3 * RATE_HZ).astype(np.float32))


def mostly_pauses(path: Path, sound: Sound) -> None:
    pause = np.random.default_rng(0).normal(0, 3e-4, 8 * RATE_HZ).astype(np.float32)
    wav(path, np.concatenate([sound, pause, sound[::-1]]))


def muffled(path: Path, sound: Sound) -> None:
    wav(path, soxr.resample(soxr.resample(sound, RATE_HZ, 3_000), 3_000, RATE_HZ))


def upsampled(path: Path, sound: Sound) -> None:
    wav(path, soxr.resample(soxr.resample(sound, RATE_HZ, 11_025), 11_025, RATE_HZ))


def short(path: Path, sound: Sound) -> None:
    wav(path, sound[8_000:12_000])


def too_long(path: Path, sound: Sound) -> None:
    wav(path, np.tile(sound, 13))
    path.with_suffix(".txt").write_text("a text for all of it " * 20)


def text_too_long(path: Path, sound: Sound) -> None:
    wav(path, sound)
    path.with_suffix(".txt").write_text(TEXT * 5)


def text_too_short(path: Path, sound: Sound) -> None:
    wav(path, sound)
    path.with_suffix(".txt").write_text("Yes.")


def text_not_utf8(path: Path, sound: Sound) -> None:
    wav(path, sound)
    path.with_suffix(".txt").write_bytes(b"caf\xe9")


def text_with_figures(path: Path, sound: Sound) -> None:
    wav(path, sound)
    path.with_suffix(".txt").write_text(TEXT.replace("Seven", "In 1987 7"))


def duplicate(path: Path, sound: Sound) -> None:
    """A copy of a clean clip: quieter, with other silence around it, at another rate."""
    copy = np.pad(utterance(SECONDS, 3) * np.float32(0.4), (3_000, 7_000))
    wav(path, soxr.resample(copy, RATE_HZ, 44_100), 44_100)


def other_format(path: Path, sound: Sound) -> None:
    soundfile.write(path, np.stack([sound, sound], 1), RATE_HZ, format="WAV", subtype="FLOAT")


def not_audio(path: Path, sound: Sound) -> None:
    path.write_text("This is not a sound.")


def empty(path: Path, sound: Sound) -> None:
    path.write_bytes(b"")


def no_samples(path: Path, sound: Sound) -> None:
    wav(path, np.zeros(0, np.float32))


def not_finite(path: Path, sound: Sound) -> None:
    sound[99] = np.nan
    soundfile.write(path, sound, RATE_HZ, subtype="FLOAT")


def cut_off(path: Path, sound: Sound) -> None:
    wav(path, sound)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damaged(path: Path, sound: Sound) -> None:
    whole = io.BytesIO()
    soundfile.write(whole, sound, RATE_HZ, format="FLAC")
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])


FAULTS: dict[str, tuple[Callable[[Path, Sound], None], str, str]] = {
    "noisy": (noisy, "reasons", "noisy"),
    "clipped": (clipped, "reasons", "clipped"),
    "silent": (silent, "reasons", "silent"),
    "pauses": (mostly_pauses, "reasons", "silence"),
    "muffled": (muffled, "reasons", "muffled"),
    "upsampled": (upsampled, "remarks", "upsampled: 5."),
    "short": (short, "reasons", "too short"),
    "long": (too_long, "reasons", "too long"),
    "text-long": (text_too_long, "reasons", "text does not fit"),
    "text-short": (text_too_short, "reasons", "text does not fit"),
    "text-bytes": (text_not_utf8, "reasons", "text unreadable"),
    "text-figures": (text_with_figures, "remarks", "text: figures"),
    "zz-duplicate": (duplicate, "reasons", "duplicate: of 003.wav"),
    "format": (other_format, "remarks", "inconsistent: WAV FLOAT, 24000 Hz, 2 channels"),
    "not-audio": (not_audio, "reasons", "broken"),
    "empty": (empty, "reasons", "broken"),
    "no-samples": (no_samples, "reasons", "broken: no sound"),
    "not-finite": (not_finite, "reasons", "broken: not all samples are finite"),
    "cut-off": (cut_off, "reasons", "broken: cut off"),
    "damaged": (damaged, "reasons", "broken"),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    for i in range(CLEAN):
        wav(folder / f"{i:03d}.wav", utterance(SECONDS, i))
        (folder / f"{i:03d}.txt").write_text(TEXT)
    return folder


@pytest.fixture(scope="module")
def examined(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, str]]]:
    """All faults among the clean clips, prepared by the command: its folder, and the rows of its manifest by file."""
    for seed, (name, (plant, *_)) in enumerate(FAULTS.items(), 100):
        plant(clean / f"{name}.wav", utterance(SECONDS, seed))
    main([str(clean), "--out", str(out := tmp_path_factory.mktemp("out"))])
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return out, {row["file"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_named(examined: tuple[Path, dict[str, dict[str, str]]], name: str) -> None:
    out, rows = examined
    _, column, says = FAULTS[name]
    row = rows[f"{name}.wav"]
    assert says in row[column], row
    assert row["kept"] == ("no" if column == "reasons" else "yes"), row
    assert (f"{name}.wav" in {clip.file for clip in read_clips(out)}) == (column == "remarks")


def test_clean_clips_are_kept_without_a_remark(examined: tuple[Path, dict[str, dict[str, str]]]) -> None:
    _out, rows = examined
    clean = [row for file, row in rows.items() if file[:3].isdecimal()]
    assert len(clean) == CLEAN
    assert [row for row in clean if row["kept"] != "yes" or row["reasons"] or row["remarks"]] == []
    assert len(rows) == CLEAN + len(FAULTS)


def test_the_report_shows_counts_plots_spectrograms_and_sound(examined: tuple[Path, dict[str, dict[str, str]]]) -> None:
    out, rows = examined
    page = (out / "report.html").read_text(encoding="utf-8")
    kept = sum(row["kept"] == "yes" for row in rows.values())
    assert f"{kept} of {len(rows)} clips kept" in page
    for reason in {row["reasons"].split(":")[0] for row in rows.values()}:
        assert reason in page
    pictures = [base64.b64decode(part.split("'")[0]) for part in page.split("data:image/png;base64,")[1:]]
    assert len(pictures) >= 2 + 6 + 8  # distributions, coverage, kept, left out
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 5_000 for picture in pictures)
    heard = base64.b64decode(page.split("data:audio/flac;base64,")[1].split("'")[0])
    assert soundfile.info(io.BytesIO(heard)).duration > 1
    assert "http" not in page  # nothing is fetched


def test_names_and_texts_cannot_write_into_the_report(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    wav(tmp_path / "in" / "<b>&.wav", utterance(3.0, 1))
    (tmp_path / "in" / "<b>&.txt").write_text("<script>x</script>")
    main([str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page


def test_limits_are_options(clean: Path, tmp_path: Path) -> None:
    wav(tmp_path / "noisy.wav", utterance(SECONDS, 1, floor=0.02))
    with pytest.raises(SystemExit, match="noisy"):
        main([str(tmp_path), "--out", str(tmp_path / "out"), "--no-report"])
    main([str(tmp_path), "--out", str(tmp_path / "out"), "--no-report", "--least-snr-db", "0"])
    assert len(read_clips(tmp_path / "out")) == 1


def test_a_clean_recording_is_not_left_out_for_a_copy_that_is_left_out_itself(tmp_path: Path) -> None:
    clean = utterance(SECONDS, 1)
    (tmp_path / "in").mkdir()
    wav(tmp_path / "in" / "a.wav", clean)
    (tmp_path / "in" / "a.txt").write_bytes(b"caf\xe9")  # comes first, and is left out
    clipped(tmp_path / "in" / "b.wav", clean)  # as is this one
    for name in ("c.wav", "d.wav"):
        wav(tmp_path / "in" / name, clean)
    main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--no-report"])
    with (tmp_path / "out" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        why = {row["file"]: row["reasons"] for row in csv.DictReader(file)}
    assert why["b.wav"].startswith("clipped")
    assert (why["c.wav"], why["d.wav"]) == ("", "duplicate: of c.wav")


def test_active_level_does_not_hear_pauses() -> None:
    """A tone of known level, alone and with as much silence: P.56 gives both the same."""
    tone = (0.1 * np.sin(2 * np.pi * 300 * np.arange(2 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    for sound in (tone, np.concatenate([tone, np.zeros_like(tone)])):
        assert quality.active_level(quality.frame_powers(sound)) == pytest.approx(-23.01, abs=0.05)
    assert quality.active_level(quality.frame_powers(np.zeros(9, np.float32))) == quality.SILENCE_DB


@pytest.mark.parametrize("top_hz", [3_400, 5_500, 8_000, 10_000])
@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_bandwidth_is_what_the_sound_has_at_any_level(top_hz: int, gain: float) -> None:
    narrow = soxr.resample(soxr.resample(utterance(2.0, 1), RATE_HZ, 2 * top_hz), 2 * top_hz, RATE_HZ)
    assert quality.bandwidth(quality.spectrum(narrow * np.float32(gain))) == pytest.approx(top_hz, rel=0.06)


def test_clipping_is_told_from_a_loud_clean_sound() -> None:
    loud = utterance(2.0, 1)
    loud /= np.abs(loud).max()
    low = np.sin(2 * np.pi * 80 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    for clean in (loud, low, loud * np.float32(0.05)):
        assert quality.clipped_share(clean) < 1e-4
        assert quality.clipped_share((clean * 3).clip(-np.abs(clean).max(), np.abs(clean).max())) > 1e-2


def test_fingerprints_of_copies_agree_and_of_others_do_not() -> None:
    sounds = [utterance(2.0, seed) for seed in range(8)]
    prints = [np.frombuffer(bytes.fromhex(quality.fingerprint(quality.spectrum(s))), np.uint8) for s in sounds]
    softer = soxr.resample(soxr.resample(sounds[0], RATE_HZ, 16_000), 16_000, RATE_HZ) * np.float32(0.2)
    again = np.frombuffer(bytes.fromhex(quality.fingerprint(quality.spectrum(softer))), np.uint8)
    apart = [int(np.unpackbits(prints[0] ^ other).sum()) for other in (*prints[1:], again)]
    assert min(apart[:-1]) > 2 * quality_rules.COPY_BITS
    assert apart[-1] < quality_rules.COPY_BITS


def test_phonemes_are_counted_and_the_missing_ones_named() -> None:
    found = coverage(["She sells sea shells."] * 12, "en-US")
    assert found.units == "phonemes"
    assert found.counts["ʃ"] == 24
    assert {"ʒ", "ɔɪ", "θ"} <= set(found.missing)
    assert "ʃ" not in found.rare
    assert "l" not in found.missing
    pleasure = coverage(["Thin boys measure."], "en")
    assert not {"ʒ", "ɔɪ", "θ"} & set(pleasure.missing)
    assert {"ʒ", "ɔɪ"} <= set(pleasure.rare)


@pytest.mark.parametrize(
    ("text", "language"), [("Tá an t-uisce fuar.", "ga"), ("Γειά σου", "el"), ("Hallo daar", "nl")]
)
def test_languages_without_a_lexicon_are_counted_in_letters(text: str, language: str) -> None:
    found = coverage([text, "1987 !?"], language)
    assert found.units == "letters"
    assert found.missing == ()
    assert set(found.counts) == {letter for letter in text.lower() if letter.isalpha()}


def test_no_texts_cover_nothing() -> None:
    assert coverage([], "en").counts == {}
