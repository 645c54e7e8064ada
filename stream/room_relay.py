"""A room's payloads as binary messages of our WebSocket, mode room: the server passes them on and looks into none.

The first byte is the slot's letter, which no kind of media has (``wire.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ProtocolError
from .room_transport import MOST_PAYLOAD_BYTES, SLOTS, Slot, is_name

_SLOTS: dict[int, Slot] = {ord(slot): slot for slot in SLOTS}
UP_BYTES = 1
"""Before a payload from peer to server."""
DOWN_BYTES = 2
"""From server to peer, and the peer's name."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """One payload on its way."""

    slot: Slot
    payload: bytes
    peer: str = ""
    "Whose it is, as it travels; empty on the way up, where the server knows."

    def pack_up(self) -> bytes:
        """For the server."""
        return self.slot.encode() + self.payload

    def pack_down(self) -> bytes:
        """For a peer."""
        peer = self.peer.encode()
        return self.slot.encode() + bytes([len(peer)]) + peer + self.payload


def read_up(message: bytes) -> Relayed | None:
    """What a peer sent; None for another kind of message, to be ignored. Raises ProtocolError: it is too long."""
    slot = _slot(message)
    return None if slot is None else Relayed(slot, _payload(message[1:]))


def read_down(message: bytes) -> Relayed | None:
    """What the server passes on; None for another kind. Raises ProtocolError: it is too long, or nobody's."""
    slot = _slot(message)
    if slot is None:
        return None
    end = 2 + message[1] if len(message) > 1 else 2
    peer = message[2:end].decode("utf-8", "replace")
    if len(message) < end or not is_name(peer):
        raise ProtocolError("bad_message", "a message of a room does not say whose it is")
    return Relayed(slot, _payload(message[end:]), peer)


def _slot(message: bytes) -> Slot | None:
    return _SLOTS.get(message[0]) if message else None


def _payload(payload: bytes) -> bytes:
    if len(payload) > MOST_PAYLOAD_BYTES:
        raise ProtocolError(
            "bad_message", f"a room's payload has at most {MOST_PAYLOAD_BYTES} bytes, not {len(payload)}"
        )
    return payload
