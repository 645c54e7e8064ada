"""How long sound must wait before it is played, told from when the packets came. Sans I/O, and no clock: times come in.

A packet's *transit* is the time of its arrival less the media time of its end: the delay of the network, but for an
unknown constant. Its *need* is how much later than the least transit its first frame must be played to be in time:
the sound in the packet itself, the lateness of the packet, and, where it repaired frames of earlier packets, the wait
for those too.

The target is a high percentile of the needs of the last half a minute; what happens suddenly is told by a fast
average beside the slow one (after the two inter-arrival averages of FreeSWITCH's jitter buffer). One stall of the
line is one event: the packets that come behind it all at once are not counted each. A stall longer than the buffer
may grow is an outage, which no buffer helps.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

SHARE = 0.97
"""Of the packets that shall be in time."""
WINDOW_S = 30.0
LEAST_PACKETS = 32
"""However old they are: a pause teaches nothing."""
REPAIR_WINDOW_S = 60.0
"""A loss that could be repaired is waited for that long after the last one."""
FAST_S, SLOW_S = 0.32, 10.0
FALL = 0.02
"""Within a talk the target falls by so many seconds a second."""
_FEW, _MOST = 8, 256
"""Packets that say too little, and most that the percentile is taken over."""
_BASE_S = 10.0
_BASES = 6
"""The least transit is that of so many spans of that length: routes change."""


class PlayoutDelay:
    """The least transit, and how much must be added to it.

    Attributes:
        base_s: the least transit of the last minute; None before the first packet.
    """

    def __init__(self, initial_s: float, most_s: float) -> None:
        """
        Args:
            initial_s: how long a packet waits while little is known of the network.
            most_s: lateness beyond this is an outage.
        """
        self._initial_s = initial_s
        self._most_s = most_s
        self._needs = np.zeros(_MOST)
        self._came_s = np.full(_MOST, -math.inf)
        self._n = 0
        self._repairs: deque[tuple[float, float]] = deque(maxlen=_MOST)  # when, need; needs falling
        self._fast_s = 0.0
        self._slow_s = 0.0
        self._spread_s = 0.0
        self._least: deque[tuple[float, float]] = deque(maxlen=_BASES)  # (beginning of a span, its least transit)
        self._before: float | None = None  # transit of the packet before
        self._wanted_s = self._wait_s = initial_s
        self._added_s = -math.inf  # when `add` was last called
        self.base_s: float | None = None

    def restart(self) -> None:
        """Another timeline: transits begin anew. What is known of needs remains."""
        self._least.clear()
        self.base_s = None
        self._before = None

    @property
    def target_s(self) -> float:
        """When to play a frame, after its media time. Call `add` before."""
        assert self.base_s is not None
        return self.base_s + self._wait_s

    @property
    def jitter_s(self) -> float:
        """Mean distance of a packet's lateness from that average."""
        return self._spread_s

    def settle(self) -> None:
        """Nobody speaks: the target falls at once as far as it would."""
        self._wait_s = self._wanted_s

    def pass_by(self, transit_s: float) -> None:
        """A packet that is no use was behind a stall: those that still come behind it are of the same one."""
        self._before = transit_s

    def add(self, transit_s: float, duration_s: float, repair_s: float, now_s: float) -> None:
        """Note a packet.

        Args:
            transit_s: now less the media time of its end.
            duration_s: the sound in it.
            repair_s: the sound of lost frames before it that it repaired, up to its beginning.
            now_s: when it came.
        """
        if not self._least or now_s - self._least[-1][0] >= _BASE_S:
            self._least.append((now_s, transit_s))
        elif transit_s < self._least[-1][1]:
            self._least[-1] = self._least[-1][0], transit_s
        self.base_s = min(least for _, least in self._least)
        late_s = transit_s - self.base_s
        drains = self._before is not None and transit_s < self._before - duration_s / 4
        self._before = transit_s
        if late_s <= self._most_s and not drains:
            self._note(late_s, duration_s, now_s)
        if repair_s and late_s + repair_s <= self._most_s:
            need_s = late_s + duration_s + repair_s
            while self._repairs and self._repairs[-1][1] <= need_s:
                self._repairs.pop()
            self._repairs.append((now_s, need_s))
        self._wanted_s = self._wait(duration_s, now_s)
        self._wait_s = max(self._wanted_s, self._wait_s - FALL * (now_s - self._added_s))
        self._added_s = now_s

    def _note(self, late_s: float, duration_s: float, now_s: float) -> None:
        at = self._n % _MOST
        self._needs[at] = late_s + duration_s
        self._came_s[at] = now_s
        self._n += 1
        fast, slow = (1 - math.exp(-duration_s / s) for s in (FAST_S, SLOW_S))
        self._fast_s += fast * (late_s - self._fast_s)
        self._slow_s += slow * (late_s - self._slow_s)
        self._spread_s += slow * (abs(late_s - self._slow_s) - self._spread_s)

    def _wait(self, duration_s: float, now_s: float) -> float:
        while self._repairs and now_s - self._repairs[0][0] > REPAIR_WINDOW_S:
            self._repairs.popleft()
        n = min(max(int((self._came_s >= now_s - WINDOW_S).sum()), LEAST_PACKETS), self._n)
        known = np.sort(self._needs[np.arange(self._n - n, self._n) % _MOST])
        wait_s = self._fast_s + duration_s
        if n:
            wait_s = max(wait_s, float(known[math.ceil(SHARE * n) - 1]))
        if n < _FEW:
            wait_s = max(wait_s, duration_s + self._initial_s)
        if self._repairs:
            wait_s = max(wait_s, self._repairs[0][1])
        return wait_s
