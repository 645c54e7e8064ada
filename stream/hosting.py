"""The server's application on uvicorn: its sockets, TLS, and its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .errors import ServeError
from .server_messages import Limits

_LINGER_S = 5.0
"""What a client has for its side of a goodbye."""
_SHUTDOWN_S = 3
"""The same when the server ends."""


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate with its chain, and its key, as PEM files."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raises ServeError: they cannot be read, do not belong together, or the key has a password."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, lambda: "")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
            raise ServeError(f"{self.certificate} and {self.key} cannot be used: {reason}") from error


async def host(
    app: ASGIApp,
    listening: socket.socket,
    limits: Limits,
    tls: Tls | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve ``app`` on the bound socket ``listening`` until cancelled. Raises ServeError as `Tls.check`."""
    if tls is not None:
        tls.check()
    config = uvicorn.Config(
        app,
        http="h11",
        ws=_WebSocketProtocol,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,  # codes and noise do not get smaller, and waiting for more costs time
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,  # it would hold URLs
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )
    server = _Server(config, ready)
    logging.getLogger("uvicorn.error").addFilter(_in_one_line)
    serving = asyncio.create_task(server.serve([listening]), name="uvicorn")
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it, and says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, but a client that reads nothing cannot keep its connection once the application is done with it."""

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self.loop.call_later(_LINGER_S, self.transport.abort)


def _in_one_line(record: logging.LogRecord) -> bool:
    """A text that is no UTF-8 is a client's fault, and no news: uvicorn would print a traceback for it."""
    if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info = None
    return True
