"""``sottovoce doctor``: a set of weights that is right in everything, and what it says of each thing that can be wrong.

The talker learns, in seconds, that every sound has codes of its own: it listens to its text as a large one must.
"""

import copy
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from sottovoce.models.alignment import align
from sottovoce.models.checkpoint import load_talker, save, save_talker
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import MICRO, TINY
from sottovoce.models.onnx_talker import build_talker
from sottovoce.models.symbols import PAUSE, ids
from sottovoce.models.talker import Talker
from sottovoce.models.talker_checks import KNOWN, Known, later, shuffled
from sottovoce.models.talker_config import TALKER_TINY
from sottovoce.models.vocoder import make_vocoder
from sottovoce.models.weight_file import read_metadata
from sottovoce.stream import checkup
from sottovoce.stream.errors import WeightsError
from sottovoce.training import talk_checks
from support import tiny_talk
from support.program import refused, run

SOUNDS = ids("bdfhjklmnpɹstvwzʃʒðŋ")
CODEC, VOCODER, TALKER = (f"tiny-{part}.safetensors" for part in ("codec", "vocoder", "talker"))


def utterance(seed: int) -> Known:
    """Sounds at random; the codes of a frame are those of the sound in its last slot."""
    random = np.random.default_rng(seed)
    symbols = np.concatenate([ids([PAUSE]), random.choice(SOUNDS, 24), ids([PAUSE])])
    slots = random.integers(4, 9, len(symbols))
    slots[-1] += -slots.sum() % TALKER_TINY.mels_per_frame
    said, _ = align(slots, int(slots.sum()) // TALKER_TINY.mels_per_frame, TALKER_TINY.mels_per_frame)
    sound = symbols[said[:, -1]]
    codes = np.stack([(sound * (2 * book + 1) + book) % TALKER_TINY.book_size for book in range(TALKER_TINY.books)], -1)
    return Known(symbols, slots, codes, seed % 2)


@pytest.fixture(scope="module")
def listener() -> Talker:
    torch.manual_seed(0)
    talker = Talker(TALKER_TINY)
    optimiser = torch.optim.Adam(talker.parameters(), lr=1e-2)
    for seed in range(1, 42):
        one = utterance(seed)
        codes, symbols, slots = (torch.from_numpy(part)[None] for part in (one.codes, one.symbols, one.slots))
        logits = talker.logits(codes, symbols, slots, torch.tensor([one.voice]))
        optimiser.zero_grad()
        functional.cross_entropy(logits.flatten(0, 2), codes.flatten()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return talker.eval()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, listener: Talker) -> Path:
    folder = tmp_path_factory.mktemp("good")
    tiny_talk.write_codec(folder)
    tiny_talk.write_talker(folder, listener, **{KNOWN: utterance(0).to_text()})
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(good, tmp_path / "weights"))


def wrong(folder: Path) -> dict[tuple[str, str], str]:
    """What it finds: file and name of the finding -> detail."""
    return {(file, found.name): found.detail for file, found in checkup.examine(folder) if not found.good}


def test_a_good_set_passes_everything_and_says_what_was_seen(good: Path) -> None:
    result = run("doctor", good)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.decode().splitlines()
    assert all(line.startswith("good  tiny-") for line in lines)
    told = {line.split(": ")[1] for line in lines if TALKER in line}
    assert told == {
        "frame rate", "books", "codec", "alphabet", "voices", "every book", "listens to its text", "codes in time",
        "text in time",
    }  # fmt: skip
    assert any("a frame is 40 ms for the talker, 40 ms for the codec" in line for line in lines)


def test_it_sees_what_the_check_of_the_training_sees(good: Path) -> None:
    """ONNX graphs, frame by frame, on one side; torch modules, all at once, on the other."""
    here = [found for file, found in checkup.examine(good) if file == TALKER and found.name != "voices"]
    assert here == talk_checks.examine_file(good / TALKER, good)
    codec_hash = read_metadata(good / TALKER)["model_hash"]
    by_onnx = checkup.predictor(build_talker(good / TALKER, TINY, codec_hash))
    by_torch = talk_checks.predictor(load_talker(good / TALKER, TINY, codec_hash)[0])
    for known in (utterance(0), shuffled(utterance(1))):
        assert np.abs(by_onnx(known) - by_torch(known)).max() < 1e-3


# ---- talkers that are wrong ----------------------------------------------------------------------------------------


def test_a_talker_that_learned_nothing_is_found_out(folder: Path) -> None:
    torch.manual_seed(0)
    tiny_talk.write_talker(folder, Talker(TALKER_TINY), **{KNOWN: utterance(0).to_text()})
    assert (TALKER, "every book") in wrong(folder)


def test_a_talker_that_is_deaf_to_its_text_is_found_out(folder: Path, listener: Talker) -> None:
    deaf = copy.deepcopy(listener)
    with torch.no_grad():
        deaf.enter_condition.weight.zero_()
    tiny_talk.write_talker(folder, deaf, **{KNOWN: utterance(0).to_text()})
    assert wrong(folder)[TALKER, "listens to its text"] == (
        "shuffled sounds change 0 % of the first codes and cost +0.00 nats"
    )


@pytest.mark.parametrize("frames", [-1, 1])
def test_text_or_codes_beside_their_time_are_found_out(folder: Path, listener: Talker, frames: int) -> None:
    moved = later(utterance(0), frames, TALKER_TINY.mels_per_frame)
    tiny_talk.write_talker(folder, listener, **{KNOWN: moved.to_text()})
    assert (TALKER, "text in time") in wrong(folder)
    one = utterance(0)
    shifted = Known(one.symbols, one.slots, np.roll(one.codes, frames, 0), one.voice)
    tiny_talk.write_talker(folder, listener, **{KNOWN: shifted.to_text()})
    assert (TALKER, "codes in time") in wrong(folder)


def test_a_talker_of_another_codec_is_named(folder: Path) -> None:
    torch.manual_seed(7)
    save(folder / CODEC, MelCodec(TINY), TINY, "codec", {})
    found = wrong(folder)
    assert list(found) == [(TALKER, "codec")]
    assert "the talker learned" in found[TALKER, "codec"]


def test_a_talker_of_another_frame_rate_is_named(folder: Path) -> None:
    config = dataclasses.replace(TALKER_TINY, mels_per_frame=2)
    codec_hash = read_metadata(folder / TALKER)["model_hash"]
    save_talker(folder / TALKER, Talker(config), tiny_talk.VOICES, codec_hash, {})
    assert wrong(folder) == {
        (TALKER, "frame rate"): "a frame is 20 ms for the talker, 40 ms for the codec; vocoder and codec share one mel"
    }


def not_this_talker(known: Known) -> Known:
    return Known(known.symbols, known.slots, known.codes[:-1], known.voice)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ("", "not a known utterance"),
        (not_this_talker(utterance(0)).to_text(), "not an utterance that this talker could say"),
        (dataclasses.replace(utterance(0), voice=9).to_text(), "not an utterance that this talker could say"),
        (dataclasses.replace(utterance(0), codes=utterance(0).codes + 40).to_text(), "not an utterance that"),
        (dataclasses.replace(utterance(0), symbols=utterance(0).symbols + 900).to_text(), "not an utterance that"),
        (Known(ids([PAUSE]), np.array([4]), utterance(0).codes[:1], 0).to_text(), "not an utterance that"),
        (Known(ids([]), np.array([], int), utterance(0).codes[:0], 0).to_text(), "not an utterance that"),
    ],
)
def test_an_utterance_that_cannot_be_its_own_is_refused(folder: Path, listener: Talker, known: str, words: str) -> None:
    tiny_talk.write_talker(folder, listener, **{KNOWN: known})
    found = wrong(folder)
    assert list(found) == [(TALKER, "known utterance")]
    assert words in found[TALKER, "known utterance"]


def test_a_talker_without_an_utterance_cannot_be_judged(folder: Path, listener: Talker) -> None:
    tiny_talk.write_talker(folder, listener)
    assert "carries no utterance" in wrong(folder)[TALKER, "known utterance"]


# ---- files that are wrong ------------------------------------------------------------------------------------------


def cut(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-10])


def not_finite(folder: Path) -> None:
    talker = Talker(TALKER_TINY)
    with torch.no_grad():
        talker.head.bias[3] = torch.nan
    tiny_talk.write_talker(folder, talker)


def dead_decoder(folder: Path) -> None:
    codec = MelCodec(TINY)
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.zero_()
    save(folder / CODEC, codec, TINY, "codec", {})
    (folder / TALKER).unlink()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: cut(folder, CODEC), [(CODEC, "file"), (TALKER, "codec")]),
        (lambda folder: cut(folder, VOCODER), [(VOCODER, "file")]),
        (lambda folder: cut(folder, TALKER), [(TALKER, "file")]),
        (lambda folder: (folder / TALKER).write_bytes(b""), [(TALKER, "file")]),
        (lambda folder: shutil.copy(folder / CODEC, folder / TALKER), [(TALKER, "file")]),
        (lambda folder: shutil.copy(folder / VOCODER, folder / CODEC), [(CODEC, "file"), (TALKER, "codec")]),
        (lambda folder: (folder / CODEC).unlink(), [(VOCODER, "codec"), (TALKER, "codec")]),
        (lambda folder: (folder / CODEC).rename(folder / "base-codec.safetensors"),
         [("base-codec.safetensors", "file"), (VOCODER, "codec"), (TALKER, "codec")]),
        (lambda folder: save(folder / VOCODER, make_vocoder(MICRO), MICRO, "vocoder", {}),
         [(VOCODER, "mel"), (TALKER, "frame rate")]),
        (not_finite, [(TALKER, "weights")]),
        (dead_decoder, [(CODEC, "runs")]),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_named(
    folder: Path, damage: Callable[[Path], object], expected: list[tuple[str, str]]
) -> None:
    damage(folder)
    assert list(wrong(folder)) == expected


def test_a_talker_with_a_name_of_its_own_is_told_its_right_one(folder: Path) -> None:
    mine = "mine-talker.safetensors"
    shutil.copy(folder / TALKER, folder / mine)
    told = f"it speaks the codec 'tiny' and is looked for as {TALKER}, where there is another one already; rename it"
    assert wrong(folder) == {(mine, "name"): told}
    (folder / TALKER).unlink()
    assert wrong(folder) == {(mine, "name"): f"it speaks the codec 'tiny' and is looked for as {TALKER}; rename it"}
    shutil.copy(folder / CODEC, folder / mine)
    assert list(wrong(folder)) == [(mine, "file")]
    (folder / mine).write_bytes(b"nonsense")
    assert list(wrong(folder)) == [(mine, "file")]


def test_a_set_without_a_vocoder_is_right(folder: Path) -> None:
    (folder / VOCODER).unlink()
    assert wrong(folder) == {}


def test_that_there_is_no_talker_is_told(folder: Path) -> None:
    (folder / TALKER).unlink()
    result = run("doctor", folder)
    assert result.returncode == 0, result.stderr
    assert f"good  {TALKER}: file: there is none" in result.stdout.decode()


def test_a_folder_that_holds_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no weight files"):
        list(checkup.examine(tmp_path))
    with pytest.raises(WeightsError, match="is not a folder"):
        list(checkup.examine(tmp_path / "none"))


def test_from_outside_what_is_wrong_is_a_line_and_a_code(folder: Path) -> None:
    cut(folder, TALKER)
    result = run("doctor", folder)
    refused(result, 6, f"1 thing is wrong in {folder}: {TALKER} (file)")
    assert f"WRONG {TALKER}: file: not a readable weight file" in result.stdout.decode()
    refused(run("doctor", folder / CODEC), 6, "is not a folder")
