"""What every connection begins as, WebSockets too: uvicorn's, but small messages leave at once, and who never asks is closed.

asyncio turns Nagle's algorithm off only for sockets that were made with a protocol's number, which ``socket.create_server`` and
uvicorn do not give. With it the first sound of a session would wait up to 40 ms for a client's delayed acknowledgement.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEAD_S = 10.0
"""What a head may take; looked at as often."""


class HttpConnection(H11Protocol):
    """One that says nothing, or never ends the head of a request, uvicorn would keep for ever."""

    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        with suppress(OSError):  # it is gone already, or no TCP
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._look = self.loop.call_later(HEAD_S, self._looked, None, True)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _looked(self, before: RequestResponseCycle | None, waited: bool) -> None:
        """``before`` was the newest request, and ``waited`` whether the next was to come, when this was looked at last."""
        self._look = None
        transport: Any = self.transport
        if transport.is_closing() or transport.get_protocol() is not self:
            return  # it has become a WebSocket, which has a patience of its own
        waits = self.cycle is None or self.cycle.response_complete
        if waits and waited and self.cycle is before:
            transport.abort()
        else:
            self._look = self.loop.call_later(HEAD_S, self._looked, self.cycle, waits)
