"""What a server may say: one frozen dataclass for each type of message, checked by the types of its fields.

`messages.py` reads and writes them; PROTOCOL.md, section 2, tells when each is said.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, ClassVar

from .client_messages import MOST_CHARS, Count, Generation, Line, Ms, Name, Share
from .descriptor import Descriptor
from .errors import ProtocolError
from .schema import Length, Range

PROTOCOL = "sottovoce.v1"
"""The sub-protocol."""


@dataclass(frozen=True, slots=True)
class Audio:
    """What `Format` may say."""

    rates_hz: tuple[Annotated[int, Range(1, 1_000_000)], ...]
    formats: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Codec:
    """The model: its descriptor, and what follows from it."""

    preset: Name
    model_hash: Name
    rate_hz: Count
    frame_samples: Count
    mels_per_frame: Count
    n_mels: Count
    books: Count
    book_size: Count
    delay_samples: Count
    frame_ms: Ms
    delay_ms: Ms
    "Algorithmic, framing included."

    @classmethod
    def of(cls, descriptor: Descriptor) -> Codec:
        """What to tell of ``descriptor``."""
        return cls(**asdict(descriptor), frame_ms=descriptor.frame_ms, delay_ms=descriptor.delay_ms)

    def descriptor(self) -> Descriptor:
        """The descriptor that was told. Raises ProtocolError: it is an impossible one."""
        try:
            return Descriptor(**{field.name: getattr(self, field.name) for field in fields(Descriptor)})
        except ValueError as error:
            raise ProtocolError("bad_message", f"the server's codec is impossible: {error}") from error


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server lets a client do."""

    sessions: Count
    "Rows of the engine."
    least_lead_ms: Ms = 100.0
    lead_ms: Ms = 2000.0
    "The most that ``start.lead_ms`` gets."
    ahead_ms: Ms = 2000.0
    "Where sound waits (``live`` false): the most that a client may send beyond what the server has `Taken`."
    text_chars: Count = 4000
    "Of text that waits to be spoken."
    message_bytes: Count = 1 << 18
    messages_per_s: Annotated[float, Range(1, 1e6)] = 200.0
    "In the long run; a server reads no faster."
    idle_s: Annotated[float, Range(0.1, 1e6)] = 60.0
    "A client that says nothing for so long is sent away."
    slow_s: Annotated[float, Range(0.1, 1e6)] = 10.0
    "So is one that takes, or plays, nothing of what waits for it."


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of all."""

    TYPE: ClassVar = "hello"
    session: Name
    audio: Audio
    codec: Codec
    modes: tuple[Name, ...]
    "What this server can do: those of `Mode` that are not here are refused."
    voices: tuple[Name, ...]
    limits: Limits
    protocol: Name = PROTOCOL


@dataclass(frozen=True, slots=True)
class Started:
    """The session has its row."""

    TYPE: ClassVar = "started"
    generation: Generation
    delay_ms: Ms
    "Of the codec: algorithmic, from sound in to sound out."
    lead_ms: Ms
    "What holds."


@dataclass(frozen=True, slots=True)
class Taken:
    """Where sound waits: how much of what the client sent the server has taken since the session began."""

    TYPE: ClassVar = "taken"
    taken_ms: Ms


@dataclass(frozen=True, slots=True)
class SegmentStart:
    """Something that is spoken in one breath begins at ``start_ms`` of the generation."""

    TYPE: ClassVar = "segment.start"
    generation: Generation
    segment: Count
    start_ms: Ms
    text: Annotated[str, Length(MOST_CHARS)] = ""


@dataclass(frozen=True, slots=True)
class Word:
    """When a word is spoken, in time of the generation."""

    text: Name
    start_ms: Ms
    end_ms: Ms


@dataclass(frozen=True, slots=True)
class Words:
    """Some words of a segment."""

    TYPE: ClassVar = "words"
    generation: Generation
    segment: Count
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """The segment ends at ``end_ms`` of the generation: what is not heard after that is no underrun."""

    TYPE: ClassVar = "segment.end"
    generation: Generation
    segment: Count
    end_ms: Ms


@dataclass(frozen=True, slots=True)
class Cancelled:
    """From here on nothing of an older generation is sent. The numbers are of the one that was cancelled."""

    TYPE: ClassVar = "cancelled"
    generation: Generation
    "The new one."
    generated_ms: Ms
    sent_ms: Ms
    played_ms: Ms
    "As the client told it."
    heard: Annotated[str, Length(MOST_CHARS)] = ""
    "Mode speak: the words that were played to their end."


@dataclass(frozen=True, slots=True)
class Delay:
    """Percentiles over the newest frames."""

    p50_ms: float
    p95_ms: float
    max_ms: float
    "Of all frames."


@dataclass(frozen=True, slots=True)
class Level:
    """Loudness of the newest frames; 0 dBFS = 1.0."""

    rms_dbfs: float
    peak_dbfs: float


@dataclass(frozen=True, slots=True)
class Stats:
    """The session so far, every second."""

    TYPE: ClassVar = "stats"
    generation: Generation
    books: Count
    "Where the dial stands."
    codes_bps: Ms
    "Of the codes alone, mean."
    wire_bps: Ms
    "Of the packets, their headers included, over the newest two seconds."
    age: Delay
    "From the arrival of a frame's last sample until its sound is ready to be sent."
    stages: dict[str, Delay]
    "What each stage adds, in frame order."
    level_in: Level
    level_out: Level
    used: tuple[Share, ...]
    "For each book, the share of its codes that occurred."
    perplexity: tuple[Ms, ...]
    packets: dict[str, Count]
    "sent, lost, repaired, concealed, late; the last three in frames."
    dropped: dict[str, Count]
    "What did not get through, as ``place.reason``."
    generated_ms: Ms
    sent_ms: Ms
    played_ms: Ms
    buffered_ms: Ms
    "With the client, as it says."
    waiting_ms: Ms
    "Here, for credit."
    underruns: Count
    "Of the client's player, as it says."
    worst_underrun_ms: Ms
    "Of a player that began with the first sound and kept no reserve, as we see it from here."
    first_audio_ms: dict[str, Ms] = field(default_factory=dict)
    "What the wait for the first sound was made of."


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a `Ping`."""

    TYPE: ClassVar = "pong"
    t: Annotated[float, Range(-1e18, 1e18)]


@dataclass(frozen=True, slots=True)
class Error:
    """What went wrong, in one line. A fatal one is the last message."""

    TYPE: ClassVar = "error"
    code: Name
    "A key of `CLOSE_CODES`."
    message: Line
    fatal: bool = True
    retry_ms: Ms | None = None
    "When to try again; None: that would not help."
