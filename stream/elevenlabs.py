"""Text to speech as ElevenLabs has it: the WebSocket ``stream-input`` that text is written into, and ``stream`` over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from asyncio import TaskGroup
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, NoReturn

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from . import schema
from .allowance import Allowance
from .call import Service
from .channel import Channel
from .character_times import alignment
from .client_messages import MOST_CHARS as MOST_MESSAGE_CHARS
from .client_messages import Name
from .errors import EngineStopped, NoSlot, ProtocolError, SottovoceError, UsageError
from .frames import Frame, Pcm
from .openai_speech import Plain
from .pipeline import _first_error
from .samples import RATES_HZ
from .schema import Length, Range
from .session_events import TextArrived
from .sound_stream import CONTENT_TYPES, SoundStream
from .speakers import Speakers, counted_row
from .spoken_answer import Asked, SpokenAnswer, read_json
from .talk import PassageBegan, TalkEvent
from .talk_work import FASTEST, SLOWEST, Manner

logger = logging.getLogger(__name__)

INPUT = "/v1/text-to-speech/{voice}/stream-input"
STREAM = "/v1/text-to-speech/{voice}/stream"
WHOLE = "/v1/text-to-speech/{voice}"
IDLE_S, MOST_IDLE_S = 20.0, 180.0
"""How long a client may say nothing, and may ask to."""
MOST_CHARS = 10_000
"""In one text of `STREAM`."""
MOST_SEED = 4_294_967_295
_WAITING = 1024
"""Pieces of text."""
_FORM = re.compile(r"(pcm|wav)_(\d{4,6})")
_CLOSE_CODES = {"internal": 1011, "no_slot": 1013}


@dataclass(frozen=True, slots=True)
class _Settings:
    """``voice_settings``, as far as they mean something here."""

    speed: Annotated[float, Range(SLOWEST, FASTEST)] | None = None


@dataclass(frozen=True, slots=True)
class _Said:
    """A message of a client."""

    text: Annotated[str, Length(MOST_MESSAGE_CHARS)] | None = None
    flush: bool | None = None
    voice_settings: _Settings | None = field(default_factory=_Settings)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The body of a request for `STREAM`."""

    text: Annotated[str, Length(MOST_CHARS)]
    model_id: Name | None = None
    voice_settings: _Settings | None = None
    seed: Annotated[int, Range(0, MOST_SEED)] | None = None


def manner(speakers: Speakers, voice: str, settings: _Settings | None, seed: str | None) -> Manner:
    """Raises UsageError: no such voice, or a seed that is none."""
    number = speakers.number(voice)
    if seed is not None and not (re.fullmatch(r"\d{1,10}", seed, re.ASCII) and int(seed) <= MOST_SEED):
        raise UsageError(f"seed must be a whole number from 0 to {MOST_SEED}")
    speed = settings.speed if settings is not None and settings.speed is not None else 1.0
    return Manner(number, speed, seed=int(seed or 0))


def output_format(name: str | None, forms: tuple[str, ...]) -> tuple[str, int]:
    """One of ``forms``, and a rate. Raises UsageError: it is not to be had here."""
    found = _FORM.fullmatch(name or "")
    if found is None or found[1] not in forms or int(found[2]) not in RATES_HZ:
        wanted = "mp3, the default," if name is None else "this output_format"
        ours = " or ".join(f"{form}_24000" for form in forms)
        raise UsageError(f"{wanted} is not to be had here; ask for output_format {ours}, or another rate")
    return found[1], int(found[2])


# ---- HTTP ------------------------------------------------------------------------------------------------------


def refuse(status: int, code: str, message: str) -> Response:
    """An error as ElevenLabs' clients read it."""
    return JSONResponse({"detail": {"status": code, "message": message}}, status)


async def stream(request: Request, service: Service, speakers: Speakers) -> Response:
    """``POST /v1/text-to-speech/{voice}/stream``."""
    query = request.query_params
    try:
        values = await read_json(request, service.limits.message_bytes)
        asked = schema.read(_Asked, values, "request")
        seed = query.get("seed") if asked.seed is None else str(asked.seed)
        how = manner(speakers, request.path_params["voice"], asked.voice_settings, seed)
        form, rate_hz = output_format(query.get("output_format"), ("pcm", "wav"))
    except ClientDisconnect:
        return Response(status_code=400)  # to nobody
    except ProtocolError as error:
        return refuse(413 if error.code == "overrun" else 400, "invalid_value", str(error))
    except UsageError as error:
        return refuse(400, "invalid_value", str(error))
    sound = SoundStream(form, service.loop.descriptor.rate_hz, rate_hz)
    return SpokenAnswer(service, speakers, Asked(asked.text, how, CONTENT_TYPES[form], Plain(sound)), refuse)


# ---- the WebSocket ---------------------------------------------------------------------------------------------


async def stream_input(websocket: WebSocket, service: Service, speakers: Speakers) -> None:
    """``/v1/text-to-speech/{voice}/stream-input``."""
    with suppress(WebSocketDisconnect):
        await websocket.accept()
        conversation = _Conversation(websocket, service, speakers)
        try:
            await conversation.run()
        except NoSlot as error:
            await conversation.fail("no_slot", f"all {error.rows} rows are taken; try again")
        except UsageError as error:
            await conversation.fail("invalid_value", str(error))
        except ProtocolError as error:
            await conversation.fail(error.code, str(error))
        except WebSocketDisconnect:
            raise
        except Exception as error:
            known = isinstance(error, SottovoceError)
            logger.error("stream-input: %s", error, exc_info=None if known else error)
            told = str(error) if isinstance(error, EngineStopped) else "the server failed; its log tells why"
            await conversation.fail("internal", told)


class _Conversation:
    """One client of `stream_input`."""

    def __init__(self, websocket: WebSocket, service: Service, speakers: Speakers) -> None:
        self._websocket = websocket
        self._service = service
        self._speakers = speakers
        self._texts: Channel[TextArrived] = Channel(_WAITING, "wait", "said")
        self._waiting_chars = 0
        self._allowance = Allowance(service.limits.messages_per_s, service.clock())
        self._spoken = asyncio.Event()  # there may be room for more text
        self._passages: deque[PassageBegan] = deque()  # told, and not yet heard
        self._n_samples = 0

    async def run(self) -> None:
        """To its end. Raises what the client did wrong, or what failed; WebSocketDisconnect: the client is gone."""
        query, service = self._websocket.query_params, self._service
        voice = self._websocket.path_params["voice"]
        manner(self._speakers, voice, None, query.get("seed"))
        _, rate_hz = output_format(query.get("output_format"), ("pcm",))
        idle_s = _idle_s(query.get("inactivity_timeout"))
        first = await self._receive(idle_s)
        how = manner(self._speakers, voice, first.voice_settings, query.get("seed"))
        sound = SoundStream("pcm", service.loop.descriptor.rate_hz, rate_hz)

        async def sink(frame: Frame[Pcm]) -> None:
            await self._tell(await sound.push(frame.data))
            self._n_samples += len(frame.data)

        with counted_row(service.loop, service.metrics, "stream-input") as row:
            async with _first_error(), TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(first, idle_s), name="listen")
                await self._speakers.say(self._said(), sink, row, how, service.clock, self._told)
                listening.cancel()
        await self._tell(await sound.finish())
        await self._send({"audio": None, "isFinal": True})
        await self._websocket.close(1000)

    async def fail(self, code: str, message: str) -> None:
        """Tell the client what went wrong, and end."""
        close_code = _CLOSE_CODES.get(code, 1008)
        await self._send({"message": message, "error": code, "code": close_code})
        await self._websocket.close(close_code, message.encode()[:120].decode(errors="ignore"))

    # ---- what the client says ------------------------------------------------------------------------------------

    async def _listen(self, first: _Said, idle_s: float) -> None:
        """Its text, until it says the last of it; then whether it is still there. Raises as `run`."""
        said = first
        while said.text != "":
            if said.text:
                await self._put(TextArrived(said.text, 0))
            if said.flush:
                await self._put(TextArrived(None, 0))
            said = await self._receive(idle_s)
        self._texts.close()
        while True:
            self._take(await self._websocket.receive())

    async def _put(self, piece: TextArrived) -> None:
        """Waits where enough text waits to be spoken already: then nothing more is read of the line."""
        while self._waiting_chars >= self._service.limits.text_chars:
            self._spoken.clear()
            await self._spoken.wait()
        self._waiting_chars += _weight(piece)
        await self._texts.send(piece)

    async def _said(self) -> AsyncIterator[TextArrived]:
        async for piece in self._texts:
            yield piece
            self._waiting_chars -= _weight(piece)
            self._spoken.set()

    async def _receive(self, idle_s: float) -> _Said:
        """Raises ProtocolError, WebSocketDisconnect."""
        try:
            async with asyncio.timeout(idle_s):
                message = self._take(await self._websocket.receive())
        except TimeoutError:
            raise ProtocolError("input_timeout_exceeded", f"nothing was heard of you for {idle_s:g} s") from None
        await asyncio.sleep(self._allowance.wait_s(self._service.clock()))
        return schema.read(_Said, schema.parse(message, MOST_MESSAGE_CHARS), "message")

    def _take(self, message: Any) -> str:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text: str | None = message.get("text")
        if text is None:
            _wrong("a message must be text")
        return text

    # ---- what it is told -------------------------------------------------------------------------------------------

    def _told(self, event: TalkEvent) -> None:
        if isinstance(event, PassageBegan):
            self._passages.append(event)

    async def _tell(self, data: bytes) -> None:
        """A piece of sound, and if a passage begins with it the times of its characters from there on."""
        at_ms = 1000 * self._n_samples / self._service.loop.descriptor.rate_hz
        times = None
        if self._passages and self._passages[0].start_ms <= at_ms + 0.5:
            times = alignment(self._passages.popleft())
        if data or times:
            audio = base64.b64encode(data).decode()
            await self._send({"audio": audio, "isFinal": False, "alignment": times, "normalizedAlignment": times})

    async def _send(self, told: dict[str, object]) -> None:
        """Raises WebSocketDisconnect: the client is gone, or takes nothing."""
        try:
            async with asyncio.timeout(self._service.limits.slow_s):
                await self._websocket.send_text(json.dumps(told, separators=(",", ":")))
        except TimeoutError:
            raise WebSocketDisconnect(1006) from None


def _weight(piece: TextArrived) -> int:
    """What it counts of ``text_chars``: a piece without a text takes room, too."""
    return len(piece.text or " ")


def _idle_s(asked: str | None) -> float:
    """Raises UsageError."""
    if asked is None:
        return IDLE_S
    if not re.fullmatch(r"\d{1,3}", asked, re.ASCII) or not 1 <= int(asked) <= MOST_IDLE_S:
        raise UsageError(f"inactivity_timeout must be 1 to {MOST_IDLE_S:g}")
    return float(asked)


def _wrong(message: str) -> NoReturn:
    raise ProtocolError("bad_message", message)
