"""Who can speak on a server, and what it takes to have a text spoken there for somebody who just wants the sound."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.websockets import WebSocketDisconnect

from .admission import SPOKEN
from .clock import Clock
from .errors import ProtocolError, UsageError
from .loop import EngineLoop, Session
from .metrics import Metrics
from .pipeline import Sink
from .session_events import TextArrived
from .speech import Context, Speech, Tell, speak
from .statistics import Statistics
from .talk import MOST_CHARS, Words
from .talk_work import Manner, Voice, voice_number


@dataclass(frozen=True, slots=True)
class Speakers:
    """The voices of a talker, and who reads for them."""

    voices: tuple[Voice, ...]
    "Of the engine, in its order."
    readers: Mapping[str, Words]
    "By language, for every voice's."
    most_chars: int = MOST_CHARS
    "In a text."

    @property
    def names(self) -> tuple[str, ...]:
        """Of the voices."""
        return tuple(voice.name for voice in self.voices)

    def number(self, name: str | None) -> int:
        """Of the voice ``name``; None is the first. Raises UsageError: there is none of that name."""
        return voice_number(self.voices, name)

    def reader(self, voice: int) -> Words:
        """Who reads for a voice."""
        return self.readers[self.voices[voice].language]

    async def say(
        self,
        texts: AsyncIterable[TextArrived],
        sink: Sink,
        row: Session,
        manner: Manner,
        clock: Clock,
        tell: Tell = lambda event: None,
    ) -> int:
        """Text to sound as fast as ``sink`` takes it, but never before the sound of others who would miss it.

        Returns how many samples. Raises as `speech.speak`.
        """
        # A player without end: every frame is due when the ones before it would have been heard, and none has to wait.
        speech = Speech(manner, lead_ms=math.inf, most_chars=self.most_chars)
        context = Context(row, self.reader(manner.voice), Statistics(row.descriptor), clock=clock)
        return await speak(texts, sink, speech, context, tell)


@contextmanager
def counted_row(loop: EngineLoop, metrics: Metrics, mode: str) -> Iterator[Session]:
    """A row, as the metrics see it. Raises NoSlot, EngineStopped."""
    with loop.open(SPOKEN) as row:
        metrics.open.labels(mode).inc()
        reason = "gone"  # as it is if whoever uses it is cancelled
        try:
            yield row
            reason = "end"
        except (ProtocolError, UsageError):
            reason = "bad_message"
            raise
        except (TimeoutError, WebSocketDisconnect):  # it took nothing, or left
            raise
        except Exception:
            reason = "internal"
            raise
        finally:
            metrics.open.labels(mode).dec()
            metrics.ended.labels(mode, reason).inc()
