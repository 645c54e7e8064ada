"""``POST /v1/audio/speech`` as OpenAI has it, and its errors.

What cannot be done is refused, never replaced by something else.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from . import schema
from .call import Service
from .client_messages import Name
from .errors import ProtocolError, UsageError
from .frames import Pcm
from .schema import Length, Range
from .sound_stream import CONTENT_TYPES, SoundStream
from .speakers import Speakers
from .spoken_answer import Asked, Body, SpokenAnswer, Usage, read_json
from .talk_work import FASTEST, SLOWEST, Manner, Voice

PATH = "/v1/audio/speech"
RATE_HZ = 24_000
"""Of all formats; for pcm OpenAI promises it."""
FORMATS = ("mp3", "opus", "flac", "wav", "pcm")
MOST_CHARS = 4096
"""As OpenAI has it."""
BUILT_IN = {
    "female": ("alloy", "ballad", "coral", "fable", "marin", "nova", "sage", "shimmer"),
    "male": ("ash", "cedar", "echo", "onyx", "verse"),
}
"""OpenAI's voices, which clients have built in, by the sex that they sound to have: here the first voice of it speaks."""
STAND_INS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Names that clients have built in; here they mean the one talker that there is."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The fields of a request that mean something here; others are ignored."""

    input: Annotated[str, Length(MOST_CHARS)]
    model: Name | None = None
    voice: Name | None = None
    response_format: Name = "mp3"
    speed: Annotated[float, Range(SLOWEST, FASTEST)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"


def model_name(preset: str) -> str:
    """What the talker of a codec is called in ``/v1/models``."""
    return f"{preset}-talker"


def refuse(status: int, code: str, message: str, param: str | None = None) -> Response:
    """An error as OpenAI's clients read it."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


def voice_name(voices: Sequence[Voice], asked: str | None) -> str | None:
    """The name of the voice that is meant: ours before OpenAI's; what is neither stays as it is."""
    sex = next((sex for sex, names in BUILT_IN.items() if asked in names), None)
    if sex is None or any(voice.name == asked for voice in voices):
        return asked
    return next((voice.name for voice in voices if voice.sex == sex), None)


async def speech(request: Request, service: Service, speakers: Speakers) -> Response:
    """The endpoint."""
    try:
        values = await read_json(request, service.limits.message_bytes)
        if isinstance(voice := values.get("voice"), dict):
            if voice.get("id") is None:
                raise ProtocolError("bad_message", "request.voice must be a name, or an object with an id")
            values["voice"] = voice["id"]
        asked = schema.read(_Asked, values, "request")
        number = speakers.number(voice_name(speakers.voices, asked.voice))
    except ClientDisconnect:
        return Response(status_code=400)  # to nobody
    except ProtocolError as error:
        param = re.match(r"request\.(\w+)|request lacks (\w+)", str(error))
        name = param and (param[1] or param[2])
        return refuse(413 if error.code == "overrun" else 400, "invalid_value", str(error), name)
    except UsageError as error:
        return refuse(400, "invalid_value", str(error), "voice")
    ours = model_name(service.loop.descriptor.preset)
    if asked.model not in (None, ours, *STAND_INS):
        return refuse(404, "model_not_found", f"the model that speaks here is {ours}", "model")
    if asked.response_format not in FORMATS:
        message = f"this response_format is not to be had here; ask for {', '.join(FORMATS)}"
        return refuse(400, "unsupported_format", message, "response_format")
    sound = SoundStream(asked.response_format, service.loop.descriptor.rate_hz, RATE_HZ)
    sse = asked.stream_format == "sse"
    body: Body = Events(sound) if sse else Plain(sound)
    media_type = "text/event-stream" if sse else CONTENT_TYPES[asked.response_format]
    return SpokenAnswer(service, speakers, Asked(asked.input, Manner(number, asked.speed), media_type, body), refuse)


class Plain:
    """A `Body` that is the sound itself."""

    def __init__(self, sound: SoundStream) -> None:
        self._sound = sound

    async def push(self, pcm: Pcm) -> bytes:
        """As it comes."""
        return await self._sound.push(pcm)

    async def finish(self, usage: Usage) -> bytes:
        """The rest."""
        return await self._sound.finish()

    def fail(self, message: str) -> bytes:
        """Nothing: the sound breaks off."""
        return b""


class Events:
    """A `Body` of server-sent events, with pieces of the sound in them."""

    def __init__(self, sound: SoundStream) -> None:
        self._sound = sound

    async def push(self, pcm: Pcm) -> bytes:
        """``speech.audio.delta``, where there is something."""
        return _delta(await self._sound.push(pcm))

    async def finish(self, usage: Usage) -> bytes:
        """The rest, and ``speech.audio.done``; its tokens are phonemes in and frames of codes out."""
        tokens = {
            "input_tokens": usage.symbols,
            "output_tokens": usage.frames,
            "total_tokens": usage.symbols + usage.frames,
        }
        return _delta(await self._sound.finish()) + _event({"type": "speech.audio.done", "usage": tokens})

    def fail(self, message: str) -> bytes:
        """``error``."""
        return _event({"type": "error", "error": {"message": message, "type": "server_error", "code": "internal"}})


def _delta(data: bytes) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()}) if data else b""


def _event(told: dict[str, object]) -> bytes:
    return f"data: {json.dumps(told, separators=(',', ':'))}\n\n".encode()
