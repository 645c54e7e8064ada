"""What a room is carried by, whichever broker or server that is: payloads, whose they are, and whether the line is up.

A room has peers, a peer has four slots (PROTOCOL.md, section 3): ``d`` what its codes are, ``s`` that it is there, ``a`` what
it says, ``c`` control. A carrier knows nothing of what is inside: names and payloads come to it as they travel, hidden and
sealed where the room has a key. `RoomLink` (`room_link.py`) keeps a line; `mqtt_room.py` and `ws_room.py` connect it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

if TYPE_CHECKING:
    import asyncio  # slow, and names are checked before anything slow is loaded

Slot = Literal["d", "s", "a", "c"]
SLOTS: tuple[Slot, ...] = get_args(Slot)
RETAINED: tuple[Slot, ...] = ("d", "s")
"""Kept for who comes later, for as long as the peer is there; an empty one says that it is gone."""
MOST_PAYLOAD_BYTES = 4096
"""Of anything in a room: a packet of ten seconds with all eight books has 2508."""
MOST_NAME_CHARS = 64
MOST_NAME_BYTES = 255
"""In UTF-8: one byte tells how many."""
KEEP_ALIVE_S = 15
"""How often a line says that it lives; of a peer that is lost without a word others are told after one and a half of these."""
UNSENT_BYTES = 512
"""How much the system may hold of what a line does not take: the rest waits with us, where it can be thrown away."""


@dataclass(frozen=True, slots=True)
class RoomMessage:
    """What a peer sent, or what the carrier still had of it."""

    peer: str
    "As it travels."
    slot: Slot
    payload: bytes
    "Empty in ``s``: the peer has gone, or the carrier has lost it."


@dataclass(frozen=True, slots=True)
class LineUp:
    """The carrier is there; who is in the room is told from here on."""


@dataclass(frozen=True, slots=True)
class LineDown:
    """The carrier is lost. It is tried again; until `LineUp` nothing comes and nothing goes."""

    reason: str


RoomEvent = RoomMessage | LineUp | LineDown


class Connection(Protocol):
    """One line to a carrier, as long as it lasts."""

    async def send(self, slot: Slot, payload: bytes) -> None:
        """Returns when it is on its way, so that what waits behind it is still ours. Raises ConnectionFailed."""
        ...

    def messages(self) -> AsyncIterator[RoomMessage]:
        """What comes, but for what we said ourselves. Raises ConnectionFailed at its end."""
        ...


Connect = Callable[[], AbstractAsyncContextManager[Connection]]
"""Opens a line. Raises ConnectionFailed: not now; RoomRefused: never."""


def hold_little(transport: asyncio.Transport | asyncio.WriteTransport) -> None:
    """Let neither asyncio nor the system hold back more than `UNSENT_BYTES`."""
    transport.set_write_buffer_limits(1)  # with 0 asyncio's TLS takes nothing for too much already, and stands still
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        line = transport.get_extra_info("socket")
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def check_name(name: str, what: str) -> None:
    """Raises ValueError: ``name`` cannot be the name of a room or peer: letters, digits, ``.``, ``_`` and ``-``, 1 to 64."""
    if not is_name(name):
        raise ValueError(f"{what} has 1 to {MOST_NAME_CHARS} letters, digits and . _ -")


def is_name(name: str) -> bool:
    """Whether `check_name` is content."""
    if not 1 <= len(name) <= MOST_NAME_CHARS or not all(c.isalnum() or c in "._-" for c in name):
        return False
    return len(name.encode()) <= MOST_NAME_BYTES
