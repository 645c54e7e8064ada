"""Weight files as numpy sees them: safetensors, float16, with everything needed to rebuild and to judge them beside it.

One file holds one module: ``<preset>-codec.safetensors``, ``<preset>-vocoder.safetensors``, or ``<preset>-talker.safetensors``
(see ``talker_file.py``).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from .config import PRESETS, Preset

WEIGHTS = Path(__file__).parent / "weights"
Part = Literal["codec", "vocoder", "talker"]
Tensors = dict[str, NDArray[Any]]
MEMORY = (".counts", ".sums")  # the books' training memory, which no file holds


class CheckpointError(Exception):
    """A weight file is missing, unreadable, or does not fit the model that loads it."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.path, self.detail = path, detail


def default_path(preset: str, part: Part, folder: Path = WEIGHTS) -> Path:
    """Where the weights that ship with the package lie."""
    return folder / f"{preset}-{part}.safetensors"


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a weight file.

    Raises:
        CheckpointError: there is no such file, or it is not safetensors.
    """
    try:
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(path, f"not a readable weight file ({error})") from error


def read(path: Path, part: Part) -> tuple[Preset, Tensors]:
    """Preset and tensors of a weight file; floating point ones as float32.

    Raises:
        CheckpointError: it is not readable, holds another part, or numbers of another kind or that are not finite.
    """
    metadata = read_metadata(path)
    check_part(path, metadata, part)
    try:
        preset = Preset.from_json(metadata.get("preset", ""))
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error
    return preset, read_tensors(path)


def check_part(path: Path, metadata: Mapping[str, str], part: Part) -> None:
    """Raises CheckpointError: the file holds another part."""
    if metadata.get("part") != part:
        raise CheckpointError(path, f"holds {metadata.get('part', 'something else')!r}, not a {part}")


def read_tensors(path: Path) -> Tensors:
    """Tensors of a weight file, floating point ones as float32.

    Raises:
        CheckpointError: it is not readable, or holds numbers of another kind or that are not finite.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError, TypeError) as error:  # TypeError: numbers that numpy does not know
        raise CheckpointError(path, f"not readable ({error})") from error
    foreign = [f"{key} ({value.dtype})" for key, value in found.items() if value.dtype.kind not in "fb"]
    if foreign:
        raise CheckpointError(path, f"not floating point: {foreign[:3]}")
    tensors = {key: value.astype(np.float32) if value.dtype.kind == "f" else value for key, value in found.items()}
    bad = [key for key, value in tensors.items() if not np.isfinite(value).all()]
    if bad:
        raise CheckpointError(path, f"not finite: {bad[:3]}")
    return tensors


def read_preset(name: str, folder: Path = WEIGHTS) -> tuple[Preset, Tensors]:
    """The codec of the preset ``name`` from ``folder``.

    Raises:
        CheckpointError: see ``read``; or there is no such preset, or the file holds another.
    """
    if name not in PRESETS:
        raise CheckpointError(folder, f"no preset {name!r}; there are {', '.join(PRESETS)}")
    path = default_path(name, "codec", folder)
    preset, tensors = read(path, "codec")
    if preset.name != name:
        raise CheckpointError(path, f"holds {preset.name!r}, not {name!r}")
    return preset, tensors


def check_same_mel(path: Path, vocoder: Preset, codec: Preset) -> None:
    """Raises CheckpointError: the vocoder in ``path`` hears another mel than the codec speaks."""
    if vocoder.mel != codec.mel:
        raise CheckpointError(path, f"a vocoder for {vocoder.mel}, the codec speaks {codec.mel}")


def check_names(path: Path, tensors: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises CheckpointError: the file lacks a tensor, has one too many, or one of another shape than ``expected``."""
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    shapes = [key for key in expected.keys() & tensors.keys() if tuple(tensors[key].shape) != expected[key]]
    if missing or unexpected or shapes:
        raise CheckpointError(path, f"missing {missing[:3]}, unexpected {unexpected[:3]}, wrong shape {shapes[:3]}")


def model_hash(preset: Preset, tensors: Mapping[str, NDArray[Any]]) -> str:
    """12 hex digits that name what the codes mean: shape and weights of encoder, books and decoder, whatever vocoder plays."""
    shape = {name: value for name, value in dataclasses.asdict(preset).items() if name != "vocoder"}
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for key, value in sorted(tensors.items()):
        if not key.endswith(MEMORY):
            digest.update(key.encode())
            digest.update(value.astype(np.float16).tobytes())
    return digest.hexdigest()[:12]
