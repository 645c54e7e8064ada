"""A text that is spoken as the body of an HTTP answer: what is said goes out while the rest is still being made."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .call import Service
from .errors import EngineStopped, NoSlot, ProtocolError, SottovoceError, UsageError
from .frames import Frame, Pcm
from .session_events import TextArrived
from .speakers import Speakers, counted_row
from .talk import PassageBegan, TalkEvent
from .talk_work import Manner

logger = logging.getLogger(__name__)

BODY_S = 10.0
"""What the rest of a request may take."""
RETRY_S = 1
"""When to ask again for a row."""


class Body(Protocol):
    """The bytes of an answer."""

    async def push(self, pcm: Pcm) -> bytes:
        """The bytes that follow, for float32 [n] more of sound; often none."""
        ...

    async def finish(self, usage: Usage) -> bytes:
        """The rest."""
        ...

    def fail(self, message: str) -> bytes:
        """What tells the client that nothing more comes, where the form of the answer can; else nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What a text took."""

    symbols: int
    "Phonemes that were spoken."
    frames: int
    "Of codes."


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to hear."""

    text: str
    manner: Manner
    media_type: str
    body: Body
    told: Callable[[TalkEvent], None] = lambda event: None
    "Gets what the talker tells, before the sound that it tells of."


Refuse = Callable[[int, str, str], Response]
"""Status, code and message to an answer in the form that the clients of an adapter read."""


class SpokenAnswer(Response):
    """Speaks what is asked; nothing is sent before there is sound, so that whatever fails until then has its status.

    A client that goes away ends it at once; one that takes nothing for ``slow_s``, too.
    """

    def __init__(self, service: Service, speakers: Speakers, asked: Asked, refuse: Refuse) -> None:
        super().__init__()
        self._service = service
        self._speakers = speakers
        self._asked = asked
        self._refuse = refuse
        self._began = False
        self._symbols = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        speaking = asyncio.create_task(self._answer(scope, receive, send), name="speech")
        leaving = asyncio.create_task(_left(receive), name="gone")
        try:
            await asyncio.wait([speaking, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (speaking, leaving):
                task.cancel()
            await asyncio.wait([speaking, leaving])
        if not speaking.cancelled():
            speaking.result()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            n_samples = await self._speak(send)
            if not n_samples:
                raise UsageError("there is nothing in this text that can be said")
            frames = n_samples // self._service.loop.descriptor.frame_samples
            await self._send(send, await self._asked.body.finish(Usage(self._symbols, frames)))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except NoSlot as error:
            refusal = self._refuse(429, "no_slot", f"{error.reason}; try again")
            refusal.headers["retry-after"] = str(RETRY_S)
            await refusal(scope, receive, send)
        except UsageError as error:
            await self._refuse(400, "invalid_value", str(error))(scope, receive, send)
        except TimeoutError:
            pass  # nobody takes it: the connection is closed without an end
        except Exception as error:
            known = isinstance(error, SottovoceError)
            logger.error("speech: %s", error, exc_info=None if known else error)
            message = str(error) if known else "the server failed; its log tells why"
            if not self._began:
                status = 503 if isinstance(error, EngineStopped) else 500
                await self._refuse(status, "internal", message)(scope, receive, send)
            elif told := self._asked.body.fail(message):
                await self._send(send, told)

    async def _speak(self, send: Send) -> int:
        """The samples that were said; the row is free again."""
        asked, service = self._asked, self._service

        async def sink(frame: Frame[Pcm]) -> None:
            await self._send(send, await asked.body.push(frame.data))

        with counted_row(service.loop, service.metrics, "speech") as row:
            return await self._speakers.say(_once(asked.text), sink, row, asked.manner, service.clock, self._told)

    def _told(self, event: TalkEvent) -> None:
        self._asked.told(event)
        if isinstance(event, PassageBegan):
            self._symbols += sum(len(word.phonemes) for word in event.words)

    async def _send(self, send: Send, data: bytes) -> None:
        """Raises TimeoutError: the client takes nothing."""
        async with asyncio.timeout(self._service.limits.slow_s):
            if not self._began:
                self._began = True
                headers = [(b"content-type", self._asked.media_type.encode()), (b"cache-control", b"no-store")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})


async def read_json(request: Request, most_bytes: int, patience_s: float = BODY_S) -> dict[str, Any]:
    """The JSON object that came, without what is null in it.

    Raises:
        ProtocolError: it is none, larger than ``most_bytes``, or did not come within ``patience_s``.
        ClientDisconnect: it never came whole.
    """
    data = bytearray()
    try:
        async with asyncio.timeout(patience_s):
            async for piece in request.stream():
                data += piece
                if len(data) > most_bytes:
                    raise ProtocolError("overrun", f"a request has at most {most_bytes} bytes")
    except TimeoutError:
        raise ProtocolError("bad_message", f"the request did not come whole within {patience_s:g} s") from None
    try:
        value = json.loads(data)
    except (RecursionError, ValueError):
        raise ProtocolError("bad_message", "the request must be JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError("bad_message", "the request must be a JSON object")
    return {name: item for name, item in value.items() if item is not None}


async def _once(text: str) -> AsyncIterator[TextArrived]:
    yield TextArrived(text, 0, end=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
