"""The commands ``load`` and ``overhead`` on the command line: tools for those who run a server."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import Any

from sottovoce.stream.errors import ServeError, UsageError

from .options import add_engine, count, rows, seconds

_SERVED = ("preset", "backend", "vocoder", "weights", "device", "dtype", "threads")
"""What a server that is started for the purpose is told."""
_CLIENTS = {"loopback": 32, "speak": 4}


def add_load(commands: Any) -> None:
    """To the subparsers ``commands``."""
    load: ArgumentParser = commands.add_parser("load", help="many clients of one server, and whether they hear in time")
    load.description = (
        "Many clients of one server at once, which play as browsers do; prints whether the sound came in time."
    )
    load.set_defaults(command=_load)
    load.add_argument("server", nargs="?", metavar="URL", help="as ws://127.0.0.1:8765; default, of --mode speak: one is "
                      "started here, and its start is timed too")  # fmt: skip
    load.add_argument("--mode", choices=("loopback", "speak"), default="loopback",
                      help="what the clients do: talk, or have sentences spoken; default: loopback")  # fmt: skip
    load.add_argument("--clients", type=count, metavar="N", help="default 32; of --mode speak: 4")
    load.add_argument("--seconds", type=seconds, default=60.0, metavar="S", help="default 60")
    load.add_argument("--voice", metavar="NAME", help="of --mode speak; default: the server's first")
    load.add_argument("--token", help="default: SOTTOVOCE_TOKEN of the environment")
    load.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    add_engine(load.add_argument_group("a server that is started here"))  # type: ignore[arg-type]  # it adds arguments


def add_overhead(commands: Any) -> None:
    """To the subparsers ``commands``."""
    overhead: ArgumentParser = commands.add_parser("overhead", help="what a session costs a server besides the models")
    overhead.description = "What a frame of a session costs a server besides the models and the sockets."
    overhead.set_defaults(command=_overhead)
    overhead.add_argument("--sessions", type=rows, default=32, metavar="N", help="default 32")
    overhead.add_argument("--frames", type=count, default=1000, metavar="N", help="of each; default 1000")
    overhead.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def _overhead(arguments: Namespace) -> None:
    try:
        from .overhead import show_overhead
    except ModuleNotFoundError as error:
        raise ServeError(f"{error.name} must be installed for this: pip install 'sottovoce[serve]'") from error
    show_overhead(arguments.sessions, arguments.frames, arguments.json)


def _load(arguments: Namespace) -> None:
    server, clients = arguments.server, arguments.clients or _CLIENTS[arguments.mode]
    token = arguments.token or os.environ.get("SOTTOVOCE_TOKEN") or None
    try:
        if arguments.mode == "loopback":
            from .load import LoadOptions, load

            if server is None or arguments.voice is not None:
                raise UsageError("without --mode speak a server's URL is needed, and there is no --voice")
            load(LoadOptions(server, clients, arguments.seconds, token, arguments.json))
            return
        from .load_speak import SpeakLoad, load_speak
    except ModuleNotFoundError as error:
        raise ServeError(f"{error.name} must be installed for this: pip install 'sottovoce[serve]'") from error
    serve = [f"--{name}={value}" for name in _SERVED if (value := getattr(arguments, name)) is not None]
    load_speak(SpeakLoad(server, clients, arguments.seconds, token, arguments.voice, arguments.json, tuple(serve)))
