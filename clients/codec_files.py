"""``sottovoce encode`` and ``decode``: the halves of a loopback, with a ``.sv`` file between them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from sottovoce.stream import pipeline
from sottovoce.stream.codefile import CodeReader, CodeWriter, check_model
from sottovoce.stream.engine import Engine
from sottovoce.stream.errors import CodeFileError
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.packet import pack, unpack
from sottovoce.stream.pipeline import Settings
from sottovoce.stream.statistics import Statistics

from .atomic import advice, replacing
from .audio_in import AudioInput
from .audio_out import audio_output, check_output
from .engines import EngineOptions, check_books, make_engine
from .pipes import PIPE, raw_stdin, readable
from .sound_files import Watch, blocks, progress, remark


@dataclass(frozen=True, slots=True)
class CodecFileOptions:
    """What ``encode`` and ``decode`` are asked to do."""

    input: str
    output: str
    engine: EngineOptions
    settings: Settings


def encode_file(options: CodecFileOptions) -> None:
    """Sound to codes. Raises AudioFileError, CodeFileError, UsageError, WeightsError."""
    engine = make_engine(options.engine)
    check_books(options.settings.books, engine.descriptor)
    with ExitStack() as stack:
        sound = stack.enter_context(AudioInput(options.input, engine.descriptor.rate_hz))
        file = stack.enter_context(_code_output(options.output))
        watch = stack.enter_context(progress("encode", sound.duration_s))
        asyncio.run(_encode(engine, sound, file, options.settings, watch))
    remark(sound.remarks())


def decode_file(options: CodecFileOptions) -> None:
    """Codes to sound, by the codec that the file names.

    Raises:
        CodeFileError: foreign or damaged; and after what is left of a truncated file was decoded and written.
        AudioFileError, UsageError, WeightsError.
    """
    check_output(options.output)
    with _code_input(options.input) as (name, file, waits_on):
        reader = CodeReader(file, name=name)
        engine = make_engine(replace(options.engine, preset=reader.descriptor.preset))
        check_model(engine.descriptor, reader.descriptor)
        check_books(options.settings.books, engine.descriptor)
        asyncio.run(_decode(engine, reader, name, waits_on, options))
    if reader.truncated:
        raise CodeFileError(
            f"{name} is cut off after {reader.n_packets} packets; what there was is decoded, "
            "get the file again for the rest"
        )


async def _encode(engine: Engine, sound: AudioInput, file: BinaryIO, settings: Settings, watch: Watch) -> None:
    writer = CodeWriter(file, engine.descriptor)

    async def keep(packet: bytes) -> None:
        writer.append(packet)

    async with EngineLoop(engine) as loop:
        with loop.open() as session:
            statistics = Statistics(engine.descriptor)
            n_samples = await pipeline.encode(blocks(sound, watch), keep, session, settings, statistics)
    writer.finish(n_samples)
    file.flush()


async def _decode(
    engine: Engine, reader: CodeReader, name: str, waits_on: int | None, options: CodecFileOptions
) -> None:
    descriptor = engine.descriptor

    async def packets() -> AsyncIterator[bytes]:
        each = iter(reader)
        while True:
            if waits_on is not None:
                await readable(waits_on)
            packet = next(each, None)
            if packet is None:
                return
            yield _with_books(packet, options.settings.books, descriptor.bits_per_code)

    with audio_output(options.output, descriptor.rate_hz) as output:

        async def keep(frame: Frame[Pcm]) -> None:
            output.write(frame.data)

        async with EngineLoop(engine) as loop:
            with loop.open() as session:
                n_samples = await pipeline.decode(
                    packets(), keep, session, options.settings, Statistics(descriptor), lambda: reader.n_samples
                )
        if not n_samples:
            raise CodeFileError(f"{name} holds no codes; make it again with 'sottovoce encode'")


def _with_books(packet: bytes, books: int | None, bits: int) -> bytes:
    """The packet with at most ``books`` books: what a receiver hears of a thinner wire."""
    if books is None:
        return packet
    whole = unpack(packet, bits)
    return pack(replace(whole, codes=whole.codes[:, :books]), bits)


@contextmanager
def _code_output(path: str) -> Iterator[BinaryIO]:
    if path == PIPE:
        yield sys.stdout.buffer
        return
    with replacing(Path(path), CodeFileError) as name, name.open("wb") as file:
        yield file


@contextmanager
def _code_input(path: str) -> Iterator[tuple[str, BinaryIO, int | None]]:
    """What to call the file, the file, and the descriptor to wait on where it is a pipe."""
    if path == PIPE:
        pipe, waits_on = raw_stdin()
        with pipe:
            yield "standard input", pipe, waits_on
        return
    try:
        file = open(path, "rb")  # noqa: SIM115  closed below
    except OSError as error:
        reason = "there is no such file; check the name" if isinstance(error, FileNotFoundError) else advice(error)
        raise CodeFileError(f"{path}: {reason}") from error
    with file:
        yield path, file, None
