"""Torch modules to and from weight files (see ``weight_file.py``)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import nn

from .codec import Codec, MelCodec
from .config import Preset
from .griffin_lim import StreamingGriffinLim
from .rvq import Book
from .streaming import Streaming
from .talker import Talker
from .talker_file import TalkerAbout, Voice, read_talker
from .vocoder import Vocoder, make_vocoder
from .weight_file import (
    MEMORY,
    WEIGHTS,
    Part,
    Tensors,
    check_names,
    check_same_mel,
    default_path,
    model_hash,
    read,
    read_preset,
)

VocoderChoice = Literal["neural", "griffin-lim"]


def save(path: Path, module: nn.Module, preset: Preset, part: Part, notes: Mapping[str, str]) -> None:
    """Write ``module`` in float16 (counters and such as they are), with ``notes`` (command, data, figures) beside it."""
    _write(path, module, {"preset": preset.to_json(), "part": part, **notes})


def save_talker(path: Path, talker: Talker, voices: Sequence[Voice], model_hash: str, notes: Mapping[str, str]) -> None:
    """Write ``talker`` like ``save``, with its voices, by number, and the hash of the codec whose codes it learned.

    Raises:
        ValueError: there are not as many voices as it has, two have one name, or there is no hash.
    """
    about = TalkerAbout(talker.config, tuple(voices), model_hash)
    _write(path, talker, {**notes, **about.to_metadata()})


def _write(path: Path, module: nn.Module, metadata: dict[str, str]) -> None:
    tensors = {
        key: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in module.state_dict().items()
        if not key.endswith(MEMORY)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=metadata)
    partial.chmod(0o644)
    partial.replace(path)


def _build(path: Path, part: Part, preset: Preset, tensors: Tensors) -> nn.Module:
    return _fill(path, MelCodec(preset) if part == "codec" else make_vocoder(preset), tensors)


def _fill(path: Path, module: nn.Module, tensors: Tensors) -> nn.Module:
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items() if not key.endswith(MEMORY)}
    check_names(path, tensors, expected)
    module.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()}, strict=False)
    for part_of in module.modules():
        if isinstance(part_of, Book):
            part_of.remember()
    return module.eval().requires_grad_(False)


def load_net(path: Path) -> MelCodec:
    """The mel codec of a weight file, ready to run.

    Raises:
        CheckpointError: see the class.
    """
    net = _build(path, "codec", *read(path, "codec"))
    assert isinstance(net, MelCodec)
    return net


def load_vocoder(path: Path, preset: Preset) -> Vocoder:
    """The vocoder of a weight file, checked to hear the same mel as ``preset``.

    Raises:
        CheckpointError: see the class.
    """
    own, tensors = read(path, "vocoder")
    check_same_mel(path, own, preset)
    vocoder = _build(path, "vocoder", own, tensors)
    assert isinstance(vocoder, Vocoder)
    return vocoder


def load_codec(preset: str = "base", folder: Path = WEIGHTS, vocoder: VocoderChoice | None = None) -> Codec:
    """The complete codec of a preset from ``folder``.

    Args:
        vocoder: ``neural``, ``griffin-lim``, or None for neural where its weights are there.

    Raises:
        CheckpointError: see the class.
    """
    own, tensors = read_preset(preset, folder)
    net = _build(default_path(preset, "codec", folder), "codec", own, tensors)
    assert isinstance(net, MelCodec)
    path = default_path(preset, "vocoder", folder)
    sound: Streaming
    if vocoder == "neural" or (vocoder is None and path.exists()):
        sound = load_vocoder(path, own)
    else:
        sound = StreamingGriffinLim(own.mel).eval()
    return Codec(net, sound, model_hash(own, tensors))


def load_talker(path: Path, codec: Preset, model_hash: str) -> tuple[Talker, TalkerAbout]:
    """The talker of a weight file, ready to run, and its voices; checked to speak the codec of that preset and hash.

    Raises:
        CheckpointError: see the class.
    """
    about, tensors = read_talker(path, codec, model_hash)
    talker = _fill(path, Talker(about.config), tensors)
    assert isinstance(talker, Talker)
    return talker, about
