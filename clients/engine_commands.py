"""The commands ``bench``, ``verify`` and ``export`` on the command line: what engines can do, and whether they are right."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from .options import MOST_ROWS, add_engine, checked, count, engine_options, file_name, path, rows, seconds, whole

_PEERS = ("encodec", "mimi", "vocos")  # of stream/peer_codecs.py, which needs torch


def add_bench(commands: Any) -> None:
    """To the subparsers ``commands``."""
    bench = commands.add_parser("bench", help="how fast this machine is")
    bench.set_defaults(command=_bench)
    bench.add_argument("--steps", type=count, default=500, metavar="N", help="code frames to measure; default 500")
    bench.add_argument(
        "--warm-up", type=_not_negative, default=50, metavar="N", help="code frames before those; 0: cold"
    )
    bench.add_argument("--rows", type=rows, nargs="+", default=[1], metavar="N",
                       help="streams in one batch; several numbers are measured one after the other; default 1")  # fmt: skip
    bench.add_argument("--no-speech", action="store_true", help="leave the talker out")
    bench.add_argument("--vs", choices=_PEERS, nargs="*", metavar="PEER",
                       help=f"others beside it, on random weights: {', '.join(_PEERS)}; default: all")  # fmt: skip
    bench.add_argument("--sessions", type=rows, metavar="MOST",
                       help="how many sessions the engine carries in time, MOST at most, in place of single steps")  # fmt: skip
    bench.add_argument("--mode", choices=("loopback", "speak"), nargs="+", default=("loopback", "speak"),
                       help="of these sessions; default: both")  # fmt: skip
    bench.add_argument(
        "--seconds", type=seconds, default=60.0, metavar="S", help="how long they must be in time; default 60"
    )
    bench.add_argument("--processor-time", action="store_true",
                       help="count not the wall's time but the processor's, on a machine that others share")  # fmt: skip
    _add_json(bench)
    bench.add_argument("--plot", type=path, metavar="PNG", help="draw the table")
    add_engine(bench)


def add_verify(commands: Any) -> None:
    """To the subparsers ``commands``."""
    verify = commands.add_parser("verify", help="whether cuts, rows and resets change nothing on this machine")
    verify.set_defaults(command=_verify)
    verify.add_argument("--rows", type=_several, default=4, metavar="N", help="streams, at least 2; default 4")
    verify.add_argument(
        "--frames", type=_enough, default=150, metavar="N", help="of each stream, at least 40; default 150"
    )
    verify.add_argument("--seed", type=_not_negative, default=0, metavar="N", help="of voices, cuts, rows and resets")
    _add_json(verify)
    add_engine(verify)


def add_export(commands: Any) -> None:
    """To the subparsers ``commands``."""
    export = commands.add_parser("export", help="the models as ONNX files whose states are inputs and outputs")
    export.set_defaults(command=_export)
    export.add_argument("folder", type=path, metavar="FOLDER", help="made if it is not there")
    export.add_argument("--preset", default="base", help="codec: base (default) or micro")
    export.add_argument("--weights", type=path, metavar="DIR", help="folder of the weights; default: our own")
    export.add_argument("--dtype", choices=("float32", "int8"), default="float32",
                        help="of decoder and vocoder; int8 needs ONNX Runtime's own operators")  # fmt: skip


def _add_json(parser: Any) -> None:
    parser.add_argument("--json", nargs="?", const="-", type=file_name, metavar="FILE",
                        help="one JSON object there; without FILE on standard output, in place of the table")  # fmt: skip


def _bench(arguments: Namespace) -> None:
    from .bench import BenchOptions, bench
    from .bench_report import STDOUT, lines, plot, write_json
    from .picture import matplotlib_figures, picture_format
    from .pipes import say

    if arguments.plot is not None:  # what is wrong with it is said before, not after
        picture_format(arguments.plot)
        matplotlib_figures()
    peers = () if arguments.vs is None else tuple(dict.fromkeys(arguments.vs)) or None
    result = bench(
        BenchOptions(
            engine=engine_options(arguments),
            rows=tuple(dict.fromkeys(arguments.rows)),
            n_steps=arguments.steps,
            warm_up=arguments.warm_up,
            speech=not arguments.no_speech,
            peers=peers,
            sessions=arguments.sessions or 0,
            modes=tuple(dict.fromkeys(arguments.mode)),
            seconds=arguments.seconds,
            processor_time=arguments.processor_time,
        )
    )
    if arguments.json is not None:
        write_json(result, arguments.json)
    if arguments.json != STDOUT:
        for line in lines(result):
            say(line)
    if arguments.plot is not None:
        plot(result, arguments.plot)


def _verify(arguments: Namespace) -> None:
    from .verify import print_report, verify

    report = verify(engine_options(arguments), arguments.rows, arguments.frames, arguments.seed)
    print_report(report, arguments.json)


def _export(arguments: Namespace) -> None:
    from .export import export

    export(arguments.folder, arguments.preset, arguments.weights, arguments.dtype)


def _not_negative(text: str) -> int:
    return _whole(text, 0)


def _several(text: str) -> int:
    return whole(text, 2, MOST_ROWS)


def _enough(text: str) -> int:
    return _whole(text, 40)


def _whole(text: str, least: int) -> int:
    value = checked(text, lambda value: least <= value < 1e9 and value == int(value), f"a whole number from {least}")
    return int(value)
