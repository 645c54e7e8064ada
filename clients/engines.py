"""Which engine does the work. What runs the models is imported only here, only through `sottovoce.stream`, and only when
asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from sottovoce.stream.batch_engine import has_vocoder
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.engine import EchoEngine, Engine
from sottovoce.stream.errors import UsageError, WeightsError

Backend = Literal["onnx", "torch"]
Vocoder = Literal["neural", "griffin-lim"]
Dtype = Literal["float32", "int8", "float16", "bfloat16"]
VOCODERS: tuple[Vocoder, ...] = get_args(Vocoder)
PRESETS = ("base", "micro")
ECHO = "echo"
PACKAGES: dict[Backend, tuple[str, ...]] = {"onnx": ("onnxruntime", "onnx"), "torch": ("torch",)}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a person may choose of the engine."""

    preset: str = "base"
    backend: Backend | None = None
    "None: see `choose_backend`."
    vocoder: Vocoder | None = None
    "None: neural where its weights are there."
    threads: int = 1
    weights: Path | None = None
    "Folder of the weights; None: those of the package."
    dtype: Dtype = "float32"
    "Of decoder and vocoder; codes are made in float32 whatever it is."
    device: str = "cpu"
    "cpu, or a GPU: cuda, cuda:1 and so on."


def make_engine(options: EngineOptions, rows: int = 1) -> Engine:
    """The engine of a preset, ready to step; ``echo`` needs no weights, and nothing to run them.

    Raises:
        WeightsError: what runs the models, or the weights, are not there, or they do not fit.
        UsageError: there is no such preset, or the backend cannot do what is asked for.
    """
    if options.preset == ECHO:
        return EchoEngine(rows)
    if options.preset not in PRESETS:
        raise UsageError(f"there is no preset {options.preset!r}; choose one of {', '.join(PRESETS)}")
    backend = choose_backend(options)
    if backend == "onnx" and options.vocoder == "griffin-lim":
        raise UsageError("Griffin-Lim runs on torch alone: leave out --backend onnx, or --vocoder griffin-lim")
    preset, threads, weights, dtype = options.preset, options.threads, options.weights, options.dtype
    try:
        if backend == "onnx":
            if dtype == "float16" or dtype == "bfloat16":
                raise UsageError(f"{dtype} runs on torch alone: add --backend torch or --device cuda")
            if options.device != "cpu":
                raise UsageError(
                    f"ONNX Runtime runs on the processor here: leave out --backend onnx for {options.device}"
                )
            from sottovoce.stream.onnx_engine import OnnxEngine

            return OnnxEngine(preset, rows, threads, weights, dtype)
        if dtype == "int8":
            raise UsageError("int8 runs on ONNX Runtime alone: leave out --dtype, or what needs torch")
        from sottovoce.stream.torch_engine import TorchEngine

        return TorchEngine(preset, rows, threads, options.vocoder, weights, options.device, dtype)
    except ImportError as error:
        raise WeightsError(f"the backend {backend} is installed but does not load: {error}") from error


def choose_backend(options: EngineOptions) -> Backend:
    """``onnx`` where it is installed and there is a neural vocoder to run on the processor: it is faster. Else ``torch``.

    Raises:
        WeightsError: what is asked for, or needed, is not installed.
    """
    have = {backend for backend, packages in PACKAGES.items() if all(find_spec(package) for package in packages)}
    needs_torch = options.vocoder == "griffin-lim" or options.device != "cpu"
    if options.vocoder is None and not has_vocoder(options.preset, options.weights):
        if options.weights is not None and not options.weights.is_dir():
            raise WeightsError(f"there is no folder {options.weights}")
        if have == {"onnx"}:
            raise WeightsError(f"no vocoder for {options.preset}, and Griffin-Lim needs pip install 'sottovoce[torch]'")
        needs_torch = True
    chosen = options.backend or ("torch" if needs_torch or have == {"torch"} else "onnx")
    if chosen not in have:
        extra = "engine" if chosen == "onnx" else "torch"
        raise WeightsError(
            f"{' and '.join(PACKAGES[chosen])} must be installed for this: pip install 'sottovoce[{extra}]'"
        )
    return chosen


def check_books(books: int | None, descriptor: Descriptor) -> None:
    """Raises UsageError: the codec does not have that many books."""
    if books is not None and not 1 <= books <= descriptor.books:
        raise UsageError(f"--books must be 1 to {descriptor.books} for {descriptor.preset}, not {books}")
