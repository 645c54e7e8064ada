"""``sottovoce info``: what a file is. Looks at what is inside, not at the name; needs neither torch nor a model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sottovoce.stream.codefile import MAGIC, CodeReader
from sottovoce.stream.errors import AudioFileError, CodeFileError, SottovoceError, WeightsError
from sottovoce.stream.packet import unpack

from .audio_in import AudioInput
from .pipes import PIPE

_MOST_HEADER_BYTES = 1 << 24


def print_info(path: str) -> None:
    """Print what there is to know of a code file, weights, or a sound file.

    Raises:
        SottovoceError: it cannot be read, or is none of these. Printed is what was found before the fault.
    """
    if path == PIPE:
        raise SottovoceError("info must look into a file twice; give its name instead of '-'")
    for line in describe(Path(path)):
        print(line)


def describe(path: Path) -> Iterator[str]:
    """The lines of `print_info`, as they are found."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
            file.seek(0)
            if head.startswith(MAGIC) or path.suffix == ".sv":
                yield from _codes(path, file)
                return
            if head[8:9] == b"{" or path.suffix == ".safetensors":
                yield from _weights(path, file)
                return
    except OSError:
        pass  # the sound file's reader says what is wrong with it
    yield from _sound(path)


def _codes(path: Path, file: BinaryIO) -> Iterator[str]:
    reader = CodeReader(file, name=str(path))
    descriptor = reader.descriptor
    yield _line("kind", "codes (.sv)")
    yield _line("model", f"{descriptor.preset} {descriptor.model_hash}")
    yield _line("rate", f"{descriptor.rate_hz} Hz")
    yield _line("frame", f"{descriptor.frame_ms:g} ms, {descriptor.books} books of {descriptor.book_size} codes")
    yield _line("delay", f"{descriptor.delay_ms:.1f} ms")
    n_frames = n_bits = n_bytes = 0
    fewest, most = descriptor.books, 0
    for packed in reader:
        codes = unpack(packed, descriptor.bits_per_code).codes
        n_frames += len(codes)
        n_bits += codes.size * descriptor.bits_per_code
        n_bytes += len(packed)
        if len(codes):
            fewest, most = min(fewest, codes.shape[1]), max(most, codes.shape[1])
    seconds = n_frames * descriptor.frame_ms / 1000
    yield _line("packets", f"{reader.n_packets}, with {n_frames} frames")
    if n_frames:
        yield _line("books sent", f"{fewest}" if fewest == most else f"{fewest} to {most}")
        yield _line("bitrate", f"{n_bits / seconds:.0f} bit/s of codes, {8 * n_bytes / seconds:.0f} bit/s of packets")
    if reader.n_samples is not None:
        yield _line("length", f"{reader.n_samples / descriptor.rate_hz:.2f} s ({reader.n_samples} samples)")
    if reader.truncated:
        raise CodeFileError(f"{path} is cut off after {reader.n_packets} packets; decode gives what there is")


def _weights(path: Path, file: BinaryIO) -> Iterator[str]:
    header = _safetensors_header(path, file)
    metadata = header.pop("__metadata__", {})
    shapes = [tensor["shape"] for tensor in header.values()]
    kinds = sorted({str(tensor["dtype"]) for tensor in header.values()})
    yield _line("kind", "weights (safetensors)")
    yield _line("size", f"{path.stat().st_size / 1e6:.2f} MB, {len(shapes)} tensors of {', '.join(kinds) or 'nothing'}")
    yield _line("parameters", f"{sum(math.prod(shape) for shape in shapes)}")
    for name, value in sorted(metadata.items()):
        yield _line(name, str(value))


def _safetensors_header(path: Path, file: BinaryIO) -> dict[str, Any]:
    """The JSON in front of the tensors. Raises WeightsError."""
    size = int.from_bytes(file.read(8), "little")
    text = file.read(size) if 2 <= size <= _MOST_HEADER_BYTES else b""
    try:
        header = json.loads(text) if len(text) == size else None
        if isinstance(header, dict) and all("shape" in t for name, t in header.items() if name != "__metadata__"):
            return header
    except (ValueError, TypeError, RecursionError):
        pass
    raise WeightsError(f"{path} is no safetensors file, or a damaged one; fetch it again")


def _sound(path: Path) -> Iterator[str]:
    try:
        import soundfile

        with AudioInput(str(path), 24_000):  # its messages say best what is wrong
            found = soundfile.info(str(path))
    except SottovoceError as error:
        text = str(error).replace("not a sound file that can be read", "neither codes, weights nor a sound file")
        raise AudioFileError(text) from error
    yield _line("kind", f"sound ({found.format_info}, {found.subtype_info})")
    yield _line("rate", f"{found.samplerate} Hz")
    yield _line("channels", str(found.channels))
    yield _line("length", f"{found.duration:.2f} s ({found.frames} samples)")


def _line(name: str, text: str) -> str:
    return f"{name:<14} {text}"
