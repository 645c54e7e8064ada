"""Weights on disk: safetensors, float16, with everything needed to rebuild and to judge them in the metadata.

One file holds one module: ``<preset>-codec.safetensors`` or ``<preset>-vocoder.safetensors``.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from .codec import Codec, MelCodec
from .config import PRESETS, Preset
from .griffin_lim import StreamingGriffinLim
from .streaming import Streaming
from .vocoder import Vocoder, make_vocoder

WEIGHTS = Path(__file__).parent / "weights"
Part = Literal["codec", "vocoder"]
VocoderChoice = Literal["neural", "griffin-lim"]


class CheckpointError(Exception):
    """A weight file is missing, unreadable, or does not fit the model that loads it."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.path, self.detail = path, detail


def default_path(preset: str, part: Part, folder: Path = WEIGHTS) -> Path:
    """Where the weights that ship with the package lie."""
    return folder / f"{preset}-{part}.safetensors"


def save(path: Path, module: nn.Module, preset: Preset, part: Part, notes: Mapping[str, str]) -> None:
    """Write ``module`` in float16 (counters and such as they are), with ``notes`` (command, data, figures) beside it."""
    tensors = {
        key: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in module.state_dict().items()
        if not key.endswith((".counts", ".sums"))  # the books' training memory
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"preset": preset.to_json(), "part": part, **notes})
    partial.chmod(0o644)
    partial.replace(path)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a weight file.

    Raises:
        CheckpointError: there is no such file, or it is not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(path, f"not a readable weight file ({error})") from error


def model_hash(net: MelCodec) -> str:
    """12 hex digits that name what the codes mean: shape and weights of encoder, books and decoder, whatever vocoder plays."""
    shape = {name: value for name, value in dataclasses.asdict(net.preset).items() if name != "vocoder"}
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for key, value in sorted(net.state_dict().items()):
        if not key.endswith((".counts", ".sums")):
            digest.update(key.encode())
            digest.update(value.half().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def _load(path: Path, part: Part) -> tuple[Preset, nn.Module]:
    metadata = read_metadata(path)
    if metadata.get("part") != part:
        raise CheckpointError(path, f"holds {metadata.get('part', 'something else')!r}, not a {part}")
    try:
        preset = Preset.from_json(metadata.get("preset", ""))
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error
    module: nn.Module = MelCodec(preset) if part == "codec" else make_vocoder(preset)
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()}
    own = module.state_dict()
    expected = {key for key in own if not key.endswith((".counts", ".sums"))}
    missing, unexpected = sorted(expected - tensors.keys()), sorted(tensors.keys() - expected)
    shapes = [key for key in expected & tensors.keys() if own[key].shape != tensors[key].shape]
    if missing or unexpected or shapes:
        raise CheckpointError(path, f"missing {missing[:3]}, unexpected {unexpected[:3]}, wrong shape {shapes[:3]}")
    bad = [key for key, value in tensors.items() if not torch.isfinite(value).all()]
    if bad:
        raise CheckpointError(path, f"not finite: {bad[:3]}")
    module.load_state_dict(tensors, strict=False)
    return preset, module.eval().requires_grad_(False)


def load_net(path: Path) -> MelCodec:
    """The mel codec of a weight file, ready to run.

    Raises:
        CheckpointError: see the class.
    """
    net = _load(path, "codec")[1]
    assert isinstance(net, MelCodec)
    return net


def load_vocoder(path: Path, preset: Preset) -> Vocoder:
    """The vocoder of a weight file, checked to hear the same mel as ``preset``.

    Raises:
        CheckpointError: see the class.
    """
    own, vocoder = _load(path, "vocoder")
    if own.mel != preset.mel:
        raise CheckpointError(path, f"a vocoder for {own.mel}, the codec speaks {preset.mel}")
    assert isinstance(vocoder, Vocoder)
    return vocoder


def load_codec(preset: str = "base", folder: Path = WEIGHTS, vocoder: VocoderChoice | None = None) -> Codec:
    """The complete codec of a preset from ``folder``.

    Args:
        vocoder: ``neural``, ``griffin-lim``, or None for neural where its weights are there.

    Raises:
        CheckpointError: see the class.
    """
    if preset not in PRESETS:
        raise CheckpointError(folder, f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    net = load_net(default_path(preset, "codec", folder))
    if net.preset.name != preset:
        raise CheckpointError(default_path(preset, "codec", folder), f"holds {net.preset.name!r}, not {preset!r}")
    path = default_path(preset, "vocoder", folder)
    sound: Streaming
    if vocoder == "neural" or (vocoder is None and path.exists()):
        sound = load_vocoder(path, net.preset)
    else:
        sound = StreamingGriffinLim(net.preset.mel).eval()
    return Codec(net, sound, model_hash(net))
