"""A talker's weight file: what went in comes out, on either backend, and what does not fit is named in one line."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sottovoce.models.checkpoint import load_talker, save_talker
from sottovoce.models.config import MICRO, TINY, Preset
from sottovoce.models.onnx_talker import build_talker
from sottovoce.models.symbols import SYMBOLS
from sottovoce.models.talker import Talker
from sottovoce.models.talker_config import TALKER_BASE, TALKER_TINY, TALKERS, TalkerConfig
from sottovoce.models.talker_file import TalkerAbout, Voice, read_about
from sottovoce.models.weight_file import CheckpointError, default_path, read_metadata

VOICES = (Voice("ann", "female", "en-US", "CC0-1.0"), Voice("joe", "male", "en-GB", "Apache-2.0"))
HASH = "0123456789ab"
Load = Callable[[Path, Preset, str], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    found = default_path("tiny", "talker", tmp_path)
    save_talker(found, Talker(TALKER_TINY), VOICES, HASH, {"command": "of this test", "part": "not this"})
    return found


def test_what_went_in_comes_out(path: Path) -> None:
    torch.manual_seed(0)
    original = Talker(TALKER_TINY)
    talker, about = load_talker(path, TINY, HASH)
    assert about == TalkerAbout(TALKER_TINY, VOICES, HASH) == read_about(path)
    assert read_metadata(path)["command"] == "of this test"
    assert not talker.training
    for (name, weight), expected in zip(talker.named_parameters(), original.parameters(), strict=True):
        assert torch.equal(weight, expected.half().float()), name
        assert not weight.requires_grad
    assert build_talker(path, TINY, HASH).about == about


def test_voices_are_asked_for_by_name(path: Path) -> None:
    about = read_about(path)
    assert [about.voice(voice.name) for voice in VOICES] == [0, 1]
    with pytest.raises(ValueError, match="no voice 'eve'; there are ann, joe"):
        about.voice("eve")


def test_base_is_small_enough_with_all_that_stands_beside_it(tmp_path: Path) -> None:
    path = default_path("base", "talker", tmp_path)
    save_talker(path, Talker(TALKER_BASE), VOICES, HASH, {"figures": "0" * 5000})
    assert path.stat().st_size <= 24_000_000


@pytest.mark.parametrize("load", [load_talker, build_talker])
def test_what_does_not_fit_is_named(load: Load, path: Path) -> None:
    tensors, metadata = load_file(path), read_metadata(path)
    first = sorted(tensors)[0]

    def refused(words: str, change: dict[str, torch.Tensor] = tensors, **notes: str) -> None:
        broken = path.with_name("broken.safetensors")
        save_file(change, broken, metadata={**metadata, **notes})
        with pytest.raises(CheckpointError, match=words) as found:
            load(broken, TINY, HASH)
        assert "\n" not in str(found.value)

    refused("missing", {key: value for key, value in tensors.items() if key != first})
    refused("unexpected", {**tensors, "other": torch.zeros(1)})
    refused("wrong shape", {**tensors, first: torch.zeros(7)})
    refused("not finite", {**tensors, first: torch.full_like(tensors[first], float("nan"))})
    refused("int32", {**tensors, first: tensors[first].int()})
    refused("holds 'codec', not a talker", part="codec")
    refused("Expecting value", preset="")
    refused("not a talker", preset="[]")
    refused("not a talker", preset="{}")
    refused("no list of voices", voices="")
    refused("no list of voices", voices="{}")
    refused("not a voice", voices='[{"name": "ann"}, 5]')
    refused("1 voices are described, the talker has 2", voices=json.dumps(json.loads(metadata["voices"])[:1]))
    refused("another alphabet", symbols=json.dumps(SYMBOLS[::-1], ensure_ascii=False))
    refused("another alphabet", symbols=json.dumps(SYMBOLS[:-1], ensure_ascii=False))
    refused("no hash of the codec", model_hash="")
    refused("a talker for the codec ffff; the codec 'tiny' here is 0123456789ab", model_hash="ffff")
    for change, words in (
        ({"width": "48"}, "width is 48"),
        ({"width": True}, "width is True"),
        ({"width": None}, "width is None"),
        ({"width": -48}, "width is -48, not between 1 and 8192"),
        ({"layers": 65}, "layers is 65, not between 1 and 64"),
        ({"heads": 5}, "5 heads"),
        ({"encoder_heads": 3}, "3 heads"),
        ({"start_code": 33}, "start code 33"),
        ({"depth_blocks": 0}, "depth model of 0 blocks"),
        ({"colour": 1}, "unexpected keyword"),
        ({"symbols": 500}, "another alphabet"),
        ({"books": 5}, "5 x 32 codes"),
        ({"mels_per_frame": 2}, "2 mel frames each; the codec 'tiny' has 4 x 32 codes, 4 mel"),
        ({"layers": 64, "width": 8192}, "too few numbers for 64 layers of width 8192"),
    ):
        refused(words, preset=json.dumps({**json.loads(metadata["preset"]), **change}))
    with pytest.raises(CheckpointError, match="2 x 128 codes, 1 mel frames each"):
        load(path, MICRO, HASH)
    with pytest.raises(CheckpointError, match="here is 000000000000"):
        load(path, TINY, "000000000000")
    path.write_text("no weights")
    with pytest.raises(CheckpointError, match="not a readable weight file"):
        load(path, TINY, HASH)
    path.unlink()
    with pytest.raises(CheckpointError, match="not a readable weight file"):
        load(path, TINY, HASH)


@pytest.mark.parametrize(
    ("voices", "model_hash", "words"),
    [
        (VOICES[:1], HASH, "1 voices are described"),
        (VOICES[:1] * 2, HASH, "name of their own"),
        ((VOICES[0], dataclasses.replace(VOICES[1], name="")), HASH, "name of their own"),
        (VOICES, "", "no hash"),
    ],
)
def test_nothing_is_saved_that_could_not_be_loaded(
    voices: tuple[Voice, ...], model_hash: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        save_talker(tmp_path / "x", Talker(TALKER_TINY), voices, model_hash, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("config", TALKERS.values(), ids=TALKERS.keys())
def test_a_shape_survives_json(config: TalkerConfig) -> None:
    assert TalkerConfig.from_json(config.to_json()) == config


def test_a_new_symbol_leaves_older_weights_readable(path: Path) -> None:
    """The alphabet grows at its end: a talker of its first symbols still fits."""
    config = dataclasses.replace(TALKER_TINY, symbols=len(SYMBOLS) - 2)
    save_talker(path, Talker(config), VOICES, HASH, {})
    assert read_about(path).config.symbols == len(SYMBOLS) - 2
    talker, _ = load_talker(path, TINY, HASH)
    assert np.isfinite(talker.encode(torch.tensor([[3]]), torch.tensor([0]))[0].numpy()).all()
