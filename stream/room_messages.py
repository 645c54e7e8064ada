"""What peers of a room tell each other beside sound: who is there, who wants the floor, how it arrives. Bytes in, bytes out.

PROTOCOL.md, section 3. The sound itself is in ``packet.py`` and ``comfort_noise.py``; with a room
key all of it goes through ``room_key.py``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated, Literal

from . import schema
from .descriptor import Descriptor
from .errors import ProtocolError
from .room_transport import MOST_NAME_CHARS, MOST_PAYLOAD_BYTES, is_name
from .schema import Length, Range

# ---- d: the descriptor -------------------------------------------------------------------------------------


def write_descriptor(descriptor: Descriptor) -> bytes:
    """The payload of slot d."""
    return descriptor.to_json().encode()


def read_descriptor(payload: bytes) -> Descriptor:
    """Raises ProtocolError: it is none."""
    if len(payload) > MOST_PAYLOAD_BYTES:
        raise ProtocolError("bad_message", f"a descriptor of {len(payload)} bytes")
    try:
        return Descriptor.from_json(payload)
    except ValueError as error:  # as is what is no UTF-8
        raise ProtocolError("bad_message", str(error)) from error


# ---- s: presence -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Presence:
    """The payload of slot s while the peer is there; an empty one, which is also its last will, says that it is gone."""

    name: Annotated[str, Length(MOST_NAME_CHARS)]
    "As people call the peer; with a room key the topic does not show it."
    talk: Literal["open", "push"] = "open"
    "Whether the peer speaks when it likes or takes the floor first."
    frames_per_packet: Annotated[int, Range(1, 255)] = 1
    "Of its profile: how much sound one packet holds, for the first setting of a receiver's buffer."

    def to_bytes(self) -> bytes:
        """One line of JSON."""
        return schema.write(self).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Presence:
        """Unknown fields are ignored. Raises ProtocolError: malformed."""
        return schema.read(cls, schema.parse(payload.decode("utf-8", "replace"), MOST_PAYLOAD_BYTES), "presence")


# ---- c: control --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Press:
    """The peer wants the floor. It has it if nobody else has; of two who press at once the smaller ticket wins,
    of equal ones the smaller topic name."""

    ticket: int
    "0 ... 65535, drawn for each press."


@dataclass(frozen=True, slots=True)
class Release:
    """The peer gives the floor back, or gives up wanting it."""


@dataclass(frozen=True, slots=True)
class Report:
    """How one peer's sound arrived lately at the peer that reports. See `adaptation.ReportGate` for when to send it."""

    peer: str
    "Whose sound: the peer as it travels."
    loss: float
    "Share of its frames that did not come in time, 0 ... 1; in steps of 1/255."
    lag_ms: int
    "How much later than the fastest lately its packets come, 0 ... 65535."
    jitter_ms: int
    "How unevenly, 0 ... 65535."


Control = Press | Release | Report
_PRESS, _RELEASE, _REPORT = 1, 2, 3
_REPORT_HEAD = struct.Struct("<BBHHB")
"""kind, loss, lag, jitter, length of the name."""


def write_control(message: Control) -> bytes:
    """The payload of slot c; numbers beyond their field stop at its end."""
    if isinstance(message, Press):
        return struct.pack("<BH", _PRESS, message.ticket)
    if isinstance(message, Release):
        return bytes([_RELEASE])
    peer = message.peer.encode()
    loss = round(255 * min(max(message.loss, 0.0), 1.0))
    lag_ms, jitter_ms = (min(max(ms, 0), 0xFFFF) for ms in (message.lag_ms, message.jitter_ms))
    return _REPORT_HEAD.pack(_REPORT, loss, lag_ms, jitter_ms, len(peer)) + peer


def read_control(payload: bytes) -> Control | None:
    """None for a kind that we do not know. Raises ProtocolError: malformed."""
    kind = payload[0] if payload else 0
    try:
        if kind == _PRESS:
            return Press(struct.unpack("<xH", payload)[0])
        if kind == _RELEASE and len(payload) == 1:
            return Release()
        if kind == _REPORT:
            _, loss, lag_ms, jitter_ms, length = _REPORT_HEAD.unpack_from(payload)
            peer = payload[_REPORT_HEAD.size :].decode()
            if length == len(payload) - _REPORT_HEAD.size and is_name(peer):
                return Report(peer, loss / 255, lag_ms, jitter_ms)
    except (struct.error, UnicodeDecodeError):
        pass
    if payload and kind not in (_PRESS, _RELEASE, _REPORT):
        return None
    raise ProtocolError("bad_message", f"a control payload of kind {kind} cannot have these {len(payload)} bytes")
