"""The program ``sottovoce``: reads the command line, calls one command, turns failures into one line and a code.

Whatever is heavy is imported by the command that needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sottovoce.stream.errors import SottovoceError, UsageError

if TYPE_CHECKING:
    from sottovoce.stream.pipeline import Settings

    from .engines import EngineOptions

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_TERMINATED = 143
_BROKEN_PIPE = 141

_terminated = False  # SIGTERM came; a signal handler has nowhere else to say so

_EXAMPLES = """\
examples:
  sottovoce loopback                                 microphone to speaker, as an instrument
  sottovoce loopback --input a.wav --output b.wav    a file through the codec
  sottovoce encode a.wav a.sv --books 4              a voice at 1 kbit/s
  sottovoce decode a.sv b.wav

exit codes: 2 usage, 3 sound file, 4 code file, 5 device, 6 weights, 130 Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Failures are one line on standard error, never a traceback."""
    global _terminated
    _terminated = False
    signal.signal(signal.SIGTERM, _terminate)
    # A shell starts background programs with SIGINT ignored; then nobody would hear SIGTERM either (see _terminate).
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        arguments = _parser().parse_args(argv)
        arguments.command(arguments)
        sys.stdout.flush()
    except SottovoceError as error:
        print(f"sottovoce: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("sottovoce: interrupted; nothing half-written is left", file=sys.stderr)
        return _TERMINATED if _terminated else _INTERRUPTED
    except BrokenPipeError:
        # Who read our output has enough. Nothing of what Python still holds must go there at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return 0


def _terminate(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does: an event loop that runs has a handler for that which cancels its main task, and with it every
    stage; an exception thrown into whichever task is at work would tear that one out of the middle instead."""
    global _terminated
    _terminated = True
    interrupt = signal.getsignal(signal.SIGINT)
    if callable(interrupt):
        interrupt(signal.SIGINT, frame)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="sottovoce",
        description="Carries a voice through a thin wire.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sottovoce {_version()}")
    commands = parser.add_subparsers(required=True, metavar="command")

    loopback = commands.add_parser("loopback", help="hear a voice through the codec: devices or files")
    loopback.set_defaults(command=_loopback)
    loopback.add_argument("--input", metavar="FILE", help="sound file, or - for a pipe; default: the microphone")
    loopback.add_argument("--output", metavar="FILE", help="sound file, or - for a pipe; default: the speaker")
    loopback.add_argument("--input-device", metavar="NAME", help="microphone: number or part of its name")
    loopback.add_argument("--output-device", metavar="NAME", help="speaker: number or part of its name")
    loopback.add_argument("--realtime", action="store_true", help="let a file speak at the rate of speech")
    loopback.add_argument("--seconds", type=_positive, metavar="S", help="stop after so much sound")
    loopback.add_argument("--loss", type=_share, default=0.0, metavar="P", help="share of packets to lose, 0 to 1")
    loopback.add_argument("--burst", type=_positive, metavar="N", help="mean packets in a row that are lost")
    loopback.add_argument("--seed", type=int, default=0, metavar="N", help="of the losses")
    loopback.add_argument("--reserve-ms", type=_not_negative, default=40.0, metavar="MS",
                          help="how late sound may come to the speaker without a gap")  # fmt: skip
    loopback.add_argument("--device-latency-ms", type=_not_negative, default=40.0, metavar="MS",
                          help="what each device is asked to buffer; more where it stutters")  # fmt: skip
    loopback.add_argument("--picture", type=Path, metavar="PNG", help="draw mel in, codes and mel out")
    loopback.add_argument("--report", action="store_true", help="measure ESTOI and log-mel distance as well")
    _add_engine(loopback)
    _add_packets(loopback)

    encode = commands.add_parser("encode", help="sound file to code file")
    encode.set_defaults(command=_encode)
    encode.add_argument("input", metavar="IN", help="sound file, or - for a pipe")
    encode.add_argument("output", metavar="OUT.sv", help="code file, or - for a pipe")
    _add_engine(encode)
    _add_packets(encode, frames_per_packet=25)

    decode = commands.add_parser("decode", help="code file to sound file")
    decode.set_defaults(command=_decode)
    decode.add_argument("input", metavar="IN.sv", help="code file, or - for a pipe")
    decode.add_argument("output", metavar="OUT.wav", help="sound file, or - for a pipe")
    decode.add_argument("--books", type=int, metavar="N", help="use at most so many of the codebooks")
    _add_engine(decode, preset=False)

    devices = commands.add_parser("devices", help="list microphones and speakers")
    devices.set_defaults(command=_devices)

    info = commands.add_parser("info", help="what a code file, weights or a sound file hold")
    info.set_defaults(command=_info)
    info.add_argument("file", metavar="FILE")

    bench = commands.add_parser("bench", help="how fast this machine is")
    bench.set_defaults(command=_bench)
    bench.add_argument("--steps", type=_count, default=500, metavar="N", help="code frames to measure")
    bench.add_argument("--warm-up", type=int, default=50, metavar="N", help="code frames before those")
    bench.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    _add_engine(bench)
    return parser


def _add_engine(parser: ArgumentParser, preset: bool = True) -> None:
    if preset:
        parser.add_argument("--preset", default="base", help="codec: base (default) or micro")
        parser.add_argument("--engine", choices=("torch", "echo"), default="torch", help=SUPPRESS)
    parser.add_argument("--vocoder", choices=("neural", "griffin-lim"), help="default: neural where it has weights")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder of the weights; default: our own")
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="for the models; default 1")


def _add_packets(parser: ArgumentParser, frames_per_packet: int = 1) -> None:
    parser.add_argument("--books", type=int, metavar="N", help="codebooks to send; default: all")
    parser.add_argument(
        "--frames-per-packet", type=_count, default=frames_per_packet, metavar="N", help="default %(default)s"
    )
    parser.add_argument("--redundancy", type=int, default=0, metavar="N",
                        help="packets back that each packet repeats the coarsest book of")  # fmt: skip


# ---- commands ----------------------------------------------------------------------------------------------


def _loopback(arguments: Namespace) -> None:
    from .ends import EndOptions
    from .loopback import LoopbackOptions, loopback

    loopback(
        LoopbackOptions(
            engine=_engine(arguments),
            ends=EndOptions(
                input=arguments.input,
                output=arguments.output,
                realtime=arguments.realtime,
                seconds=arguments.seconds,
                input_device=arguments.input_device,
                output_device=arguments.output_device,
                reserve_ms=arguments.reserve_ms,
                latency_ms=arguments.device_latency_ms,
            ),
            settings=_settings(arguments, loss=arguments.loss, burst=arguments.burst, seed=arguments.seed),
            picture=arguments.picture,
            report=arguments.report,
        )
    )


def _encode(arguments: Namespace) -> None:
    from .codec_files import CodecFileOptions, encode_file

    encode_file(CodecFileOptions(arguments.input, arguments.output, _engine(arguments), _settings(arguments)))


def _decode(arguments: Namespace) -> None:
    from sottovoce.stream.pipeline import Settings

    from .codec_files import CodecFileOptions, decode_file

    settings = Settings(books=arguments.books)
    decode_file(CodecFileOptions(arguments.input, arguments.output, _engine(arguments), settings))


def _devices(arguments: Namespace) -> None:
    from .devices import print_devices

    print_devices()


def _info(arguments: Namespace) -> None:
    from .info import print_info

    print_info(arguments.file)


def _bench(arguments: Namespace) -> None:
    from .bench import bench, print_bench

    print_bench(bench(_engine(arguments), arguments.steps, max(arguments.warm_up, 0)), arguments.json)


# ---- options -----------------------------------------------------------------------------------------------


def _engine(arguments: Namespace) -> EngineOptions:
    from .engines import ECHO, EngineOptions

    preset = getattr(arguments, "preset", "base")  # decode takes the one that the file names
    return EngineOptions(
        preset=ECHO if getattr(arguments, "engine", "torch") == "echo" else preset,
        vocoder=arguments.vocoder,
        threads=arguments.threads,
        weights=arguments.weights,
    )


def _settings(arguments: Namespace, loss: float = 0.0, burst: float | None = None, seed: int = 0) -> Settings:
    """Raises UsageError: out of range."""
    from sottovoce.stream.loss import GilbertLoss
    from sottovoce.stream.packet import MAX_FRAMES, MAX_REDUNDANCY
    from sottovoce.stream.pipeline import Settings

    if arguments.frames_per_packet > MAX_FRAMES:
        raise UsageError(f"--frames-per-packet must be 1 to {MAX_FRAMES}, not {arguments.frames_per_packet}")
    if not 0 <= arguments.redundancy <= MAX_REDUNDANCY:
        raise UsageError(f"--redundancy must be 0 to {MAX_REDUNDANCY}, not {arguments.redundancy}")
    try:
        GilbertLoss(loss, burst, seed)
    except ValueError as error:
        raise UsageError(f"--loss and --burst: {error}") from error
    return Settings(
        books=arguments.books,
        frames_per_packet=arguments.frames_per_packet,
        redundancy=arguments.redundancy,
        loss=loss,
        burst=burst,
        seed=seed,
    )


def _count(text: str) -> int:
    return int(_checked(text, lambda value: value >= 1 and value == int(value), "a whole number from 1"))


def _positive(text: str) -> float:
    return _checked(text, lambda value: 0 < value < float("inf"), "a number above 0")


def _not_negative(text: str) -> float:
    return _checked(text, lambda value: 0 <= value <= 1000, "a number from 0 to 1000")


def _share(text: str) -> float:
    return _checked(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def _checked(text: str, good: Callable[[float], bool], wanted: str) -> float:
    try:
        value = float(text)
        if good(value):
            return value
    except (ValueError, OverflowError):
        pass
    raise ArgumentTypeError(f"{text!r} is not {wanted}")


def _version() -> str:
    try:
        return metadata.version("sottovoce")
    except metadata.PackageNotFoundError:
        return "(not installed)"
