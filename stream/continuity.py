"""Whether sound comes in time to be played without a gap. Sans I/O.

C50 and C100 are the shares of streams whose worst underrun is within 50 and 100 ms. They say what a real-time factor does not:
one late frame is heard, however fast the others were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

RECENT_STREAMS = 1000


class Playout:
    """The clock of a player that begins with the first piece of sound, keeps no reserve and never waits.

    The worst underrun is thus the reserve with which nothing would have been missed.
    """

    def __init__(self) -> None:
        self.worst_underrun_ms = 0.0
        self._origin_s: float | None = None

    def add(self, ready_s: float, due_s: float) -> None:
        """Sound was ready at ``ready_s``; ``due_s`` is its time in the stream, from any origin.

        For sound that is made of live sound, ``due_s`` is the arrival of that: its maker is not to blame for a microphone.
        """
        if self._origin_s is None:
            self._origin_s = ready_s - due_s
        late_ms = 1000 * (ready_s - due_s - self._origin_s)
        self.worst_underrun_ms = max(self.worst_underrun_ms, late_ms)

    def restart(self) -> None:
        """Another generation: its first sound begins the clock anew."""
        self._origin_s = None


def share_within(worst_underruns_ms: Iterable[float], bound_ms: float) -> float:
    """C50, C100 and the like: the share of streams at or below ``bound_ms``, 0 ... 1; 1 where there are none."""
    worst = list(worst_underruns_ms)
    return sum(ms <= bound_ms for ms in worst) / len(worst) if worst else 1.0


class Continuities:
    """The newest streams of a server."""

    def __init__(self, recent: int = RECENT_STREAMS) -> None:
        self._live: set[Playout] = set()
        self._ended: deque[float] = deque(maxlen=recent)

    def watch(self, playout: Playout) -> None:
        """Count a stream from now on."""
        self._live.add(playout)

    def end(self, playout: Playout) -> None:
        """The stream has ended; it stays among the newest for a while."""
        self._live.discard(playout)
        self._ended.append(playout.worst_underrun_ms)

    def share_within(self, bound_ms: float) -> float:
        """Of the streams that run, and the newest that have ended."""
        return share_within([*(playout.worst_underrun_ms for playout in self._live), *self._ended], bound_ms)
