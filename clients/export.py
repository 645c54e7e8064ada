"""``sottovoce export``: the models as ONNX files, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sottovoce.stream.errors import SottovoceError, UsageError, WeightsError

from .atomic import replacing, writing
from .engines import PRESETS
from .pipes import say


def export(folder: Path, preset: str, weights: Path | None, dtype: Literal["float32", "int8"]) -> None:
    """Write the files into ``folder`` and print a line for each.

    Raises:
        UsageError: there is no such preset.
        WeightsError: weights, or what reads them, are missing.
        SottovoceError: a file cannot be written.
    """
    if preset not in PRESETS:
        raise UsageError(f"there is no preset {preset!r}; choose one of {', '.join(PRESETS)}")
    try:
        from sottovoce.stream.onnx_files import onnx_files
    except ModuleNotFoundError as error:
        raise WeightsError(f"{error.name} must be installed for this: pip install 'sottovoce[engine]'") from error
    files = onnx_files(preset, weights, dtype)
    with writing(folder, SottovoceError):
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with replacing(folder / name, SottovoceError) as path, writing(folder / name, SottovoceError):
            path.write_bytes(content)
        say(f"{folder / name}: {len(content) / 1e6:.1f} MB" if name.endswith(".onnx") else str(folder / name))
