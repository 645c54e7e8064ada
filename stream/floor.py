"""Who has the floor in a room where people press to talk: one at a time, with nobody in the middle to decide. Sans I/O.

A press draws a ticket. As nobody presses who sees the floor taken, presses that meet were made at once, as far as their makers
could know; the smallest ticket has the floor, of equal ones the smallest name. So all agree whatever came first where, and the
loser gives way as soon as it learns.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from .room_messages import Press, Release

LAPSE_S = 6.0
"""Who has pressed and is not heard of for so long has lost the floor: a packet of ``radio`` comes every two seconds."""
RELEASED_S = 2.0
"""The last that somebody said may come so long after its release."""
_UNKNOWN_TICKET = -1
"""Of somebody whose press we missed, as we came later: it goes before all that are drawn now."""


class Floor:
    """One peer's view of it."""

    def __init__(self, me: str, ticket: Callable[[], int] = lambda: secrets.randbelow(1 << 16)) -> None:
        """``me`` and all other names: as they travel."""
        self._me = me
        self._ticket = ticket
        self._pressed: dict[str, tuple[int, float]] = {}  # by name: ticket, and when it was last heard of
        self._released: dict[str, float] = {}

    def holder(self, now_s: float) -> str | None:
        """Who may talk; None: nobody does."""
        for name, (_, heard_s) in list(self._pressed.items()):
            if name != self._me and now_s - heard_s > LAPSE_S:
                del self._pressed[name]
        return min(self._pressed, key=lambda name: (self._pressed[name][0], name), default=None)

    def has(self, now_s: float) -> bool:
        """Whether it is ours."""
        return self.holder(now_s) == self._me

    def press(self, now_s: float) -> Press | None:
        """We want to talk: what to tell the others; None: somebody else has the floor."""
        if self.holder(now_s) is not None:
            return None
        ticket = self._ticket()
        self._pressed[self._me] = ticket, now_s
        return Press(ticket)

    def release(self) -> Release | None:
        """We have done, or lost it: what to tell the others; None: we had not pressed."""
        return Release() if self._pressed.pop(self._me, None) is not None else None

    def again(self) -> Press | None:
        """What to tell somebody who has just come; None: we have not pressed."""
        mine = self._pressed.get(self._me)
        return None if mine is None else Press(mine[0])

    def hear(self, name: str, message: Press | Release, now_s: float) -> None:
        """What another peer says of it."""
        if isinstance(message, Press):
            self._pressed[name] = message.ticket, now_s
        else:
            self._pressed.pop(name, None)
            self._released[name] = now_s

    def talks(self, name: str, now_s: float) -> bool:
        """Somebody who must press is heard: whether it may be."""
        if self.holder(now_s) is None:
            if now_s - self._released.get(name, -RELEASED_S) < RELEASED_S:
                return True  # the last of what it said before it let go
            self._pressed[name] = _UNKNOWN_TICKET, now_s
        elif name in self._pressed:
            self._pressed[name] = self._pressed[name][0], now_s
        return self.holder(now_s) == name

    def gone(self, name: str) -> None:
        """It has left the room."""
        self._pressed.pop(name, None)
        self._released.pop(name, None)
