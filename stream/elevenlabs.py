"""Text to speech as ElevenLabs has it: the WebSocket ``stream-input`` that text is written into, and ``stream`` over HTTP."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from asyncio import TaskGroup
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from . import elevenlabs_timestamps, schema
from .call import Service
from .channel import Channel
from .character_times import alignment
from .client_messages import MOST_CHARS as MOST_MESSAGE_CHARS
from .client_messages import Name
from .elevenlabs_timestamps import TimedLines
from .errors import ProtocolError, UsageError
from .frames import Frame, Pcm
from .json_line import JsonLine
from .openai_speech import Plain
from .pipeline import first_error
from .samples import RATES_HZ
from .schema import Length, Range
from .session_events import TextArrived
from .sound_stream import CONTENT_TYPES, MP3_KBPS, SoundStream, mp3_kbps
from .speakers import Speakers, counted_row
from .spoken_answer import Asked, SpokenAnswer, read_json
from .talk_work import FASTEST, SLOWEST, Manner
from .timed_sound import Piece, TimedSound

logger = logging.getLogger(__name__)

INPUT = "/v1/text-to-speech/{voice}/stream-input"
STREAM = "/v1/text-to-speech/{voice}/stream"
WHOLE = "/v1/text-to-speech/{voice}"
VOICES = "/v1/voices"
IDLE_S, MOST_IDLE_S = 20.0, 180.0
"""How long a client may say nothing, and may ask to."""
MOST_CHARS = 10_000
"""In one text of `STREAM`."""
MOST_SEED = 4_294_967_295
_WAITING = 1024
"""Pieces of text."""
_FORM = re.compile(r"(?:(pcm|wav|ulaw|alaw)_(\d{4,6})|(mp3)_(\d{4,5})_(\d{1,3}))")
_DEFAULT_FORM = "mp3_44100_128"
_CLOSE_CODES = {"internal": 1011, "no_slot": 1013}


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """``voice_settings``, as far as they mean something here."""

    speed: Annotated[float, Range(SLOWEST, FASTEST)] | None = None


@dataclass(frozen=True, slots=True)
class _Said:
    """A message of a client."""

    text: Annotated[str, Length(MOST_MESSAGE_CHARS)] | None = None
    flush: bool | None = None
    voice_settings: VoiceSettings | None = field(default_factory=VoiceSettings)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The body of a request for `STREAM`."""

    text: Annotated[str, Length(MOST_CHARS)]
    model_id: Name | None = None
    voice_settings: VoiceSettings | None = None
    seed: Annotated[int, Range(0, MOST_SEED)] | None = None


def manner(speakers: Speakers, voice: str, settings: VoiceSettings | None, seed: str | None) -> Manner:
    """Raises UsageError: no such voice, or a seed that is none."""
    number = speakers.number(voice)
    if seed is not None and not (re.fullmatch(r"\d{1,10}", seed, re.ASCII) and int(seed) <= MOST_SEED):
        raise UsageError(f"seed must be a whole number from 0 to {MOST_SEED}")
    speed = settings.speed if settings is not None and settings.speed is not None else 1.0
    return Manner(number, speed, seed=int(seed or 0))


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """What sound is asked for as."""

    form: str
    "A key of `CONTENT_TYPES`."
    rate_hz: int
    kbps: int = MP3_KBPS

    def stream(self, in_hz: int) -> SoundStream:
        """A new one."""
        return SoundStream(self.form, in_hz, self.rate_hz, self.kbps)


def output_format(name: str | None) -> OutputFormat:
    """``output_format``. Raises UsageError: it is not to be had here."""
    found = _FORM.fullmatch(_DEFAULT_FORM if name is None else name)
    if found is not None and found[3] and int(found[5]) in mp3_kbps(int(found[4])):
        return OutputFormat("mp3", int(found[4]), int(found[5]))
    if found is not None and found[1] and int(found[2]) in RATES_HZ:
        return OutputFormat(found[1], int(found[2]))
    raise UsageError(
        f"this output_format is not to be had here; ask for {_DEFAULT_FORM}, pcm_24000, wav_24000, ulaw_8000, or another rate"
    )


# ---- HTTP ------------------------------------------------------------------------------------------------------


def refuse(status: int, code: str, message: str) -> Response:
    """An error as ElevenLabs' clients read it."""
    return JSONResponse({"detail": {"status": code, "message": message}}, status)


async def voices(request: Request, speakers: Speakers) -> Response:
    """``GET /v1/voices``: a voice's name is its id."""
    return JSONResponse({
        "voices": [
            {
                "voice_id": voice.name,
                "name": voice.name,
                "category": "premade",
                "labels": {"gender": voice.sex, "language": voice.language},
            }
            for voice in speakers.voices
        ]
    })  # fmt: skip


async def stream(request: Request, service: Service, speakers: Speakers, timed: bool = False) -> Response:
    """``POST /v1/text-to-speech/{voice}/stream``; ``timed``: the one with timestamps."""
    query = request.query_params
    try:
        values = await read_json(request, service.limits.message_bytes)
        asked = schema.read(_Asked, values, "request")
        seed = query.get("seed") if asked.seed is None else str(asked.seed)
        how = manner(speakers, request.path_params["voice"], asked.voice_settings, seed)
        wanted = output_format(query.get("output_format"))
    except ClientDisconnect:
        return Response(status_code=400)  # to nobody
    except ProtocolError as error:
        return refuse(413 if error.code == "overrun" else 400, "invalid_value", str(error))
    except UsageError as error:
        return refuse(400, "invalid_value", str(error))
    sound = wanted.stream(service.loop.descriptor.rate_hz)
    if timed:
        times = TimedSound(service.loop.descriptor.rate_hz, sound)
        lines = Asked(asked.text, how, elevenlabs_timestamps.CONTENT_TYPE, TimedLines(times), times.told)
        return SpokenAnswer(service, speakers, lines, refuse)
    return SpokenAnswer(service, speakers, Asked(asked.text, how, CONTENT_TYPES[wanted.form], Plain(sound)), refuse)


def spoken(piece: Piece) -> dict[str, object]:
    """A piece of sound, and if a passage begins with it the times of its characters from there on."""
    times = None if piece.began is None else alignment(piece.began)
    return {"audio": base64.b64encode(piece.data).decode(), "alignment": times, "normalizedAlignment": times}


# ---- the WebSocket ---------------------------------------------------------------------------------------------


async def stream_input(websocket: WebSocket, service: Service, speakers: Speakers) -> None:
    """``/v1/text-to-speech/{voice}/stream-input``."""
    line = JsonLine(websocket, service)
    await line.converse(_Conversation(websocket, line, service, speakers).run)


class _Conversation:
    """One client of `stream_input`."""

    def __init__(self, websocket: WebSocket, line: JsonLine, service: Service, speakers: Speakers) -> None:
        self._websocket = websocket
        self._line = line
        self._service = service
        self._speakers = speakers
        self._texts: Channel[TextArrived] = Channel(_WAITING, "wait", "said")
        self._waiting_chars = 0
        self._spoken = asyncio.Event()  # there may be room for more text

    async def run(self) -> None:
        """To its end. Raises what the client did wrong, or what failed; WebSocketDisconnect: the client is gone."""
        query, service = self._websocket.query_params, self._service
        voice = self._websocket.path_params["voice"]
        manner(self._speakers, voice, None, query.get("seed"))
        wanted = output_format(query.get("output_format"))
        idle_s = patience_s(query.get("inactivity_timeout"))
        first = await self._receive(idle_s)
        how = manner(self._speakers, voice, first.voice_settings, query.get("seed"))
        codec_hz = service.loop.descriptor.rate_hz
        sound = TimedSound(codec_hz, wanted.stream(codec_hz))

        async def sink(frame: Frame[Pcm]) -> None:
            await self._tell(await sound.push(frame))

        with counted_row(service.loop, service.metrics, "stream-input") as row:
            async with first_error(), TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(first, idle_s), name="listen")
                await self._speakers.say(self._said(), sink, row, how, service.clock, sound.told)
                listening.cancel()
        await self._tell(await sound.finish())
        await self._line.send({"audio": None, "isFinal": True})

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
        await self._line.until_gone()

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
        return schema.read(_Said, await self._line.receive(idle_s), "message")

    async def _tell(self, piece: Piece) -> None:
        if piece:
            await self._line.send({**spoken(piece), "isFinal": False})


def _weight(piece: TextArrived) -> int:
    """What it counts of ``text_chars``: a piece without a text takes room, too."""
    return len(piece.text or " ")


def patience_s(asked: str | None) -> float:
    """``inactivity_timeout``. Raises UsageError."""
    if asked is None:
        return IDLE_S
    if not re.fullmatch(r"\d{1,3}", asked, re.ASCII) or not 1 <= int(asked) <= MOST_IDLE_S:
        raise UsageError(f"inactivity_timeout must be 1 to {MOST_IDLE_S:g}")
    return float(asked)
