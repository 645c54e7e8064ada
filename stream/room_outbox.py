"""What a peer has to say and the line has not taken yet. Sans I/O.

Nothing here gets old: of what stands for long, only the newest is kept, and told anew to whoever carries it next; of speech,
what waited for too long is thrown away, as its listeners have given it up.
"""

from __future__ import annotations

from collections import Counter, deque

from .room_transport import RETAINED, Slot

STALE_S = 2.0
"""Speech that waited longer has been given up by those who listen, if they are not told to be more patient."""
MOST_WAITING = 64


class RoomOutbox:
    """The waiting payloads of one peer, by slot.

    Attributes:
        announced: the newest of ``d`` and ``s``.
        lag_s: how long the newest payload waited that was taken.
    """

    def __init__(self, counts: Counter[str], stale_s: float = STALE_S) -> None:
        """``counts`` is where what is thrown away is counted, by reason; speech older than ``stale_s`` is."""
        self.announced: dict[Slot, bytes] = {}
        self.lag_s = 0.0
        self._counts = counts
        self._stale_s = stale_s
        self._to_announce: deque[Slot] = deque()
        self._live: deque[tuple[float, Slot, bytes]] = deque()  # in order: a release is behind the last that was said

    def put(self, slot: Slot, payload: bytes, now_s: float) -> None:
        """Take it; never waits."""
        if slot in RETAINED:
            self.announced[slot] = payload
            if slot not in self._to_announce:
                self._to_announce.append(slot)
            return
        self._live.append((now_s, slot, payload))
        if len(self._live) > MOST_WAITING:
            _, dropped, _ = self._live.popleft()
            self._counts[f"out.overflow.{dropped}"] += 1

    def take_announcement(self) -> tuple[Slot, bytes] | None:
        """What stands for long, and the line does not know; None: nothing."""
        if not self._to_announce:
            return None
        slot = self._to_announce.popleft()
        return slot, self.announced[slot]

    def take_live(self, now_s: float) -> tuple[Slot, bytes] | None:
        """What has to go now, no stale speech; None: nothing."""
        while self._live:
            came_s, slot, payload = self._live.popleft()
            if slot != "a" or now_s - came_s <= self._stale_s:
                self.lag_s = now_s - came_s
                return slot, payload
            self._counts["out.stale"] += 1
        return None

    def waiting_s(self, now_s: float) -> float:
        """How long the oldest has waited; 0: nothing does."""
        return now_s - self._live[0][0] if self._live else 0.0

    @property
    def is_empty(self) -> bool:
        """Whether everything is taken."""
        return not (self._live or self._to_announce)

    def restart(self) -> None:
        """The line was lost: the next one has to be told what stands, and nothing of what was said meanwhile."""
        self._counts["out.line_down"] += len(self._live)
        self._live.clear()
        self._to_announce = deque(self.announced)
        self.lag_s = 0.0
