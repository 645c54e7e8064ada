"""The weights that ship: they load, they are what they say, and a voice that went through them can be understood."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pystoi import stoi
from safetensors.torch import load_file, save_file

from sottovoce.models.checkpoint import load_codec, load_net
from sottovoce.models.config import MICRO, VOCODERS
from sottovoce.models.onnx_codec import OnnxCodec, build_codec
from sottovoce.models.streaming import in_chunks, whole
from sottovoce.models.weight_file import WEIGHTS, CheckpointError, default_path, read_metadata
from support.clip import speech

MEGABYTE = 1_000_000


def load_graphs(path: Path) -> OnnxCodec:
    """The codec in ``path``, with the vocoder that ships."""
    shutil.copy(default_path("base", "vocoder"), path.parent)
    return build_codec("base", path.parent)


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


def test_training_goes_on_from_the_shipped_books() -> None:
    """One step leaves them where they are but for a few per cent."""
    net = load_net(default_path("base", "codec")).train()
    before = [book.vectors.clone() for book in net.quantiser.books]
    net(whole(load_codec("base").mel, speech(24_000, 960)))
    for book, old in zip(net.quantiser.books, before, strict=True):
        assert 0 < float((book.vectors - old).norm() / old.norm()) < 0.1


@pytest.mark.parametrize("load", [load_net, load_graphs])
def test_what_does_not_fit_is_named(load: Callable[[Path], object], tmp_path: Path) -> None:
    path = default_path("base", "codec")
    tensors, metadata = load_file(path), read_metadata(path)
    first = sorted(tensors)[0]

    def refused(change: dict[str, torch.Tensor], words: str, notes: dict[str, str] = metadata) -> None:
        broken = default_path("base", "codec", tmp_path)
        save_file(change, broken, metadata=notes)
        with pytest.raises(CheckpointError, match=words):
            load(broken)

    refused({key: value for key, value in tensors.items() if key != first}, "missing")
    refused({**tensors, "other": torch.zeros(1)}, "unexpected")
    refused({**tensors, first: torch.zeros(7)}, "wrong shape")
    refused({**tensors, first: torch.full_like(tensors[first], float("nan"))}, "not finite")
    refused({**tensors, first: tensors[first].bfloat16()}, "bfloat16")
    refused({**tensors, first: tensors[first].int()}, "int32")
    refused(tensors, "not a codec", {**metadata, "part": "vocoder"})
    refused(tensors, "not a preset", {**metadata, "preset": "{}"})
    refused(tensors, "not a preset", {**metadata, "preset": "[]"})
    wrong = [
        ("mel", "rate_hz", -5),
        ("quantiser", "books", 200_000_000),
        ("trunk", "latent", 0),
        ("trunk", "kernel", "5"),
    ]
    wrong += [("mel", "hop", None), ("mel", "floor", "a"), ("quantiser", "metric", "far"), ("trunk", "expansion", 8192)]
    for part, key, value in wrong:
        preset = json.loads(metadata["preset"])
        preset[part][key] = value
        refused(tensors, f"{part}.{key} is {value}", {**metadata, "preset": json.dumps(preset)})
    for key, value in (("n_fft", 128), ("floor", -1.0)):
        preset = json.loads(metadata["preset"])
        preset["mel"][key] = value
        refused(tensors, "mel of 128 bands", {**metadata, "preset": json.dumps(preset)})
    shutil.copy(default_path("micro", "codec"), default_path("base", "codec", tmp_path))
    with pytest.raises(CheckpointError, match="holds 'micro', not 'base'"):
        load_codec("base", tmp_path)
    default_path("base", "codec", tmp_path).write_text("no weights")
    with pytest.raises(CheckpointError, match="not a readable weight file"):
        load(default_path("base", "codec", tmp_path))
    with pytest.raises(CheckpointError, match="no preset"):
        load_codec("nonsense")


def test_graphs_are_the_codecs_whatever_codec_the_vocoder_was_trained_on(tmp_path: Path) -> None:
    shutil.copy(default_path("micro", "codec"), tmp_path)
    path = default_path("micro", "vocoder")
    preset = json.loads(read_metadata(path)["preset"])
    preset["name"], preset["quantiser"]["book_size"], preset["quantiser"]["books"] = "other", 1024, 1
    notes = {**read_metadata(path), "preset": json.dumps(preset)}
    save_file(load_file(path), default_path("micro", "vocoder", tmp_path), metadata=notes)
    assert build_codec("micro", tmp_path).preset == build_codec("micro").preset


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernels": [17, 16, 4, 4]}, "kernel 17 is neither stride 8 nor twice that"),
        ({"kernels": [16, 16, 4]}, "do not cover"),
        ({"kernels": [7, 16, 4, 4]}, "do not cover"),
        ({"mrf_kernels": []}, "128 channels"),
        ({"channels": 8}, "8 channels"),
        ({"rates": [8.0, 8, 2, 2]}, "vocoder.rates"),
    ],
)
def test_vocoders_that_cannot_be_are_named(change: dict[str, object], words: str, tmp_path: Path) -> None:
    shutil.copy(default_path("micro", "codec"), tmp_path)
    shape = VOCODERS["micro"]["hifigan"]
    preset = dataclasses.replace(MICRO, vocoder=shape)
    saved = json.loads(preset.to_json())
    saved["vocoder"] |= change
    tensors = {"stages.0.up.conv.weight": torch.zeros(128, 64, 17)} if change.get("kernels") == [17, 16, 4, 4] else {}
    tensors |= {"enter.conv.weight": torch.zeros(128, 128, 7), "enter.conv.bias": torch.zeros(128)}
    save_file(tensors, default_path("micro", "vocoder", tmp_path), {"preset": json.dumps(saved), "part": "vocoder"})
    with pytest.raises(CheckpointError, match=words):
        build_codec("micro", tmp_path)
