"""One session's part in the server's metrics: fed by what happens, it counts each thing once."""

from __future__ import annotations

from collections import Counter

from .continuity import Playout
from .first_audio import FirstAudio
from .frames import Pcm
from .metrics import Metrics
from .protocol import Session
from .statistics import Statistics


class Meter:
    """Watches one session from its start to its end.

    Attributes:
        playout: whether its sound comes in time.
        first_audio: what the wait for the first of it was made of.
    """

    def __init__(self, metrics: Metrics, session: Session, statistics: Statistics) -> None:
        self.playout = Playout()
        self.first_audio = FirstAudio()
        self._metrics = metrics
        self._session = session
        self._statistics = statistics
        self._mode: str | None = None
        self._timed = False  # whether sound comes at the rate of life, so that it can be late
        self._counted: Counter[str] = Counter()
        self._told: set[str] = set()  # parts of the first sound

    def begin(self, mode: str, live: bool) -> None:
        """The session has its row."""
        self._mode, self._timed = mode, live or mode == "speak"
        self._metrics.open.labels(mode).inc()
        if self._timed:
            self._metrics.continuities.watch(self.playout)

    def arrived(self, now_s: float) -> None:
        """The client gave something to work on."""
        self.first_audio.mark("given", now_s)

    def engine_began(self, now_s: float) -> None:
        """The engine gave its first answer."""
        self.first_audio.mark("begun", now_s)

    def sound(self, now_s: float, due_s: float, pcm: Pcm) -> None:
        """Sound is ready that was due, on its own clock, at ``due_s``; at the codec's rate."""
        self.codes(now_s)
        self.first_audio.heard(pcm, self._statistics.descriptor.rate_hz)
        if self._timed:
            self.playout.add(now_s, due_s)

    def spoken(self, now_s: float, due_s: float) -> None:
        """Sound of a talker is ready that was due at ``due_s``."""
        self.playout.add(now_s, due_s)

    def codes(self, now_s: float) -> None:
        """Codes, or sound, are ready."""
        self.first_audio.mark("ready", now_s)

    def received(self, now_s: float) -> None:
        """The client has told that it has some of it."""
        self.first_audio.mark("received", now_s)

    def dropped(self) -> Counter[str]:
        """What did not get through so far, as ``place.reason``."""
        outbox = self._session.outbox
        waiting = {f"outbox.{reason}": n for reason, n in outbox.dropped.items() if n} if outbox else {}
        stale = {"said.stale": n} if (n := self._session.counts["stale_in"]) else {}
        return Counter(self._statistics.dropped | waiting | stale)

    def look(self) -> None:
        """Count what is new."""
        metrics, statistics = self._metrics, self._statistics
        for reason, n in self._news(self.dropped(), "dropped."):
            metrics.dropped.labels(reason).inc(n)
        for direction, n in self._news({way: self._session.counts[f"bytes_{way}"] for way in ("in", "out")}, "bytes."):
            metrics.bytes.labels(direction).inc(n)
        seen = {"lost": statistics.counters["packets_lost"], "concealed": statistics.conceal.concealed}
        for what, n in self._news(seen, "wire."):
            (metrics.packets_lost if what == "lost" else metrics.concealed).inc(n)
        for part, ms in self.first_audio.parts_ms().items():
            if part not in self._told:
                self._told.add(part)
                metrics.first_audio.labels(part).observe(ms / 1000)

    def end(self) -> None:
        """The session is over."""
        self.look()
        self._metrics.ended.labels(self._mode or "none", self._session.ended_by or "gone").inc()
        if self._mode is not None:
            self._metrics.open.labels(self._mode).dec()
            if self._timed:
                self._metrics.continuities.end(self.playout)
                self._metrics.underrun.observe(self.playout.worst_underrun_ms / 1000)

    def _news(self, counts: dict[str, int] | Counter[str], prefix: str) -> list[tuple[str, int]]:
        news = [(name, n - self._counted[prefix + name]) for name, n in counts.items()]
        self._counted.update({prefix + name: n for name, n in news})
        return [(name, n) for name, n in news if n]
