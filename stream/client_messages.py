"""What a client may say: one frozen dataclass for each type of message, checked by the types of its fields.

`messages.py` reads and writes them; PROTOCOL.md, section 2, tells when each is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from .schema import Length, Range

MOST_CHARS = 1 << 16
"""In one control message."""

Mode = Literal["loopback", "speak", "room"]
MediaKind = Literal["pcm", "codes"]
SampleFormat = Literal["s16le", "f32le"]

Count = Annotated[int, Range(0, 1 << 53)]
Generation = Annotated[int, Range(0, 0xFFFF)]
Ms = Annotated[float, Range(0, 1e10)]
Name = Annotated[str, Length(200)]
Line = Annotated[str, Length(1000)]
Share = Annotated[float, Range(0, 1)]
Books = Annotated[int, Range(1, 15)]
Burst = Annotated[float, Range(1, 1000)]


@dataclass(frozen=True, slots=True)
class End:
    """Client: nothing more comes, tell me the rest. Server: that was all; the connection closes."""

    TYPE: ClassVar = "end"


@dataclass(frozen=True, slots=True)
class Format:
    """How media travel in one direction."""

    kind: MediaKind = "pcm"
    format: SampleFormat = "s16le"
    "Of pcm."
    rate_hz: Annotated[int, Range(1, 1_000_000)] | None = None
    "Of pcm; one of ``hello.audio.rates_hz``; None: the codec's. Codes are always timed by the codec's."


@dataclass(frozen=True, slots=True)
class Start:
    """Begins the session: takes a row of the engine."""

    TYPE: ClassVar = "start"
    mode: Mode
    in_: Format = field(default_factory=Format)
    "What the client sends."
    out: Format = field(default_factory=Format)
    "What it wants to get."
    voice: Name | None = None
    "Of mode speak; one of ``hello.voices``; None: the first."
    speed: Annotated[float, Range(0.25, 4)] | None = None
    "Of mode speak: times the pace; None: 1."
    books: Books | None = None
    "Codebooks to send; None: all."
    frames_per_packet: Annotated[int, Range(1, 255)] = 1
    redundancy: Annotated[int, Range(0, 7)] = 0
    loss: Share = 0.0
    "Packets that a bad wire between encoder and decoder shall lose: mode loopback, pcm to pcm."
    burst: Burst | None = None
    "Mean packets in a row that it loses."
    lead_ms: Annotated[float, Range(0, 60_000)] = 300.0
    "How far ahead of what it has played the client wants to be sent; the server narrows it to its limits."
    live: bool = True
    "Sound that comes when it is spoken: what is late is dropped. False: sound that waits, every sample of it."
    words: bool = False
    "Mode speak: tell when which word is spoken."
    view: bool = False
    "Send what the eye can see: mel in, codes, mel out."
    model_hash: Name | None = None
    "Of the model that makes or takes the client's codes. Needed where codes come in."


@dataclass(frozen=True, slots=True)
class Text:
    """Mode speak: a piece of text, as it comes from a language model; it need not end with a word."""

    TYPE: ClassVar = "text"
    text: Annotated[str, Length(MOST_CHARS)]


@dataclass(frozen=True, slots=True)
class TextFlush:
    """Mode speak: say now what has come, even if no sentence has ended."""

    TYPE: ClassVar = "text.flush"


@dataclass(frozen=True, slots=True)
class TextEnd:
    """Mode speak: the text is complete."""

    TYPE: ClassVar = "text.end"


@dataclass(frozen=True, slots=True)
class Credit:
    """How far the client has played. The server sends at most ``lead_ms`` beyond it."""

    TYPE: ClassVar = "credit"
    generation: Generation
    "What it has played of; an older one is ignored."
    played_ms: Ms
    "Time within the generation that is next to be heard. It never goes back."
    buffered_ms: Ms = 0.0
    "What waits with the client."
    underruns: Count = 0
    "Times that its player ran dry inside of sound, since the session began."


@dataclass(frozen=True, slots=True)
class Cancel:
    """Barge-in: whatever the server has in hand is not wanted. What the client sends from now on is of the next generation."""

    TYPE: ClassVar = "cancel"
    generation: Generation | None = None
    "The one that is cancelled; None: the present one. An older one is ignored."
    played_ms: Ms | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Turns a dial on the way; what is absent stays as it is."""

    TYPE: ClassVar = "update"
    books: Books | None = None
    loss: Share | None = None
    burst: Burst | None = None
    view: bool | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """Answered at once by a `Pong` with the same ``t``."""

    TYPE: ClassVar = "ping"
    t: Annotated[float, Range(-1e18, 1e18)] = 0.0
    "Whatever the client likes; its own clock, say."
