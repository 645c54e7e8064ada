"""A WebSocket of JSON messages: read no faster than agreed, and never waited for by somebody who takes nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from . import schema
from .allowance import Allowance
from .call import Service
from .client_messages import MOST_CHARS
from .errors import EngineStopped, NoSlot, ProtocolError, SottovoceError, UsageError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CLOSE_CODES = {"internal": 1011, "no_slot": 1013}
_MOST_REASON_BYTES = 120


class JsonLine:
    """The server's end of one, in the manner of ElevenLabs: what goes wrong is a message, then a close."""

    def __init__(self, websocket: WebSocket, service: Service) -> None:
        self._websocket = websocket
        self._service = service
        self._allowance = Allowance(service.limits.messages_per_s, service.clock())

    async def converse(self, run: Callable[[], Awaitable[None]]) -> None:
        """The handshake, and ``run`` to its end; what that raises the client is told, and the log where it is our fault."""
        # Before the handshake is through Starlette does not turn the one into the other.
        with suppress(OSError, WebSocketDisconnect):
            await self._websocket.accept()
            try:
                await run()
                await self._websocket.close(1000)
            except WebSocketDisconnect:
                raise
            except Exception as error:
                told = explained(error)
                if told["error"] == "internal":
                    known = isinstance(error, SottovoceError)
                    logger.error("%s: %s", self._websocket.url.path, error, exc_info=None if known else error)
                await self.send(told)
                reason = str(told["message"]).encode()[:_MOST_REASON_BYTES].decode(errors="ignore")
                await self._websocket.close(int(str(told["code"])), reason)

    async def receive(self, patience_s: float) -> dict[str, Any]:
        """The next message. Raises ProtocolError: it is none, or none came; WebSocketDisconnect."""
        try:
            async with asyncio.timeout(patience_s):
                message = await self._text()
        except TimeoutError:
            raise ProtocolError("input_timeout_exceeded", f"nothing was heard of you for {patience_s:g} s") from None
        await asyncio.sleep(self._allowance.wait_s(self._service.clock()))
        return schema.parse(message, MOST_CHARS)

    async def until_gone(self) -> None:
        """Read on, whatever comes. Raises WebSocketDisconnect in the end; ProtocolError: what came is no text."""
        while True:
            await self._text()

    async def send(self, told: dict[str, object]) -> None:
        """Raises WebSocketDisconnect: the client is gone, or takes nothing."""
        try:
            async with asyncio.timeout(self._service.limits.slow_s):
                await self._websocket.send_text(json.dumps(told, separators=(",", ":")))
        except TimeoutError:
            raise WebSocketDisconnect(1006) from None

    async def _text(self) -> str:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text: str | None = message.get("text")
        if text is None:
            raise ProtocolError("bad_message", "a message must be text")
        return text


def explained(error: Exception) -> dict[str, object]:
    """What a client is told of an error: ``message``, ``error`` in one word, and the close's ``code``."""
    match error:
        case NoSlot(reason=reason):
            word, message = "no_slot", f"{reason}; try again"
        case UsageError():
            word, message = "invalid_value", str(error)
        case ProtocolError(code=word):
            message = str(error)
        case EngineStopped():
            word, message = "internal", str(error)
        case _:
            word, message = "internal", "the server failed; its log tells why"
    return {"message": message, "error": word, "code": _CLOSE_CODES.get(word, 1008)}
