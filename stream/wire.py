"""The binary messages of the WebSocket: a header of twelve bytes before a piece of sound, codes, or something to look at.

Bytes in, bytes out (PROTOCOL.md, section 2). What the payload holds is told by ``kind`` and by what the stream's ``start``
agreed on; the control messages beside it are in ``messages.py``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from .errors import ProtocolError

HEADER = struct.Struct("<BBHHHI")
"""kind, flags, sequence, generation, count, time."""
MOST_COUNT = 0xFFFF
MOST_BYTES = 1 << 18
"""Of one message, header included: more than a second of float32 at any rate that a sound card runs at."""


class Kind(IntEnum):
    """What a payload holds. Whoever meets another number ignores the message."""

    PCM = 1
    "Sound, mono, in the format and rate of the stream; ``count`` samples."
    CODES = 2
    "One code packet (section 1); ``count`` frames of codes."
    MEL_IN = 3
    "For the eye: log-mel of what came in, a byte for each band, ``count`` mel frames."
    CODES_HEARD = 4
    "For the eye: codes as the decoder had them, i16 each, -1 where absent; ``count`` frames of codes."
    MEL_OUT = 5
    "For the eye: log-mel of what goes out, as MEL_IN."


class Flag(IntFlag):
    """Said of a payload. Other bits are ignored."""

    FIRST = 1
    "The generation begins."
    LAST = 2
    "Nothing more comes in this generation; the payload may be empty."
    CONCEALED = 4
    "Made up in place of something that was lost."
    DISCONTINUITY = 8
    "Something before this was thrown away: ``time`` has jumped."


NO_FLAGS = Flag(0)
_FLAGS = tuple(Flag(bits) for bits in range(16))


@dataclass(slots=True)
class Media:
    """One binary message. Nobody changes it; frozen it would take three times as long to make, and a frame makes three."""

    kind: int
    "A `Kind`, or a number that we do not know."
    seq: int
    "Counts the messages of this kind in this direction, 0 ... 65535, wrapping."
    generation: int
    "The session's, modulo 65536."
    count: int
    "What there is in the payload, in units of its kind."
    time: int
    "Of its first sample, counted from the beginning of the generation (downwards) or of the session (upwards), modulo 2**32."
    payload: bytes = b""
    flags: Flag = NO_FLAGS

    def numbered(self, seq: int, more: Flag = NO_FLAGS) -> Media:
        """The same with its sequence number, and more flags."""
        flags = self.flags | more if more else self.flags
        return Media(self.kind, seq, self.generation, self.count, self.time, self.payload, flags)

    def pack(self) -> bytes:
        """The message's bytes. Raises ProtocolError: a number does not fit into its field."""
        try:
            head = HEADER.pack(self.kind, self.flags, self.seq, self.generation, self.count, self.time)
        except struct.error as error:
            raise ProtocolError("bad_message", f"a media header cannot hold this: {error}") from error
        return head + self.payload


def unpack(message: bytes) -> Media:
    """The message in ``message``. Raises ProtocolError: it is too short for a header, or longer than any may be."""
    if len(message) < HEADER.size:
        raise ProtocolError("bad_message", f"a media message has at least {HEADER.size} bytes, not {len(message)}")
    if len(message) > MOST_BYTES:
        raise ProtocolError("bad_message", f"a media message has at most {MOST_BYTES} bytes, not {len(message)}")
    kind, flags, seq, generation, count, time = HEADER.unpack_from(message)
    return Media(kind, seq, generation, count, time, message[HEADER.size :], _FLAGS[flags & 15])


def behind(number: int, current: int) -> int:
    """How far the 16-bit ``number`` is behind ``current``, the short way round the circle; negative if it is ahead."""
    return (current - number + 0x8000 & 0xFFFF) - 0x8000
