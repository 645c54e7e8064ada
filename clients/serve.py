"""``sottovoce serve``: one process with an engine, a page and a WebSocket, safe unless told otherwise."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sottovoce.stream.engine import Engine
from sottovoce.stream.errors import ServeError, UsageError

from .clusters import ClusterOptions, serve_cluster
from .engines import EngineOptions, make_engine
from .interrupts import run
from .pipes import say, tell
from .speakers import add_speakers

if TYPE_CHECKING:
    from sottovoce.stream.hosting import Tls
    from sottovoce.stream.server import ServerOptions

TOKEN_VARIABLE = "SOTTOVOCE_TOKEN"
PORT = 8765
ROWS = 4
WEB = Path(__file__).parent / "web"
"""The page."""
_STRANGERS_SESSIONS = 8
"""Of one address, where anybody may come."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What a person asks of a server."""

    engine: EngineOptions
    rows: int = ROWS
    host: str = "127.0.0.1"
    port: int = PORT
    "0: any that is free."
    token: str | None = None
    "None: what the environment says."
    no_auth: bool = False
    certificate: Path | None = None
    key: Path | None = None
    origins: tuple[str, ...] = ()
    lexicon: Path | None = None
    "Words that are pronounced otherwise."
    cluster: ClusterOptions | None = None


def serve(options: ServeOptions) -> None:
    """Serve until a signal ends it.

    Raises:
        UsageError: the options contradict each other, or would let strangers in unasked.
        ServeError: something that serving needs is not installed, the port is taken, or the certificate cannot be used.
        SottovoceError: the engine cannot be made.
    """
    token = _token(options)
    try:
        from sottovoce.stream import server
        from sottovoce.stream.guard import TOKEN
        from sottovoce.stream.hosting import Tls
    except ModuleNotFoundError as error:
        raise ServeError(f"{error.name} must be installed to serve: pip install 'sottovoce[serve]'") from error
    if token is not None and not TOKEN.fullmatch(token):
        raise UsageError("a token has 8 to 200 letters, digits and . _ ~ + -")
    tls = None
    if options.certificate is not None and options.key is not None:
        tls = Tls(options.certificate, options.key)
        tls.check()
    make = partial(_make, options, token, tls)
    listening = _listen(options.host, options.port)
    with listening:
        local = is_local(options.host)
        scheme = "http" if tls is None else "https"
        host = f"[{options.host}]" if ":" in options.host else options.host
        port = listening.getsockname()[1]
        place = f"{scheme}://{host}:{port}"
        if options.cluster is not None:
            listening.close()  # Ray's proxies listen themselves
            asked = options.cluster
            return serve_cluster(make, asked, place, host=options.host, port=port, rows=options.rows, tls=tls)
        engine, server_options = make()
        speakers = server_options.speakers

        def ready() -> None:
            gc.collect()
            gc.freeze()  # or sessions wait while Python looks for garbage among the models and the dictionaries
            say(f"sottovoce serves {engine.descriptor.preset} at {place} with {options.rows} rows; Ctrl-C ends it")
            if speakers is not None:
                say(f"it speaks as {', '.join(speakers.names)}")
            if tls is None and not local:
                tell("note: on other machines browsers give a microphone to pages of https only; see --cert and --key")

        logging.basicConfig(level=logging.WARNING, format="sottovoce: %(message)s")
        run(server.serve(engine, server_options, listening, ready))


def _make(options: ServeOptions, token: str | None, tls: Tls | None) -> tuple[Engine, ServerOptions]:
    """Whoever works in a server, and what it is told; for a cluster, on the machine of each replica."""
    from sottovoce.stream.guard import Rules
    from sottovoce.stream.server import ServerOptions
    from sottovoce.stream.server_messages import Limits

    engine, speakers = add_speakers(make_engine(options.engine, options.rows), options.engine, options.lexicon)
    strangers = not is_local(options.host)
    rules = Rules(
        token=token,
        origins=frozenset(options.origins),
        sessions_per_address=_STRANGERS_SESSIONS if strangers else max(options.rows + 64, 64),
    )
    web = WEB if WEB.is_dir() else None
    return engine, ServerOptions(Limits(sessions=options.rows), rules, speakers=speakers, web=web, tls=tls)


def is_local(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(options: ServeOptions) -> str | None:
    """The token that holds. Raises UsageError."""
    token = options.token if options.token is not None else os.environ.get(TOKEN_VARIABLE) or None
    if token is not None and options.no_auth:
        raise UsageError(f"--no-auth contradicts the token in --token or {TOKEN_VARIABLE}")
    if token is None and not options.no_auth and not is_local(options.host):
        raise UsageError(
            f"anybody who reaches {options.host} could use this server: set a token in {TOKEN_VARIABLE} or --token, "
            "or say --no-auth"
        )
    if (options.certificate is None) != (options.key is None):
        raise UsageError("--cert and --key go together")
    for origin in options.origins:
        where = urlsplit(origin)
        if where.scheme not in ("http", "https") or not where.netloc or origin != f"{where.scheme}://{where.netloc}":
            raise UsageError(f"--origin is like https://example.org, not {origin!r}")
    return token


def _listen(host: str, port: int) -> socket.socket:
    """Raises ServeError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ServeError(f"cannot listen on {host} port {port}: {reason}; choose another with --port") from error
