"""Why a WebSocket could not be opened, in one line for people."""

from __future__ import annotations

import ssl
from typing import Literal, NamedTuple

from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException

FAILURES = (WebSocketException, OSError, ValueError, EOFError)
"""What ``websockets.asyncio.client.connect`` raises, `TimeoutError` and `ssl.SSLError` among them."""


class Failure(NamedTuple):
    """One attempt."""

    kind: Literal["passing", "lasting", "strange", "address"]
    """``passing``: the next attempt may work. ``lasting``: it would not. ``strange``: what answers speaks another language, or
    broke off. ``address``: there is no such place."""
    message: str


def explain(error: Exception, place: str, untrusted: str = "") -> Failure:
    """An ``error`` of `FAILURES` at ``place``; ``untrusted``: what to do where a certificate is not trusted."""
    match error:
        case InvalidStatus():
            status = error.response.status_code
            lasting = status < 500 and status != 429
            return Failure("lasting" if lasting else "passing", f"{place} answers, but refuses with HTTP {status}")
        case ssl.SSLError():
            return Failure(
                "lasting", f"{place}: its certificate cannot be trusted ({error.reason or error}){untrusted}"
            )
        case InvalidURI() | ValueError():
            return Failure("address", f"{place} is no address of a server: {error}")
        case TimeoutError():
            return Failure("passing", f"{place} does not answer; is the server running?")
        case OSError():
            return Failure("passing", f"{place} cannot be reached ({error.strerror or error}); is the server running?")
        case _ if isinstance(error, EOFError) or isinstance(error.__cause__, EOFError):
            return Failure(
                "strange", f"{place} hung up before it had answered; is that a sottovoce server, and is it ws or wss?"
            )
        case _:
            return Failure("strange", f"{place} answers, but is no sottovoce server")
