"""``sottovoce serve --cluster`` on the command line: the same server, replicated by Ray Serve (`stream/cluster.py`)."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import redirect_stdout
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from sottovoce.stream.errors import ServeError, UsageError

from .options import checked
from .pipes import say

if TYPE_CHECKING:
    from sottovoce.stream.hosting import Tls
    from sottovoce.stream.replica import Make

_HERE = "here"


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What a person asks of it."""

    address: str | None
    "None: one of our own, on this machine."
    replicas: tuple[int, int]
    gpus: float
    cpus: int


def add_cluster(parser: ArgumentParser) -> None:
    """To the command ``serve``."""
    parser.add_argument("--cluster", nargs="?", const=_HERE, metavar="ADDRESS",
                        help="as replicas, on Ray: here, or on the cluster there; auto: the one that runs here")  # fmt: skip
    parser.add_argument("--replicas", type=replicas, metavar="MIN[:MAX]",
                        help="how many, by the sessions there are; each has --rows; default 1")  # fmt: skip
    parser.add_argument("--gpus", type=gpus, metavar="SHARE", help="of each replica, as 0.25; default 0")


def cluster(arguments: Namespace) -> ClusterOptions | None:
    """What `add_cluster` has asked for. Raises UsageError: it contradicts itself."""
    if arguments.cluster is None:
        for name in ("replicas", "gpus"):
            if getattr(arguments, name) is not None:
                raise UsageError(f"--{name} is for --cluster")
        return None
    address = None if arguments.cluster == _HERE else arguments.cluster
    if address not in (None, "auto") and not re.fullmatch(r"[^/]+:\d{1,5}", address):
        raise UsageError(f"--cluster is like 10.0.0.1:6379, or auto, not {address!r}")
    if address is not None and arguments.port == 0:
        raise UsageError("--port 0 is for one machine: every machine of a cluster listens on the same port")
    return ClusterOptions(address, arguments.replicas or (1, 1), arguments.gpus or 0.0, arguments.threads)


def replicas(text: str) -> tuple[int, int]:
    """As ``2`` or ``1:4``."""
    least, _, most = text.partition(":")
    try:
        told = int(least), int(most if ":" in text else least)
    except ValueError:
        told = 0, 0
    if not 1 <= told[0] <= told[1]:
        raise ArgumentTypeError(f"{text!r} is not like 2 or 1:4, from 1")
    return told


def gpus(text: str) -> float:
    """A share of one, or a number of them; Ray does not know others."""
    wanted = "a share below 1 with at most four decimals, or a whole number"
    return checked(text, lambda value: value >= 0 and (value * 10_000 if value < 1 else value) % 1 == 0, wanted)


def serve_cluster(
    make: Make, asked: ClusterOptions, place: str, *, host: str, port: int, rows: int, tls: Tls | None
) -> None:
    """Serve until a signal ends it. Raises ServeError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if asked.address is None:
        # With this Ray keeps to 127.0.0.1, with all but what is served. It looks when it is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        from sottovoce.stream import cluster
    except ModuleNotFoundError as error:
        raise ServeError(f"{error.name} must be installed for this: pip install 'sottovoce[cluster]'") from error
    least, most = asked.replicas
    asking = cluster.Cluster(host, port, tls, asked.address, least, most, rows, asked.cpus, asked.gpus)
    ours = sys.stdout
    with (
        redirect_stdout(sys.stderr),
        cluster.deployed(make, asking),
    ):  # Ray tells of replicas that die where it should not
        many = f"{least} to {most} replicas" if least != most else f"{least} replica{'s' * (least > 1)}"
        with redirect_stdout(ours):
            say(f"sottovoce serves a cluster at {place} with {many} of {rows} rows; Ctrl-C ends it")
        Event().wait()
