"""The models as ONNX files and a manifest: what another program, or a page, needs to run them with ONNX Runtime alone.

``manifest.json`` has the codec's descriptor and, for every file, its inputs, outputs and states with their types and shapes;
"batch" and "symbols" are lengths that a caller chooses. A state is zeros before the first step; what a step gives as ``nextN``
is the ``pastN`` of the next one. The front end and the inverse STFT are arithmetic on constants that the manifest names.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from sottovoce.models.config import STFT_OVERLAP, Preset, VocosConfig
from sottovoce.models.onnx_codec import build_codec
from sottovoce.models.onnx_graph import Dtype
from sottovoce.models.onnx_talker import build_talker
from sottovoce.models.symbols import SYMBOLS
from sottovoce.models.weight_file import WEIGHTS, CheckpointError

from .batch_engine import describe
from .errors import WeightsError
from .talk_engine import talker_path

MANIFEST = "manifest.json"
_TYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT64: "int64"}


def onnx_files(preset: str, weights: Path | None, dtype: Dtype) -> dict[str, bytes]:
    """File names and contents; the talker's files where there is one for the codec.

    Raises:
        WeightsError: the weights are missing, unreadable or do not fit.
    """
    folder = WEIGHTS if weights is None else weights
    try:
        codec = build_codec(preset, folder, dtype)
        graphs = {"encode": codec.encode, "decode": codec.decode, "vocode": codec.vocode}
        about: dict[str, Any] = {
            "codec": asdict(describe(codec.preset, codec.model_hash, codec.preset.mel.n_fft // 2)),
            "dtype": dtype,
            "front_end": _front_end(codec.preset),
        }
        path = _talker(preset, weights)
        if path is not None:
            talker = build_talker(path, codec.preset, codec.model_hash)
            graphs |= {"clause": talker.clause, "frame": talker.frame, "write": talker.write}
            about["talker"] = {
                "symbols": list(SYMBOLS),
                "start_code": talker.about.config.start_code,
                "voices": [voice.name for voice in talker.about.voices],
            }
    except CheckpointError as error:
        raise WeightsError(f"cannot load the weights of {preset}: {error}") from error
    about["graphs"] = {name: {"file": f"{name}.onnx", **_ends(graph)} for name, graph in graphs.items()}
    files = {f"{name}.onnx": graph.SerializeToString() for name, graph in graphs.items()}
    return {**files, MANIFEST: json.dumps(about, indent=1, ensure_ascii=False).encode() + b"\n"}


def _talker(preset: str, weights: Path | None) -> Path | None:
    try:
        return talker_path(preset, weights)
    except WeightsError:
        return None


def _front_end(preset: Preset) -> dict[str, Any]:
    """Log-mel: magnitudes of a Hann window, Slaney's bands, the natural logarithm; and how ``vocode`` ends."""
    sound: dict[str, Any] = {"output": "pcm"}
    if isinstance(preset.vocoder, VocosConfig):
        sound = {"output": "spectra", "window": "hann", "n_fft": STFT_OVERLAP * preset.mel.hop, "hop": preset.mel.hop}
    return {"mel": {**asdict(preset.mel), "window": "hann", "bands": "slaney"}, "vocode": sound}


def _ends(graph: onnx.ModelProto) -> dict[str, Any]:
    inputs, outputs = [_values(values) for values in (graph.graph.input, graph.graph.output)]
    return {
        "inputs": {name: value for name, value in inputs.items() if not name.startswith("past")},
        "outputs": {name: value for name, value in outputs.items() if not name.startswith("next")},
        "states": {name: value for name, value in inputs.items() if name.startswith("past")},
    }


def _values(values: Any) -> dict[str, Any]:
    found = {}
    for value in values:
        kind = value.type.tensor_type
        shape = [size.dim_param or size.dim_value for size in kind.shape.dim]
        found[value.name] = {"type": _TYPES[kind.elem_type], "shape": shape}
    return found
