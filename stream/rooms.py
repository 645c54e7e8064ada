"""The rooms of a server: who is in them, what they keep, and what waits for whom. Sans I/O, no engine, nothing decoded.

Whoever drives it (`room_mode.py`) joins a member, hands what it says to `Member.say`, and sends what `Member.take` gives until
that is None. Everything is bounded: rooms, members, payloads, and what waits for a member that reads too slowly, of which the
oldest speech goes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from .errors import ProtocolError
from .messages import CLOSE_CODES
from .room_relay import Relayed
from .room_transport import KEEP_ALIVE_S, MOST_NAME_CHARS, RETAINED, Slot, is_name
from .schema import Length, Range

PATH = "/v1/room"
ROOM_PROTOCOL = "sottovoce.room.v1"
"""The sub-protocol."""
ROOM_CLOSE_CODES = {**CLOSE_CODES, "name_taken": 1008}
"""Every code of a room's error, and what the connection is closed with after it."""

Name = Annotated[str, Length(MOST_NAME_CHARS)]


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """What a server allows. Its guard counts connections and requests besides."""

    rooms: int = 64
    members: int = 16
    "Of one room, those that only listen included."
    messages_per_s: float = 100.0
    "In the long run, of one member; a server reads no faster."
    waiting: int = 64
    "Messages of speech, and of control, that wait for one member."
    slow_s: float = 10.0
    "A member that takes nothing for so long is sent away."


@dataclass(frozen=True, slots=True)
class Join:
    """The first message of a peer."""

    TYPE: ClassVar = "join"
    room: Name
    peer: Name | None = None
    "None: only to listen, unseen."
    listen: bool = True
    "False: what the others say is not wanted."
    session: Annotated[str, Length(64)] = ""
    "Drawn by the peer: who joins again with the same one takes its own place over."


@dataclass(frozen=True, slots=True)
class Joined:
    """The answer to it."""

    TYPE: ClassVar = "joined"
    keep_alive_s: Annotated[float, Range(0.1, 1e6)] = KEEP_ALIVE_S
    "Say something at least so often, if only an empty binary message."
    messages_per_s: Annotated[float, Range(1, 1e6)] = 100.0


@dataclass(eq=False)
class Member:
    """One peer in one room.

    Attributes:
        ended_by: None while it is there; then a key of `ROOM_CLOSE_CODES` or ``gone``.
        reason: one line about that.
    """

    rooms: Rooms = field(repr=False)
    join: Join
    wake: Callable[[], None] = field(repr=False)
    "Called when there is something to take."
    ended_by: str | None = None
    reason: str = ""
    kept: dict[Slot, bytes] = field(default_factory=dict)
    "What it has said on ``d`` and ``s``."
    _waiting: dict[tuple[str, Slot] | int, Relayed] = field(
        default_factory=dict
    )  # in order; of what stands the newest only
    _n: Counter[Slot] = field(default_factory=Counter)  # that wait, of speech and control
    _told: int = 0

    def say(self, said: Relayed) -> None:
        """Pass on what it said."""
        if self.join.peer is None or self.ended_by is not None:
            self.rooms.counts["unheard"] += 1
            return
        if said.slot in RETAINED:
            self.kept[said.slot] = said.payload
        self.rooms.pass_on(self, Relayed(said.slot, said.payload, self.join.peer))

    def take(self) -> bytes | None:
        """The next message for it; None: there is nothing to say."""
        if not self._waiting:
            return None
        said = self._waiting.pop(next(iter(self._waiting)))
        self._n[said.slot] -= 1
        return said.pack_down()

    def leave(self, ended_by: str = "gone", reason: str = "") -> None:
        """It is not there any more; the others are told. Leaving twice is fine."""
        if self.ended_by is None:
            self.ended_by, self.reason = ended_by, reason
            self.rooms.counts[f"left.{ended_by}"] += 1
            for said in self._waiting.values():
                self.rooms.counts[f"unsent.{said.slot}"] += 1
            self._waiting.clear()
            self.rooms.forget(self)
            self.wake()

    def tell(self, said: Relayed) -> None:
        """Something for it to take."""
        if not self.join.listen:
            return
        key: tuple[str, Slot] | int = (said.peer, said.slot)
        if said.slot not in RETAINED:
            self._told = key = self._told + 1
            if self._n[said.slot] == self.rooms.limits.waiting:
                del self._waiting[next(key for key, old in self._waiting.items() if old.slot == said.slot)]
                self._n[said.slot] -= 1
                self.rooms.counts[f"overflow.{said.slot}"] += 1
        if self._waiting.pop(key, None) is None:
            self._n[said.slot] += 1
        self._waiting[key] = said
        self.wake()


class Rooms:
    """All of them.

    Attributes:
        counts: ``joined``, ``left.REASON``, ``passed.SLOT`` for messages told to a member, ``overflow.SLOT`` for those of them
            that had to make room for newer ones, ``unsent.SLOT`` for those whose member left before they were sent, ``unheard``
            for what somebody said who only listens, ``refused.CODE``.
    """

    def __init__(self, limits: RoomLimits | None = None) -> None:
        self.limits = limits or RoomLimits()
        self.counts: Counter[str] = Counter()
        self._rooms: dict[str, list[Member]] = {}

    @property
    def n_open(self) -> int:
        """Rooms that somebody is in."""
        return len(self._rooms)

    @property
    def n_members(self) -> int:
        """In all rooms."""
        return sum(len(members) for members in self._rooms.values())

    def join(self, join: Join, wake: Callable[[], None]) -> Member:
        """Let somebody in; it is told who is there. Raises ProtocolError: there is no room, or no such name."""
        try:
            self._check(join)
        except ProtocolError as error:
            self.counts[f"refused.{error.code}"] += 1
            raise
        member = Member(self, join, wake)
        members = self._rooms.setdefault(join.room, [])
        for other in members:
            for slot, payload in other.kept.items():
                assert other.join.peer is not None
                member.tell(Relayed(slot, payload, other.join.peer))
        members.append(member)
        self.counts["joined"] += 1
        return member

    def pass_on(self, member: Member, said: Relayed) -> None:
        """To everybody else in its room."""
        for other in self._rooms.get(member.join.room, ()):
            if other is not member:
                other.tell(said)
                self.counts[f"passed.{said.slot}"] += 1

    def forget(self, member: Member) -> None:
        """Take it out of its room, and what is kept of it from the others."""
        members = self._rooms[member.join.room]
        members.remove(member)
        for slot in ("s", "d"):
            if member.kept.pop(slot, b"") and member.join.peer is not None:
                self.pass_on(member, Relayed(slot, b"", member.join.peer))
        if not members:
            del self._rooms[member.join.room]

    def _check(self, join: Join) -> None:
        """Raises ProtocolError."""
        for name, what in ((join.room, "a room's name"), (join.peer, "a peer's name")):
            if name is not None and not is_name(name):
                raise ProtocolError("bad_message", f"{what} has 1 to {MOST_NAME_CHARS} letters, digits and . _ -")
        members = self._rooms.get(join.room, ())
        namesake = next((m for m in members if join.peer is not None and m.join.peer == join.peer), None)
        if namesake is not None:
            if not join.session or namesake.join.session != join.session:
                raise ProtocolError("name_taken", "somebody in the room has that name; choose another")
            namesake.leave("name_taken", "you have joined again")
        elif not members and len(self._rooms) >= self.limits.rooms:
            raise ProtocolError("no_slot", f"all {self.limits.rooms} rooms are taken; try again")
        elif len(members) >= self.limits.members:
            raise ProtocolError("no_slot", f"there are {self.limits.members} in the room, as many as there may be")
