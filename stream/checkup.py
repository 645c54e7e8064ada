"""Looks at a folder of weight files and says what is wrong with them, without torch.

What is looked for in a talker is in ``models/talker_checks.py``. Codec and vocoder are built and run on a few frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from sottovoce.models.alignment import conditions
from sottovoce.models.config import Preset
from sottovoce.models.onnx_codec import OnnxCodec, build_codec
from sottovoce.models.onnx_talker import OnnxTalker, build_talker
from sottovoce.models.talker_checks import KNOWN, LAGS, Finding, Known, Logits, Predict, belongs, fits, listens
from sottovoce.models.talker_config import TALKERS, TalkerConfig
from sottovoce.models.weight_file import (
    WEIGHTS,
    CheckpointError,
    check_same_mel,
    default_path,
    model_hash,
    read,
    read_metadata,
)

from .engine import Work
from .errors import WeightsError
from .onnx_engine import OnnxEngine

__all__ = ["WEIGHTS", "Finding", "examine"]
CERTAIN = 1e9
"""Noise that leaves no choice."""
FRAMES = 8


def examine(folder: Path) -> Iterator[tuple[str, Finding]]:
    """Name of a file, and something that was looked at in it; file by file, as soon as it is known.

    Raises WeightsError: there is no folder, or no weight file of ours in it.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder} is not a folder; give one that holds weight files")
    names = sorted(path.name.rsplit("-", 1)[0] for path in folder.glob("*-codec.safetensors"))
    talkers = sorted(folder.glob("*-talker.safetensors"))
    if not (names or talkers or any(folder.glob("*-vocoder.safetensors"))):
        raise WeightsError(f"{folder} holds no weight files; they end with -codec, -vocoder or -talker.safetensors")
    seen = set()
    for name in names:
        yield from _codec(folder, name)
        talker = _talker_path(folder, name)
        if talker.exists():
            seen.add(talker)
            yield from _talker(folder, name, talker)
        else:
            yield talker.name, Finding("file", True, "there is none; nothing here speaks a text")
    for path in sorted(folder.glob("*-vocoder.safetensors")):
        if path.name.rsplit("-", 1)[0] not in names:
            yield path.name, _alone(path)
    for path in talkers:
        if path not in seen:
            yield path.name, _stray(folder, path, names)


def _talker_path(folder: Path, codec: str) -> Path:
    names = [config.name for config in TALKERS.values() if config.codec == codec] or [codec]
    return default_path(names[0], "talker", folder)


def _stray(folder: Path, path: Path, codecs: Sequence[str]) -> Finding:
    """A talker whose name is not that of a codec in the folder: its own words say whose it is."""
    try:
        codec = TalkerConfig.from_json(read_metadata(path).get("preset", "")).codec
    except CheckpointError as error:
        return Finding("file", False, error.detail)
    except ValueError as error:
        return Finding("file", False, f"what it says of itself is damaged ({error})")
    if codec not in codecs:
        return Finding("codec", False, f"the codec {codec!r} that it belongs to is not in the folder")
    right = _talker_path(folder, codec).name
    beside = ", where there is another one already" if (folder / right).exists() else ""
    return Finding("name", False, f"it speaks the codec {codec!r} and is looked for as {right}{beside}; rename it")


def _alone(path: Path) -> Finding:
    return Finding("codec", False, "the codec that it belongs to is not in the folder")


def _codec(folder: Path, name: str) -> Iterator[tuple[str, Finding]]:
    codec_path, vocoder_path = (default_path(name, part, folder) for part in ("codec", "vocoder"))
    try:
        preset, tensors = read(codec_path, "codec")
    except CheckpointError as error:
        yield codec_path.name, Finding("file", False, error.detail)
        return
    told = (
        f"{preset.books} books of {preset.book_size} codes, {1000 * preset.frame_samples / preset.rate_hz:g} ms a frame"
    )
    right = preset.name == name
    yield codec_path.name, Finding("file", right, told if right else f"holds the codec {preset.name!r}, not {name!r}")
    if not right:
        return
    yield codec_path.name, Finding("hash", True, model_hash(preset, tensors))
    if not vocoder_path.exists():
        yield vocoder_path.name, Finding("file", True, "there is none; sound is made by Griffin-Lim, on torch")
        return
    try:
        vocoder, _ = read(vocoder_path, "vocoder")
        yield vocoder_path.name, Finding("file", True, f"{type(vocoder.vocoder).__name__} at {vocoder.rate_hz} Hz")
        check_same_mel(vocoder_path, vocoder, preset)
        yield (
            vocoder_path.name,
            Finding("mel", True, f"that of the codec: {preset.n_mels} bands, a hop of {preset.mel.hop}"),
        )
    except CheckpointError as error:
        yield vocoder_path.name, Finding("mel" if "a vocoder for" in error.detail else "file", False, error.detail)
        return
    try:
        codec = build_codec(name, folder)
    except CheckpointError as error:
        yield error.path.name, Finding("weights", False, error.detail)
        return
    yield codec_path.name, _runs(codec)


def _runs(codec: OnnxCodec) -> Finding:
    """Sound through all of it, and whether what comes out depends on what went in."""
    engine = OnnxEngine(codec=codec)
    row = engine.open()
    shape = engine.descriptor
    random = np.random.default_rng(0)
    data: Any = random.normal(0, 0.1, FRAMES * shape.frame_samples).astype(np.float32)
    try:
        for kind in ("mel", "encode"):
            (data,) = engine.step([Work(row, kind, data, 0.0)])
        (mel,) = engine.step([Work(row, "decode", data, 0.0)])
        other = ((data.astype(np.int64) + shape.book_size // 2) % shape.book_size).astype(np.int16)
        (changed,) = engine.step([Work(row, "decode", other, 0.0, fresh=True)])
        (pcm,) = engine.step([Work(row, "vocode", mel, 0.0)])
    except ValueError as error:
        return Finding("runs", False, str(error))
    if not (np.isfinite(mel).all() and np.isfinite(pcm).all()):
        return Finding("runs", False, "what it makes is not finite")
    if np.abs(mel - changed).max() < 1e-3:
        return Finding("runs", False, "other codes decode to the same mel")
    return Finding("runs", True, f"{FRAMES} frames from sound to sound")


def _talker(folder: Path, codec_name: str, path: Path) -> Iterator[tuple[str, Finding]]:
    def found(finding: Finding) -> tuple[str, Finding]:
        return path.name, finding

    try:
        metadata = read_metadata(path)
        config = TalkerConfig.from_json(metadata.get("preset", ""))
    except CheckpointError as error:
        yield found(Finding("file", False, error.detail))
        return
    except ValueError as error:
        yield found(Finding("file", False, f"what it says of itself is damaged ({error})"))
        return
    try:
        codec, tensors = read(default_path(codec_name, "codec", folder), "codec")
    except CheckpointError:
        yield found(Finding("codec", False, "its codec cannot be read"))
        return
    try:
        vocoder = read(default_path(codec_name, "vocoder", folder), "vocoder")[0]
    except CheckpointError:
        vocoder = codec  # told of above, or there is none
    head = [*fits(config, codec, vocoder), *belongs(metadata, model_hash(codec, tensors))]
    yield from map(found, head)
    if not all(one.good for one in head):
        return
    try:
        talker = build_talker(path, codec, metadata["model_hash"])
    except CheckpointError as error:
        yield found(Finding("weights", False, error.detail))
        return
    voices = ", ".join(f"{voice.name} ({voice.sex}, {voice.language})" for voice in talker.about.voices)
    yield found(Finding("voices", True, voices))
    try:
        known = Known.from_text(metadata[KNOWN])
        _check(known, talker, codec)
    except KeyError:
        detail = "carries no utterance to be judged by, so nobody can tell whether it listens; train it with ours"
        yield found(Finding("known utterance", False, detail))
        return
    except ValueError as error:
        yield found(Finding("known utterance", False, str(error)))
        return
    yield from map(found, listens(predictor(talker), [known], config.mels_per_frame))


def _check(known: Known, talker: OnnxTalker, codec: Preset) -> None:
    """Raises ValueError: not an utterance of this talker."""
    config = talker.about.config
    n_frames = -(-int(known.slots.sum()) // config.mels_per_frame)
    if not (
        known.codes.shape == (n_frames, config.books)
        and n_frames > 2 * max(LAGS)
        and len(known.symbols) == len(known.slots)
        and known.codes.max() < codec.book_size
        and known.symbols.max() < config.symbols
        and 0 <= known.voice < config.voices
    ):
        raise ValueError("not an utterance that this talker could say")


def predictor(talker: OnnxTalker) -> Predict:
    """Teacher forcing through the ONNX graphs, frame by frame: each code is chosen by noise that leaves no choice."""
    config = talker.about.config
    clause, frame, write = (_runner(graph) for graph in (talker.clause, talker.frame, talker.write))

    def predict(known: Known) -> Logits:
        voice = np.array([known.voice])
        (encodings, _) = clause({"symbols": known.symbols[None], "voice": voice})
        told = conditions(encodings[0], known.slots, config.mels_per_frame)
        previous = np.full((1, config.books), config.start_code, np.int64)
        states: dict[str, Any] = {}
        logits = []
        for condition, codes in zip(told, known.codes, strict=True):
            hidden, *following = frame({"previous": previous, "condition": condition[None], "voice": voice, **states})
            states = {f"past{i}": state for i, state in enumerate(following)}
            noise = np.zeros((1, *config.frame_shape), np.float32)
            np.put_along_axis(noise, codes[None, :, None], CERTAIN, 2)
            logits.append(write({"hidden": hidden, "noise": noise, "top_k": np.array([config.book_size])})[1][0])
            previous = codes[None]
        return np.stack(logits)

    return predict


def _runner(graph: Any) -> Callable[[dict[str, Any]], list[Any]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fresh = {
        one.name: np.zeros((1, *one.shape[1:]), np.float32)
        for one in session.get_inputs()
        if one.name.startswith("past")
    }
    outputs = [one.name for one in session.get_outputs()]
    names = [name for name in outputs if not name.startswith("next")] + [
        name.replace("past", "next") for name in sorted(fresh, key=lambda name: int(name[4:]))
    ]

    def run(inputs: dict[str, Any]) -> list[Any]:
        found: list[Any] = session.run(names, {**fresh, **inputs})
        return found

    return run
