"""What may happen in a session (`protocol.py`): one frozen dataclass for each, told to whoever drives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .client_messages import Start, Update
from .wire import Media


@dataclass(frozen=True, slots=True)
class StartAsked:
    """Answer at once, with `Session.accept` or `Session.fail`."""

    start: Start


class MediaArrived(NamedTuple):
    """Sound or codes of the present generation."""

    media: Media
    generation: int
    ms: float
    "How much of them."


@dataclass(frozen=True, slots=True)
class TextArrived:
    """Something to speak, or, if ``text`` is None, the word to speak what has come."""

    text: str | None
    generation: int
    end: bool = False
    "The text is complete."


@dataclass(frozen=True, slots=True)
class GenerationCancelled:
    """`Session.generation` has a new number, and nothing of an older one will be sent."""


@dataclass(frozen=True, slots=True)
class DialTurned:
    """The client wants something else from now on."""

    update: Update


@dataclass(frozen=True, slots=True)
class SoundEnded:
    """The client says nothing more. Send the rest, then `Session.finish`."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: stop everything."""

    code: str
    "A key of `CLOSE_CODES`, or ``end`` or ``gone``."


Event = StartAsked | MediaArrived | TextArrived | GenerationCancelled | DialTurned | SoundEnded | Closed
