"""Which engine does the work. Torch is imported only here, only through `sottovoce.stream`, and only when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.engine import EchoEngine, Engine
from sottovoce.stream.errors import UsageError, WeightsError

Vocoder = Literal["neural", "griffin-lim"]
VOCODERS: tuple[Vocoder, ...] = get_args(Vocoder)
PRESETS = ("base", "micro")
ECHO = "echo"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a person may choose of the engine."""

    preset: str = "base"
    vocoder: Vocoder | None = None
    "None: neural where its weights are there."
    threads: int = 1
    weights: Path | None = None
    "Folder of the weights; None: those of the package."


def make_engine(options: EngineOptions, rows: int = 1) -> Engine:
    """The engine of a preset, ready to step; ``echo`` needs neither torch nor weights.

    Raises:
        WeightsError: torch, or the weights, are not there, or they do not fit.
        UsageError: there is no such preset.
    """
    if options.preset == ECHO:
        return EchoEngine(rows)
    if options.preset not in PRESETS:
        raise UsageError(f"there is no preset {options.preset!r}; choose one of {', '.join(PRESETS)}")
    try:
        from sottovoce.stream.torch_engine import TorchEngine
    except ImportError as error:
        raise WeightsError(f"PyTorch is missing ({error}); pip install 'sottovoce[engine]'") from error
    return TorchEngine(options.preset, rows, options.threads, options.vocoder, options.weights)


def check_books(books: int | None, descriptor: Descriptor) -> None:
    """Raises UsageError: the codec does not have that many books."""
    if books is not None and not 1 <= books <= descriptor.books:
        raise UsageError(f"--books must be 1 to {descriptor.books} for {descriptor.preset}, not {books}")
