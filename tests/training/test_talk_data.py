"""From speech with times to codes and slots: aligned, resumable, and honest about what it drops."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sottovoce.models.alignment import IS_SOUND
from sottovoce.models.config import BASE, TINY
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.models.symbols import SYMBOLS
from sottovoce.training import talk_data
from sottovoce.training.quality import RATE_HZ
from sottovoce.training.takes import Take, TakesError, Timed, lead_cut, one_pause, synthesised
from sottovoce.training.talk_data import Encoder, Maker, Settings, seconds_of, write
from sottovoce.training.talk_rows import LEAD_FRAMES
from sottovoce.training.talk_slots import n_slots, slots_of
from sottovoce.training.talk_store import About, TalkData, TalkDataError, TalkWriter, Utterance
from support.tones import pitch_hz, spoken, teach, timed

FILES = ("about.json", "codes.s16", "index.jsonl", "slots.u16", "symbols.u8")


def test_every_slot_sounds_like_its_symbol(taught: Path, talk: Path, tiny_weights: Path) -> None:
    """The tone that the mel shows in a slot is that of the symbol which the slot is said to speak."""
    data, front_end = TalkData(talk), LogMel(TINY.mel)
    takes = {take.key: take for take in synthesised(taught)}
    bands = front_end.bands.argmax(-1).numpy() * TINY.rate_hz / TINY.mel.n_fft
    right = []
    for index, one in enumerate(data.utterances[:8]):
        pcm, _ = soundfile.read(takes[one.key].file, dtype="float32")
        cut = round((takes[one.key].durations_s[0] - talk_data.LEAD_S) * RATE_HZ)
        total = one.n_frames * TINY.frame_samples
        mel = whole(front_end, torch.from_numpy(np.pad(pcm[cut:], (0, total - len(pcm) + cut)))[None])[0].numpy()
        symbols, slots = data.symbols(index), data.slots(index)
        edges = np.cumsum(slots)
        for symbol, begin, end in zip(symbols, edges - slots, edges, strict=True):
            if IS_SOUND[symbol] and end - begin >= 3:
                heard_hz = bands[mel[:, (begin + end) // 2].argmax()]
                right.append(abs(heard_hz / pitch_hz(SYMBOLS[symbol]) - 1) < 0.03)
    assert len(right) > 60
    assert np.mean(right) == 1.0


def test_what_is_written_is_what_the_codec_says(taught: Path, talk: Path, tiny_weights: Path) -> None:
    data = TalkData(talk)
    assert data.about == About.of(TINY, data.about.model_hash)
    assert len(data) == 30
    assert data.voices.keys() == {"af_one", "am_two"}
    maker = Maker(Settings("tiny", tiny_weights))
    takes = {take.key: take for take in synthesised(taught)}
    for index in (0, 29):
        made = maker(takes[data.utterances[index].key])
        assert made.codes is not None
        assert np.array_equal(made.codes, data.codes(index))
        assert data.slots(index).sum() == data.utterances[index].n_frames * TINY.mels_per_frame
    assert data.slots(0)[0] == LEAD_FRAMES * TINY.mels_per_frame


def test_an_interrupted_run_ends_with_the_same_bytes(
    taught: Path, talk: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    """Stopped between utterances, and in the midst of writing one."""
    takes, settings = list(synthesised(taught)), Settings("tiny", tiny_weights)
    write(takes[:11], settings, tmp_path)
    for name, extra in (("codes.s16", b"\1\2\3"), ("slots.u16", b"\5" * 9), ("index.jsonl", b'{"key": "half')):
        with (tmp_path / name).open("ab") as file:
            file.write(extra)
    write(takes[:20], settings, tmp_path)
    raw = (tmp_path / "codes.s16").read_bytes()
    (tmp_path / "codes.s16").write_bytes(raw[:-10])  # the last line is there, its codes are not
    told = write(takes, settings, tmp_path)
    assert told.startswith("kept 30 of 30 utterances")
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (talk / name).read_bytes(), name


def test_several_processes_write_the_same(taught: Path, talk: Path, tiny_weights: Path, tmp_path: Path) -> None:
    takes = list(synthesised(taught))[:6]
    write(takes, Settings("tiny", tiny_weights), tmp_path / "one")
    write(takes, Settings("tiny", tiny_weights), tmp_path / "two", jobs=2)
    assert (tmp_path / "one" / "codes.s16").read_bytes() == (tmp_path / "two" / "codes.s16").read_bytes()


def bad_takes(folder: Path) -> Iterator[tuple[str, Take]]:
    symbols, durations = timed("həlˈO", np.random.default_rng(0))
    pcm = spoken(symbols, durations)

    def take(name: str, sound: np.ndarray | None = pcm, phones: list[str] = symbols,
             seconds: list[float] = durations, rate_hz: int = RATE_HZ) -> Take:  # fmt: skip
        path = folder / f"{name}.wav"
        if sound is not None:
            soundfile.write(path, sound, rate_hz, subtype="FLOAT")
        return Take(f"x/{name}", "v", "t", "kokoro", str(path), phones=tuple(phones), durations_s=tuple(seconds))

    yield "durations", take("sum", seconds=[*durations[:-1], durations[-1] + 0.05])
    yield "unknown symbol", take("symbol", phones=[symbols[0], "ʘ", *symbols[2:]])
    yield "without times", take("count", phones=symbols[:-1])
    yield "without times", take("negative", seconds=[*durations[:-2], -0.1, 0.2])
    yield "without times", take("none", phones=[], seconds=[])
    yield "without pauses", take("pause", phones=["s", *symbols[1:]])
    yield "too long", take("long", sound=np.tile(pcm, 60))
    yield "too short", take("short", sound=pcm[:1000])
    yield "clipped", take("clipped", sound=np.clip(8 * pcm, -0.9, 0.9))
    yield "silent", take("silent", sound=np.zeros_like(pcm))
    yield "not finite", take("nan", sound=np.where(np.arange(len(pcm)) == 99, np.nan, pcm).astype(np.float32))
    yield "not readable", take("missing", sound=None)
    (folder / "text.wav").write_text("not sound")
    yield "not readable", take("text", sound=None)


def test_what_is_wrong_is_dropped_with_its_reason(tiny_weights: Path, tmp_path: Path) -> None:
    given = list(bad_takes(tmp_path))
    told = write([take for _, take in given], Settings("tiny", tiny_weights), tmp_path / "out")
    utterances = [json.loads(line) for line in (tmp_path / "out" / "index.jsonl").read_text().splitlines()]
    assert [one["fault"].split(":")[0] for one in utterances] == [fault for fault, _ in given]
    assert told.splitlines()[0].startswith("kept 0 of 13")
    assert "without times 3" in told
    with pytest.raises(TalkDataError, match="no utterance"):
        TalkData(tmp_path / "out")


def test_other_rates_are_resampled_and_times_stay(tiny_weights: Path, tmp_path: Path) -> None:
    symbols, durations = timed("fˈʌn", np.random.default_rng(1))
    soundfile.write(tmp_path / "a.wav", spoken(symbols, durations)[::2], RATE_HZ // 2)
    take = Take("x/a", "v", "t", "hibari", str(tmp_path / "a.wav"), phones=tuple(symbols), durations_s=tuple(durations))
    made = Maker(Settings("tiny", tiny_weights))(take)
    assert not made.fault
    assert made.slots is not None
    assert made.slots[3] == pytest.approx(100 * durations[3], abs=1)


def test_a_folder_belongs_to_one_codec(taught: Path, talk: Path, tmp_path: Path) -> None:
    about = TalkData(talk).about
    with pytest.raises(TalkDataError, match="another codec, model_hash"):
        TalkWriter(talk, About.of(BASE, about.model_hash + "x"))
    other = tmp_path / "other"
    with TalkWriter(other, About.of(TINY, "elsewhere")) as writer:
        one = np.ones(1, np.int64)
        writer.add(Utterance("k", "v", "t"), np.zeros((1, TINY.books), np.int64), one, 4 * one)
        for codes, symbols, slots in (
            (np.zeros((1, 3), np.int64), one, 4 * one),
            (np.zeros((1, TINY.books), np.int64), one, 3 * one),
            (np.full((1, TINY.books), TINY.book_size), one, 4 * one),
            (np.zeros((1, TINY.books), np.int64), np.array([len(SYMBOLS)]), 4 * one),
        ):
            with pytest.raises(ValueError):
                writer.add(Utterance("k", "v", "t"), codes, symbols, slots)
    with pytest.raises(TalkDataError, match="another codec"):
        TalkData(talk, other)


@pytest.mark.parametrize("damage", ["about", "index", "codes", "nothing"])
def test_damaged_folders_are_named(damage: str, talk: Path, tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes((talk / name).read_bytes())
    if damage == "about":
        (tmp_path / "about.json").write_text("{}")
    elif damage == "index":
        (tmp_path / "index.jsonl").write_text("[1]\n")
    elif damage == "codes":
        (tmp_path / "codes.s16").write_bytes(b"")
    else:
        (tmp_path / "about.json").unlink()
    with pytest.raises(TalkDataError):
        TalkData(tmp_path)


@pytest.mark.parametrize("line", ["{}", "nothing", '{"file": "a", "voice": "v"}', '{"file": 1, "phones": 3}'])
def test_manifests_of_another_kind_are_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text(line + "\n")
    with pytest.raises(TakesError, match="line 1"):
        list(synthesised(tmp_path))


def test_a_manifest_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    folder = teach(tmp_path / "tones", 2)
    with (folder / "manifest.jsonl").open("a") as file:
        file.write('{"file": "wavs/0002.fl')
    assert len(list(synthesised(folder))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--spoken", "none"], "no manifest.jsonl"),
        (["--spoken", "TAUGHT", "--weights", "none"], "not a readable weight file"),
        (["--spoken", "TAUGHT", "TAUGHT"], "of one name"),
        (["--spoken", "TAUGHT", "--voices", "nobody"], "no utterance of these voices"),
        ([], "2"),
        (["--speech", "none"], "2"),
        (["--spoken", "TAUGHT", "--jobs", "0"], "2"),
    ],
)
def test_the_command_ends_with_one_line(
    arguments: list[str], words: str, taught: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    given = [str(taught) if word == "TAUGHT" else word for word in arguments]
    given = [str(tmp_path / word) if word == "none" else word for word in given]
    weights = [] if "--weights" in given else ["--weights", str(tiny_weights)]
    with pytest.raises(SystemExit) as ended:
        talk_data.main([*given, "--preset", "tiny", *weights, "--out", str(tmp_path / "out")])
    assert words in str(ended.value.code)


def test_the_command_says_what_it_kept(
    taught: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--preset", "tiny", "--weights", str(tiny_weights), "--limit", "4", "--voices", "af_one"]
    talk_data.main(["--spoken", str(taught), *options, "--out", str(tmp_path)])
    assert capsys.readouterr().out.startswith("kept 2 of 2 utterances")


def test_pauses_that_meet_become_one() -> None:
    symbols, durations = one_pause(np.array([0, 5, 0, 0, 6, 0]), np.array([0.3, 0.1, 0.05, 0.3, 0.1, 0.05]))
    assert symbols.tolist() == [0, 5, 0, 6, 0]
    assert durations.tolist() == pytest.approx([0.3, 0.1, 0.35, 0.1, 0.05])


def test_a_long_silence_at_the_beginning_is_cut() -> None:
    given = Timed(np.arange(24_000, dtype=np.float32), np.array([0, 5, 0]), np.array([0.4, 0.5, 0.1]))
    cut = lead_cut(given, 0.1)
    assert cut.pcm[0] == 7200
    assert cut.durations_s.tolist() == pytest.approx([0.1, 0.5, 0.1])
    assert lead_cut(cut, 0.1) is cut


def test_the_aligners_slots_come_back_as_they_were(tiny_weights: Path) -> None:
    """Slots to seconds and back to the slots of a codec with the same hop."""
    random = np.random.default_rng(0)
    slots = random.integers(1, 20, 40)
    n_samples = int(slots.sum()) * 240 - 512
    total = n_slots(n_samples, BASE)
    slots[-1] += total - slots.sum()
    assert slots_of(seconds_of(slots, n_samples), total, BASE.mel).tolist() == slots.tolist()


def test_codes_do_not_depend_on_what_follows(tiny_weights: Path) -> None:
    encoder = Encoder(talk_data.load_net(tiny_weights / "tiny-codec.safetensors"))
    pcm = spoken(*timed("bˈæk tˈɑp", np.random.default_rng(2)))
    n = len(pcm) // 2 // TINY.frame_samples * TINY.frame_samples
    assert np.array_equal(encoder(pcm)[: n // TINY.frame_samples], encoder(pcm[:n])[: n // TINY.frame_samples])
