"""The program ``sottovoce``: reads the command line, calls one command, turns failures into one line and a code.

Whatever is heavy is imported by the command that needs it, so that ``--help`` answers at once and Ctrl-C is heard early.
"""

from __future__ import annotations

import os
import signal
from argparse import Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from sottovoce.stream.errors import SottovoceError, UsageError

from .budget import add_budget
from .clusters import add_cluster, cluster
from .engine_commands import add_bench, add_export, add_verify
from .interrupts import Ended, ended, hear
from .load_command import add_load, add_overhead
from .options import (
    add_engine,
    count,
    engine_options,
    file_name,
    not_negative,
    path,
    port,
    positive,
    rows,
    seconds,
    share,
)
from .peer_command import add_broker, add_peer
from .pipes import flush, forget_stdout, hold_standard_streams, tell
from .room_keys import add_keygen
from .say_command import add_doctor, add_say

if TYPE_CHECKING:
    from sottovoce.stream.pipeline import Settings


_SIGNALLED = 128  # and the number of the signal, as shells have it
_BROKEN_PIPE = 141

_EXAMPLES = """\
examples:
  sottovoce loopback                                 microphone to speaker, as an instrument
  sottovoce loopback --input a.wav --output b.wav    a file through the codec
  sottovoce encode a.wav a.sv --books 4              a voice at 1 kbit/s
  sottovoce decode a.sv b.wav
  sottovoce say "Good morning."                      a text, spoken
  sottovoce serve                                    a page and a WebSocket for others, here
  sottovoce loopback --server ws://127.0.0.1:8765    microphone to speaker through a server
  sottovoce peer mqtt://localhost/kitchen            talk in a room, over any MQTT broker

exit codes:
"""
_OTHER_CODES = """\
  129  SIGHUP: the terminal was closed.
  130  Ctrl-C.
  141  Who read our output has left.
  143  SIGTERM.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Failures are one line on standard error, never a traceback."""
    try:
        hold_standard_streams()
        hear()
        try:
            arguments = _parser().parse_args(argv)
        finally:
            flush()  # what --help printed
        arguments.command(arguments)
        return 0
    except (Exception, KeyboardInterrupt) as error:
        code = _told(error)
    forget_stdout()
    return code


def _told(error: BaseException) -> int:
    """One line of what ended a command; the exit code. Raises what is a fault of ours."""
    known = isinstance(error, (SottovoceError, OSError)) and not isinstance(error.__cause__, ImportError)
    if not known and (came := ended()):  # what was being loaded failed of it
        error = came
    if isinstance(error, KeyboardInterrupt):
        tell("sottovoce: interrupted")
        return _SIGNALLED + (error.number if isinstance(error, Ended) else signal.SIGINT)
    if isinstance(error, BrokenPipeError):
        return _BROKEN_PIPE
    if isinstance(error, (SottovoceError, OSError)):  # what the system refuses is no fault of ours
        tell(f"sottovoce: {error}")
        return getattr(error, "exit_code", SottovoceError.exit_code)
    raise error


class _Parser(ArgumentParser):
    """Tells what is wrong in one line. Those of the commands are of this class too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")


class _Version(Action):
    """Prints the version and ends the program."""

    def __call__(self, parser: ArgumentParser, *_: Any) -> NoReturn:
        from importlib import metadata

        try:
            version = metadata.version("sottovoce")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        print(f"sottovoce {version}")
        parser.exit()


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="sottovoce",
        description="Carries a voice through a thin wire.",
        epilog=_EXAMPLES + "".join(_exit_codes()) + _OTHER_CODES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="command")

    loopback = commands.add_parser("loopback", help="hear a voice through the codec: devices or files")
    loopback.set_defaults(command=_loopback)
    loopback.add_argument(
        "--input", type=file_name, metavar="FILE", help="sound file, or - for a pipe; default: the microphone"
    )
    loopback.add_argument(
        "--output", type=file_name, metavar="FILE", help="sound file, or - for a pipe; default: the speaker"
    )
    loopback.add_argument("--input-device", metavar="NAME", help="microphone: number or part of its name")
    loopback.add_argument("--output-device", metavar="NAME", help="speaker: number or part of its name")
    loopback.add_argument("--realtime", action="store_true", help="let a file speak at the rate of speech")
    loopback.add_argument("--seconds", type=seconds, metavar="S", help="stop after so much sound")
    loopback.add_argument("--loss", type=share, default=0.0, metavar="P", help="share of packets to lose, 0 to 1")
    loopback.add_argument("--burst", type=positive, metavar="N", help="mean packets in a row that are lost")
    loopback.add_argument("--seed", type=int, default=0, metavar="N", help="of the losses")
    loopback.add_argument("--reserve-ms", type=not_negative, metavar="MS",
                          help="how late sound may come to the speaker without a gap")  # fmt: skip
    loopback.add_argument("--device-latency-ms", type=not_negative, metavar="MS",
                          help="what each device is asked to buffer; more where it stutters")  # fmt: skip
    loopback.add_argument("--picture", type=path, metavar="PNG", help="draw mel in, codes and mel out")
    loopback.add_argument("--report", action="store_true", help="measure ESTOI and log-mel distance as well")
    loopback.add_argument("--server", metavar="URL", help="let the codec of a server do it, as ws://127.0.0.1:8765")
    loopback.add_argument("--token", help="of the server; default: SOTTOVOCE_TOKEN of the environment")
    add_engine(loopback)
    _add_packets(loopback)

    encode = commands.add_parser("encode", help="sound file to code file")
    encode.set_defaults(command=_encode)
    encode.add_argument("input", type=file_name, metavar="IN", help="sound file, or - for a pipe")
    encode.add_argument("output", type=file_name, metavar="OUT.sv", help="code file, or - for a pipe")
    add_engine(encode)
    _add_packets(encode, frames_per_packet=25)

    decode = commands.add_parser("decode", help="code file to sound file")
    decode.set_defaults(command=_decode)
    decode.add_argument("input", type=file_name, metavar="IN.sv", help="code file, or - for a pipe")
    decode.add_argument("output", type=file_name, metavar="OUT.wav", help="sound file, or - for a pipe")
    decode.add_argument("--books", type=int, metavar="N", help="use at most so many of the codebooks")
    add_engine(decode, preset=False)

    add_say(commands)
    add_doctor(commands)

    serve = commands.add_parser("serve", help="let others use the codec: a page, a WebSocket, HTTP")
    serve.set_defaults(command=_serve)
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: this machine only")
    serve.add_argument("--port", type=port, default=8765, metavar="N", help="default 8765; 0: any that is free")
    serve.add_argument("--rows", type=rows, default=4, metavar="N", help="sessions at once; default 4")
    serve.add_argument("--token", help="who has it may come in; better in SOTTOVOCE_TOKEN of the environment")
    serve.add_argument("--no-auth", action="store_true", help="anybody may come in, also from other machines")
    serve.add_argument("--cert", type=path, metavar="PEM", help="certificate for https, with --key")
    serve.add_argument("--key", type=path, metavar="PEM")
    serve.add_argument("--origin", action="append", default=[], metavar="URL",
                       help="a page of another site that may use it, as https://example.org; may be repeated")  # fmt: skip
    serve.add_argument("--lexicon", type=path, metavar="FILE", help="words that its voices pronounce otherwise")
    add_cluster(serve)
    add_engine(serve)

    add_load(commands)
    add_overhead(commands)

    add_peer(commands)
    add_broker(commands)
    add_budget(commands)
    add_keygen(commands)

    devices = commands.add_parser("devices", help="list microphones and speakers")
    devices.set_defaults(command=_devices)

    info = commands.add_parser("info", help="what a code file, weights or a sound file hold")
    info.set_defaults(command=_info)
    info.add_argument("file", type=file_name, metavar="FILE")

    add_bench(commands)
    add_verify(commands)
    add_export(commands)
    return parser


def _add_packets(parser: ArgumentParser, frames_per_packet: int = 1) -> None:
    parser.add_argument("--books", type=int, metavar="N", help="codebooks to send; default: all")
    parser.add_argument(
        "--frames-per-packet", type=count, default=frames_per_packet, metavar="N", help="default %(default)s"
    )
    parser.add_argument("--redundancy", type=int, default=0, metavar="N",
                        help="packets back that each packet repeats the coarsest book of")  # fmt: skip


def _exit_codes() -> Iterator[str]:
    """A line for each exit code of the errors there are, in order, with the first line of the class that has it."""
    first: dict[int, type[SottovoceError]] = {}
    classes = [SottovoceError]
    for kind in classes:
        classes += kind.__subclasses__()
        first.setdefault(kind.exit_code, kind)
    for code in sorted(first):
        yield f"  {code:<4} {(first[code].__doc__ or '').splitlines()[0].replace('``', '')}\n"


# ---- commands ----------------------------------------------------------------------------------------------


def _loopback(arguments: Namespace) -> None:
    from .ends import EndOptions
    from .soundcard import LATENCY_MS
    from .speaker import RESERVE_MS

    ends = EndOptions(
        input=arguments.input,
        output=arguments.output,
        realtime=arguments.realtime,
        seconds=arguments.seconds,
        input_device=arguments.input_device,
        output_device=arguments.output_device,
        reserve_ms=RESERVE_MS if arguments.reserve_ms is None else arguments.reserve_ms,
        latency_ms=LATENCY_MS if arguments.device_latency_ms is None else arguments.device_latency_ms,
    )
    settings = _settings(arguments, loss=arguments.loss, burst=arguments.burst, seed=arguments.seed)
    if arguments.server is None:
        from .loopback import LoopbackOptions, loopback

        loopback(LoopbackOptions(engine_options(arguments), ends, settings, arguments.picture, arguments.report))
        return
    from . import remote

    for name in ("picture", "report", "backend", "vocoder", "weights"):
        if getattr(arguments, name):
            raise UsageError(f"--{name} is for a codec on this machine, not for --server")
    remote.loopback(remote.RemoteOptions(arguments.server, _token(arguments), ends, settings))


def _encode(arguments: Namespace) -> None:
    from .codec_files import CodecFileOptions, encode_file

    encode_file(CodecFileOptions(arguments.input, arguments.output, engine_options(arguments), _settings(arguments)))


def _decode(arguments: Namespace) -> None:
    from sottovoce.stream.pipeline import Settings

    from .codec_files import CodecFileOptions, decode_file

    settings = Settings(books=arguments.books)
    decode_file(CodecFileOptions(arguments.input, arguments.output, engine_options(arguments), settings))


def _serve(arguments: Namespace) -> None:
    from .serve import ServeOptions, serve

    serve(
        ServeOptions(
            engine=engine_options(arguments),
            rows=arguments.rows,
            host=arguments.host,
            port=arguments.port,
            token=arguments.token,
            no_auth=arguments.no_auth,
            certificate=arguments.cert,
            key=arguments.key,
            origins=tuple(arguments.origin),
            lexicon=arguments.lexicon,
            cluster=cluster(arguments),
        )
    )


def _devices(arguments: Namespace) -> None:
    from .devices import print_devices

    print_devices()


def _info(arguments: Namespace) -> None:
    from .info import print_info

    print_info(arguments.file)


# ---- options -----------------------------------------------------------------------------------------------


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


def _token(arguments: Namespace) -> str | None:
    return arguments.token or os.environ.get("SOTTOVOCE_TOKEN") or None
