"""The control messages of the WebSocket: text, one JSON object each, told apart by its ``type`` (PROTOCOL.md, section 2).

What each may hold is said in ``client_messages.py`` and ``server_messages.py``; the media between them are in ``wire.py``.
"""

from __future__ import annotations

from typing import Any

from . import schema
from .client_messages import MOST_CHARS, Cancel, Credit, End, Ping, Start, Text, TextEnd, TextFlush, Update
from .errors import ProtocolError
from .server_messages import Cancelled, Error, Hello, Pong, SegmentEnd, SegmentStart, Started, Stats, Taken, Words

PATH = "/v1/stream"

CLOSE_CODES = {
    "bad_message": 1002,
    "model_mismatch": 1002,
    "unauthorized": 1008,
    "unsupported": 1008,
    "overrun": 1008,
    "slow": 1008,
    "idle": 1000,
    "no_slot": 1013,
    "rate_limited": 1013,
    "internal": 1011,
}
"""Every code of an error, and what the connection is closed with after it. 1013 means: try again later."""

ClientMessage = Start | Text | TextFlush | TextEnd | Credit | Cancel | Update | Ping | End
ServerMessage = Hello | Started | Taken | SegmentStart | Words | SegmentEnd | Cancelled | Stats | Pong | Error | End
CLIENT_MESSAGES: dict[str, type[ClientMessage]] = {
    cls.TYPE: cls for cls in (Start, Text, TextFlush, TextEnd, Credit, Cancel, Update, Ping, End)
}
SERVER_MESSAGES: dict[str, type[ServerMessage]] = {
    cls.TYPE: cls
    for cls in (Hello, Started, Taken, SegmentStart, Words, SegmentEnd, Cancelled, Stats, Pong, Error, End)
}


def encode(message: ClientMessage | ServerMessage) -> str:
    """One line of JSON: the type, then the fields that are not None."""
    rest = schema.write(message)[1:]
    return f'{{"type":"{message.TYPE}"' + ("," if rest != "}" else "") + rest


def from_client(text: str) -> ClientMessage | None:
    """What a client said; None for a type that we do not know. Raises ProtocolError: it is malformed."""
    kind, values = _parsed(text)
    cls = CLIENT_MESSAGES.get(kind)
    return None if cls is None else schema.read(cls, values, kind)


def from_server(text: str) -> ServerMessage | None:
    """What a server said; None for a type that we do not know. Raises ProtocolError: it is malformed."""
    kind, values = _parsed(text)
    cls = SERVER_MESSAGES.get(kind)
    return None if cls is None else schema.read(cls, values, kind)


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    values = schema.parse(text, MOST_CHARS)
    kind = values.get("type")
    if not isinstance(kind, str):
        raise ProtocolError("bad_message", "a control message must have a type")
    return kind, values
