"""Speech with the times of its characters over HTTP, as ElevenLabs has it: ``stream/with-timestamps``, lines of JSON."""

from __future__ import annotations

import base64
import json
from typing import cast

from .character_times import alignment
from .frames import Frame, Pcm
from .spoken_answer import Usage
from .talk import PassageBegan
from .timed_sound import Piece, TimedSound

TIMESTAMPS = "/v1/text-to-speech/{voice}/stream/with-timestamps"
CONTENT_TYPE = "application/x-ndjson"


class TimedLines:
    """A `spoken_answer.Body` of lines, each with a piece of the sound; times count from the beginning of the text."""

    def __init__(self, sound: TimedSound) -> None:
        self._sound = sound

    async def push(self, pcm: Pcm) -> bytes:
        """A line, where there is something."""
        return _line(await self._sound.push(Frame(pcm, 0, 0, 0.0)))

    async def finish(self, usage: Usage) -> bytes:
        """The rest."""
        return _line(await self._sound.finish())

    def fail(self, message: str) -> bytes:
        """A line that says so."""
        return json.dumps({"detail": {"status": "internal", "message": message}}).encode() + b"\n"


def _line(piece: Piece) -> bytes:
    if not piece:
        return b""
    times = None if piece.began is None else times_s(piece.began)
    audio = base64.b64encode(piece.data).decode()
    told = {"audio_base64": audio, "alignment": times, "normalized_alignment": times}
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def times_s(passage: PassageBegan) -> dict[str, list[object]]:
    """Characters with their times in seconds."""
    found = alignment(passage)
    starts = [passage.start_ms + ms for ms in cast(list[int], found["charStartTimesMs"])]
    ends = [start + ms for start, ms in zip(starts, cast(list[int], found["charDurationsMs"]), strict=True)]
    return {
        "characters": list(found["chars"]),
        "character_start_times_seconds": [round(ms / 1000, 3) for ms in starts],
        "character_end_times_seconds": [round(ms / 1000, 3) for ms in ends],
    }
