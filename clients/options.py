"""The options that commands have in common, and what a value on the command line may be."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engines import EngineOptions


MOST_ROWS = 8192
"""Of an engine: the states of a million streams fill any memory, and the system then ends whatever it likes."""


def add_engine(parser: ArgumentParser, preset: bool = True) -> None:
    """What is said about engine and weights; without ``preset`` where a file names it."""
    if preset:
        parser.add_argument("--preset", default="base", help="codec: base (default) or micro")
    parser.add_argument("--backend", choices=("onnx", "torch", "echo") if preset else ("onnx", "torch"), metavar="{onnx,torch}",
                        help="what runs the models; default: onnx where it is installed and fits")  # fmt: skip
    parser.add_argument("--vocoder", choices=("neural", "griffin-lim"), help="default: neural where it has weights")
    parser.add_argument("--weights", type=path, metavar="DIR", help="folder of the weights; default: our own")
    parser.add_argument("--device", default="cpu", metavar="{cpu,cuda,cuda:N}",
                        help="where the models run; a GPU needs a torch with CUDA")  # fmt: skip
    parser.add_argument("--dtype", choices=("float32", "int8", "float16", "bfloat16"), default="float32",
                        help="of decoder and vocoder; int8 is faster with VNNI, the 16 bits on a GPU")  # fmt: skip
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="for the models; default 1")


def engine_options(arguments: Namespace) -> EngineOptions:
    """What `add_engine` has asked for."""
    from .engines import ECHO, EngineOptions

    preset = getattr(arguments, "preset", "base")  # decode takes the one that the file names
    echo = arguments.backend == ECHO
    return EngineOptions(
        preset=ECHO if echo else preset,
        backend=None if echo else arguments.backend,
        vocoder=arguments.vocoder,
        threads=arguments.threads,
        weights=arguments.weights,
        dtype=arguments.dtype,
        device=arguments.device,
    )


def port(text: str) -> int:
    """Of this machine."""
    return int(checked(text, lambda value: 0 <= value <= 65535 and value == int(value), "a port from 0 to 65535"))


def file_name(text: str) -> str:
    """Or ``-``."""
    if not text:
        raise ArgumentTypeError("the name is empty")
    return text


def path(text: str) -> Path:
    """Of a file or folder."""
    return Path(file_name(text))


def count(text: str) -> int:
    """From 1."""
    return int(checked(text, lambda value: value >= 1 and value == int(value), "a whole number from 1"))


def threads(text: str) -> int:
    """As many as there are processors at most."""
    return whole(text, 1, os.cpu_count() or 1)  # PyTorch crashes on thousands, and with it whatever else needs a thread


def rows(text: str) -> int:
    """Streams that an engine has room for."""
    return whole(text, 1, MOST_ROWS)


def whole(text: str, least: int, most: int) -> int:
    """A whole number within limits."""
    wanted = f"a whole number from {least} to {most}"
    return int(checked(text, lambda value: least <= value <= most and value == int(value), wanted))


def seconds(text: str) -> float:
    """A length of time."""
    return checked(text, lambda value: 0.001 <= value <= 1e9, "a number from 0.001 to 1e9")


def positive(text: str) -> float:
    """A number above 0."""
    return checked(text, lambda value: 0 < value < float("inf"), "a number above 0")


def not_negative(text: str) -> float:
    """Milliseconds, from 0 to 1000."""
    return checked(text, lambda value: 0 <= value <= 1000, "a number from 0 to 1000")


def share(text: str) -> float:
    """From 0 to 1."""
    return checked(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def checked(text: str, good: Callable[[float], bool], wanted: str) -> float:
    """The number in ``text``. Raises ArgumentTypeError: it is not ``wanted``."""
    try:
        value = float(text)
        if good(value):
            return value
    except (ValueError, OverflowError):
        pass
    raise ArgumentTypeError(f"{text!r} is not {wanted}")
