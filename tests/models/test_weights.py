"""The weights that ship: they load, they are what they say, and a voice that went through them can be understood."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from pystoi import stoi
from safetensors.torch import load_file, save_file

from sottovoce.models.checkpoint import load_codec, load_net
from sottovoce.models.streaming import in_chunks, whole
from sottovoce.models.weight_file import WEIGHTS, CheckpointError, default_path, read_metadata
from support.clip import speech

MEGABYTE = 1_000_000
FILES = sorted(WEIGHTS.glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_is_small_and_tells_where_it_comes_from(path: Path) -> None:
    assert path.stat().st_size <= 24 * MEGABYTE
    metadata = read_metadata(path)
    assert {"preset", "part", "command", "steps", "data", "licence", "figures"} <= metadata.keys()


def test_all_weights_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FILES) <= 80 * MEGABYTE


@pytest.mark.parametrize(("name", "least_estoi"), [("base", 0.70), ("micro", 0.55)])
def test_a_voice_is_understood_and_more_books_bring_it_closer(name: str, least_estoi: float) -> None:
    codec = load_codec(name)
    rate_hz = codec.preset.rate_hz
    pcm = speech(rate_hz, codec.preset.frame_samples)
    original = pcm[0, : pcm.shape[-1] - codec.delay].numpy()
    scores = []
    for books in (1, codec.preset.books):
        sound, _ = codec(pcm, codec.initial_state(1), books)
        scores.append(stoi(original, sound[0, codec.delay :].numpy(), rate_hz, extended=True))
    assert scores[1] > least_estoi
    assert scores[1] > scores[0]


@pytest.mark.parametrize("name", ["base", "micro"])
def test_the_law_holds_for_the_shipped_weights(name: str) -> None:
    codec = load_codec(name)
    frame = codec.preset.frame_samples
    pcm = speech(codec.preset.rate_hz, frame)[:, : 24 * frame]
    mel = whole(codec.mel, pcm)
    cut = in_chunks(codec, pcm, [frame, 5 * frame, 2 * frame, 16 * frame])
    assert float((cut - whole(codec, pcm)).abs().max()) <= 1e-5
    n = codec.preset.mels_per_frame
    cut = in_chunks(codec.encoder, mel, [n, 5 * n, 2 * n, 16 * n], out_time=1)
    assert torch.equal(cut, whole(codec.encoder, mel))


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = default_path("base", "codec")
    tensors, metadata = load_file(path), read_metadata(path)
    first = sorted(tensors)[0]

    def refused(change: dict[str, torch.Tensor], words: str, notes: dict[str, str] = metadata) -> None:
        broken = tmp_path / "broken.safetensors"
        save_file(change, broken, metadata=notes)
        with pytest.raises(CheckpointError, match=words):
            load_net(broken)

    refused({key: value for key, value in tensors.items() if key != first}, "missing")
    refused({**tensors, "other": torch.zeros(1)}, "unexpected")
    refused({**tensors, first: torch.zeros(7)}, "wrong shape")
    refused({**tensors, first: torch.full_like(tensors[first], float("nan"))}, "not finite")
    refused(tensors, "not a codec", {**metadata, "part": "vocoder"})
    refused(tensors, "not a preset", {**metadata, "preset": "{}"})
    refused(tensors, "not a preset", {**metadata, "preset": "[]"})
    for part, key, value in (("mel", "rate_hz", -5), ("quantiser", "books", 200_000_000), ("trunk", "latent", 0)):
        preset = json.loads(metadata["preset"])
        preset[part][key] = value
        refused(tensors, f"{part}.{key} is {value}", {**metadata, "preset": json.dumps(preset)})
    shutil.copy(default_path("micro", "codec"), default_path("base", "codec", tmp_path))
    with pytest.raises(CheckpointError, match="holds 'micro', not 'base'"):
        load_codec("base", tmp_path)
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(CheckpointError, match="not a readable weight file"):
        load_net(tmp_path / "text.safetensors")
    with pytest.raises(CheckpointError, match="no preset"):
        load_codec("nonsense")
