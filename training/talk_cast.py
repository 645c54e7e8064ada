"""Who speaks: what the weights say of each voice that a talker learned."""

import re
from collections.abc import Sequence

from sottovoce.models.talker_file import Voice

from .talk_store import TalkData

ANYBODY = "any"
"""The voice of rows that training took the voice from: what all have in common."""
KOKORO = re.compile(r"(?P<accent>[ab])(?P<sex>[fm])_\w+")  # the first of a blend tells
ACCENTS = {"a": "en-US", "b": "en-GB"}
SEXES = {"f": "female", "m": "male"}
TEACHERS = {
    "kokoro": "Apache-2.0 (speech of Kokoro-82M)",
    "hibari": "Apache-2.0 (speech of hibari-tts, distilled from Kokoro-82M)",
}
HIBARI = {"heart": ("female", "en-US"), "kore": ("female", "en-US"), "fenrir": ("male", "en-US"),
          "emma": ("female", "en-GB"), "fable": ("male", "en-GB")}  # fmt: skip


def cast(data: TalkData, names: Sequence[str], told: Sequence[str]) -> tuple[Voice, ...]:
    """The voices in the order of ``names``.

    Args:
        told: of voices that no teacher's name explains, ``kathleen=female,en-US,CC0-1.0``; these come first.

    Raises:
        ValueError: nothing is known of a voice, or ``told`` is not of that form.
    """
    known = dict(map(_told, told))
    teachers = {one.voice: one.teacher for one in data.utterances}
    return tuple(known.get(name) or _from_teacher(name, teachers.get(name, "")) for name in names)


def _told(text: str) -> tuple[str, Voice]:
    name, equals, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(",")]
    if not equals or len(parts) != 3 or not all((name, *parts)) or parts[0] not in SEXES.values():
        raise ValueError(f"{text!r} is not of the form name=female,en-US,CC0-1.0")
    return name, Voice(name, *parts)


def _from_teacher(name: str, teacher: str) -> Voice:
    if name == ANYBODY:
        return Voice(ANYBODY, "any", "en", "Apache-2.0")
    licence = TEACHERS.get(teacher.split("-")[0])
    kokoro = KOKORO.match(name)
    if licence and kokoro:
        return Voice(name, SEXES[kokoro["sex"]], ACCENTS[kokoro["accent"]], licence)
    if licence and name in HIBARI:
        return Voice(name, *HIBARI[name], licence)
    raise ValueError(f"nothing is known of the voice {name}; say --about {name}=female,en-US,CC0-1.0")
