"""``sottovoce encode`` and ``decode``: the halves of a loopback, with a ``.sv`` file between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from io import BytesIO

from sottovoce.stream import pipeline
from sottovoce.stream.codefile import CodeParser, CodeWriter, check_model
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.engine import Engine
from sottovoce.stream.errors import CodeFileError
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.packet import pack, unpack
from sottovoce.stream.pipeline import Settings
from sottovoce.stream.statistics import Statistics

from .audio_in import AudioInput
from .audio_out import AudioOutput, audio_output, check_output
from .engines import EngineOptions, check_books, make_engine
from .interrupts import run
from .pipes import Input, Output, check_apart, is_file, output, readable
from .sound_files import Watch, blocks, progress, remark

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class CodecFileOptions:
    """What ``encode`` and ``decode`` are asked to do."""

    input: str
    output: str
    engine: EngineOptions
    settings: Settings


def encode_file(options: CodecFileOptions) -> None:
    """Sound to codes. Raises AudioFileError, CodeFileError, UsageError, WeightsError."""
    check_apart(options.input, options.output)
    engine = make_engine(options.engine)
    check_books(options.settings.books, engine.descriptor)
    with ExitStack() as stack:
        sound = stack.enter_context(AudioInput(options.input, engine.descriptor.rate_hz))
        file = stack.enter_context(output(options.output, CodeFileError))
        watch = stack.enter_context(progress("encode", sound.duration_s))
        run(_encode(engine, sound, file, options.settings, watch))
    remark(sound.remarks())


def decode_file(options: CodecFileOptions) -> None:
    """Codes to sound, by the codec that the file names.

    Raises:
        CodeFileError: foreign or damaged; and after what is left of a truncated file was decoded and written.
        AudioFileError, UsageError, WeightsError.
    """
    check_output(options.output)
    check_apart(options.input, options.output)
    with closing(Input(options.input, CodeFileError)) as file:
        parser = CodeParser(file.name)
        descriptor = read_header(file, parser)
        engine = make_engine(replace(options.engine, preset=descriptor.preset))
        check_model(engine.descriptor, descriptor)
        check_books(options.settings.books, engine.descriptor)
        with audio_output(options.output, descriptor.rate_hz) as sound:
            run(_decode(engine, file, parser, sound, replace(options.settings, repeatable=is_file(options.input))))
    if parser.truncated:
        raise CodeFileError(
            f"{file.name} is cut off after {parser.n_packets} packets; what there was is decoded, "
            "get the file again for the rest"
        )


async def _encode(engine: Engine, sound: AudioInput, file: Output, settings: Settings, watch: Watch) -> None:
    written = BytesIO()
    writer = CodeWriter(written, engine.descriptor)

    async def pass_on() -> None:
        await file.write(written.getvalue())
        written.seek(0)
        written.truncate()

    async def keep(packet: bytes) -> None:
        writer.append(packet)
        await pass_on()

    async with EngineLoop(engine) as loop:
        with loop.open() as session:
            statistics = Statistics(engine.descriptor)
            n_samples = await pipeline.encode(blocks(sound, watch), keep, session, settings, statistics)
    writer.finish(n_samples)
    await pass_on()


async def _decode(engine: Engine, file: Input, parser: CodeParser, sound: AudioOutput, settings: Settings) -> None:
    descriptor = engine.descriptor

    async def packets() -> AsyncIterator[bytes]:
        while parser.n_samples is None:
            if file.waits_on is not None:
                await readable(file.waits_on)
            data = file.read_now(_CHUNK_BYTES)
            if data == b"":
                break
            for packet in parser.feed(data or b""):
                yield _with_books(packet, settings.books, descriptor.bits_per_code)
        parser.close()

    async def keep(frame: Frame[Pcm]) -> None:
        await sound.write(frame.data)

    async with EngineLoop(engine) as loop:
        with loop.open() as session:
            n_samples = await pipeline.decode(
                packets(), keep, session, settings, Statistics(descriptor), lambda: parser.n_samples
            )
    if not n_samples:
        raise CodeFileError(f"{file.name} holds no codes; make it again with 'sottovoce encode'")


def read_header(file: Input, parser: CodeParser) -> Descriptor:
    """Feed ``parser`` up to the first packet, byte by byte, so as to wait for no more of a pipe than that.

    Raises CodeFileError: foreign, damaged, or cut off before there.
    """
    while parser.descriptor is None:
        byte = file.read(1)
        if not byte:
            parser.close()
        parser.feed(byte)
    return parser.descriptor


def _with_books(packet: bytes, books: int | None, bits: int) -> bytes:
    """The packet with at most ``books`` books: what a receiver hears of a thinner wire."""
    if books is None:
        return packet
    whole = unpack(packet, bits)
    return pack(replace(whole, codes=whole.codes[:, :books]), bits)
