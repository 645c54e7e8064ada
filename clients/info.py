"""``sottovoce info``: what a file is. Looks at what is inside, not at the name; needs neither torch nor a model."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeGuard

from sottovoce.stream.codefile import MAGIC, CodeParser
from sottovoce.stream.errors import AudioFileError, CodeFileError, SottovoceError, WeightsError
from sottovoce.stream.packet import unpack

from .audio_in import AudioInput
from .codec_files import read_header
from .pipes import PIPE, Input, say

_MOST_HEADER_BYTES = 1 << 24
_MOST_AXES = 64
_LARGEST_SIZE = 1 << 48
_CHUNK_BYTES = 1 << 16


def print_info(path: str) -> None:
    """Print what there is to know of a code file, weights, or a sound file.

    Raises:
        SottovoceError: it cannot be read, or is none of these. Printed is what was found before the fault.
    """
    for line in describe(path):
        say(line)


def describe(path: str) -> Iterator[str]:
    """The lines of `print_info`, as they are found."""
    with closing(Input(path, AudioFileError)) as file:
        if path == PIPE or file.waits_on is not None:
            raise SottovoceError(f"info must look into a file twice; give the name of one instead of {file.name}")
        head = file.read(9)
        file.file.seek(0)
        suffix = Path(path).suffix
        if head.startswith(MAGIC) or suffix == ".sv":
            yield from _codes(file)
        elif head[8:9] == b"{" or suffix == ".safetensors":
            yield from _weights(file)
        else:
            yield from _sound(file)


def _codes(file: Input) -> Iterator[str]:
    parser = CodeParser(file.name)
    descriptor = read_header(file, parser)
    yield _line("kind", "codes (.sv)")
    yield _line("model", f"{descriptor.preset} {descriptor.model_hash}")
    yield _line("rate", f"{descriptor.rate_hz} Hz")
    yield _line("frame", f"{descriptor.frame_ms:g} ms, {descriptor.books} books of {descriptor.book_size} codes")
    yield _line("delay", f"{descriptor.delay_ms:.1f} ms")
    n_frames = n_bits = n_bytes = 0
    fewest, most = descriptor.books, 0
    while parser.n_samples is None and (chunk := file.read(_CHUNK_BYTES)):
        for packed in parser.feed(chunk):
            codes = unpack(packed, descriptor.bits_per_code).codes
            n_frames += len(codes)
            n_bits += codes.size * descriptor.bits_per_code
            n_bytes += len(packed)
            if len(codes):
                fewest, most = min(fewest, codes.shape[1]), max(most, codes.shape[1])
    parser.close()
    seconds = n_frames * descriptor.frame_ms / 1000
    yield _line("packets", f"{parser.n_packets}, with {n_frames} frames")
    if n_frames:
        yield _line("books sent", f"{fewest}" if fewest == most else f"{fewest} to {most}")
        yield _line("bitrate", f"{n_bits / seconds:.0f} bit/s of codes, {8 * n_bytes / seconds:.0f} bit/s of packets")
    if parser.n_samples is not None:
        yield _line("length", f"{parser.n_samples / descriptor.rate_hz:.2f} s ({parser.n_samples} samples)")
    if parser.truncated:
        raise CodeFileError(f"{file.name} is cut off after {parser.n_packets} packets; decode gives what there is")


def _weights(file: Input) -> Iterator[str]:
    header = _safetensors_header(file)
    metadata = header.pop("__metadata__", {})
    shapes = [tensor["shape"] for tensor in header.values()]
    size, expected = os.fstat(file.file.fileno()).st_size, file.file.tell()
    expected += max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if size != expected:
        raise WeightsError(
            f"{file.name} has {size} bytes in place of {expected}: it is cut off or damaged; fetch it again"
        )
    kinds = sorted({tensor["dtype"] for tensor in header.values()})
    yield _line("kind", "weights (safetensors)")
    yield _line("size", f"{size / 1e6:.2f} MB, {len(shapes)} tensors of {', '.join(kinds) or 'nothing'}")
    yield _line("parameters", f"{sum(math.prod(shape) for shape in shapes)}")
    for name, value in sorted(metadata.items()):
        yield _line(name, value)


def _safetensors_header(file: Input) -> dict[str, Any]:
    """The JSON in front of the tensors. Raises WeightsError."""
    size = int.from_bytes(file.read(8), "little")
    text = file.read(size) if 2 <= size <= _MOST_HEADER_BYTES else b""
    try:
        header = json.loads(text) if len(text) == size else None
    except (ValueError, RecursionError):
        header = None
    if isinstance(header, dict):
        metadata = header.get("__metadata__", {})
        tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
        if _is_metadata(metadata) and all(map(_is_tensor, tensors)):
            return header
    raise WeightsError(f"{file.name} is no safetensors file, or a damaged one; fetch it again")


def _is_metadata(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def _is_tensor(found: Any) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("dtype"), str):
        return False
    shape, offsets = found.get("shape"), found.get("data_offsets")
    return _are_sizes(shape) and len(shape) <= _MOST_AXES and _are_sizes(offsets) and len(offsets) == 2


def _are_sizes(found: Any) -> TypeGuard[list[int]]:
    return isinstance(found, list) and all(type(size) is int and 0 <= size < _LARGEST_SIZE for size in found)


def _sound(file: Input) -> Iterator[str]:
    try:
        import soundfile

        with (
            AudioInput(file.name, 24_000),  # its messages say best what is wrong
            soundfile.SoundFile(file.file.fileno(), closefd=False) as found,
        ):
            kind, rate_hz = f"{found.format_info}, {found.subtype_info}", found.samplerate
            channels, n_samples = found.channels, found.frames
    except SottovoceError as error:
        text = str(error).replace("not a sound file that can be read", "neither codes, weights nor a sound file")
        raise AudioFileError(text) from error
    yield _line("kind", f"sound ({kind})")
    yield _line("rate", f"{rate_hz} Hz")
    yield _line("channels", str(channels))
    yield _line("length", f"{n_samples / rate_hz:.2f} s ({n_samples} samples)")


def _line(name: str, text: str) -> str:
    return f"{name:<14} {text}"
