"""What a server tells Prometheus about itself, and, for each session, who fills it (`meter.py`)."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from .continuity import Continuities
from .loop import EngineLoop
from .rooms import Rooms

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CONTINUITY_BOUNDS_MS = (50, 100)
_UNDERRUN_S = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_FIRST_AUDIO_S = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The numbers of one server. Not global: two servers in a process do not mix."""

    def __init__(self, loop: EngineLoop) -> None:
        registry = self._registry = CollectorRegistry()
        self.continuities = Continuities()
        self.open = Gauge("sottovoce_sessions_open", "Sessions that have a row", ["mode"], registry=registry)
        self.ended = Counter(
            "sottovoce_sessions", "Connections that ended, by mode and reason", ["mode", "reason"], registry=registry
        )
        self.dropped = Counter(
            "sottovoce_dropped", "Frames or messages that did not get through", ["reason"], registry=registry
        )
        self.bytes = Counter("sottovoce_bytes", "Payload of WebSocket messages", ["direction"], registry=registry)
        self.packets_lost = Counter("sottovoce_packets_lost", "Packets that a simulated wire lost", registry=registry)
        self.concealed = Counter("sottovoce_concealed_frames", "Code frames that were made up", registry=registry)
        self.underrun = Histogram(
            "sottovoce_worst_underrun_seconds",
            "Worst underrun of an ended stream's playout clock",
            buckets=_UNDERRUN_S,
            registry=registry,
        )
        self.first_audio = Histogram(
            "sottovoce_first_audio_seconds",
            "What the wait for the first sound was made of",
            ["part"],
            buckets=_FIRST_AUDIO_S,
            registry=registry,
        )
        ProcessCollector(registry=registry)
        registry.register(_Engine(loop, self.continuities))

    def watch_rooms(self, rooms: Rooms) -> None:
        """Tell of them as well, once for each server."""
        self._registry.register(_Rooms(rooms))

    def text(self) -> bytes:
        """What Prometheus reads, of `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class _Engine(Collector):
    """What is known already, read at the moment somebody asks."""

    def __init__(self, loop: EngineLoop, continuities: Continuities) -> None:
        self._loop = loop
        self._continuities = continuities

    def collect(self) -> Iterable[Metric]:
        """The engine's rows and steps, and the shares of streams without a gap."""
        yield GaugeMetricFamily("sottovoce_rows", "Rows of the engine", value=self._loop.rows)
        yield GaugeMetricFamily("sottovoce_rows_taken", "Rows that a session has", value=self._loop.rows_taken)
        yield GaugeMetricFamily("sottovoce_steps_waiting", "Steps that somebody waits for", value=self._loop.waiting)
        steps = SummaryMetricFamily("sottovoce_step_seconds", "Time in the engine, a batch once", labels=["kind"])
        newest = GaugeMetricFamily(
            "sottovoce_step_recent_seconds", "Percentiles of the newest steps", labels=["kind", "quantile"]
        )
        for kind, latency in self._loop.step_latency.items():
            told = latency.summary()
            steps.add_metric([kind], count_value=told.n, sum_value=latency.total_s)
            newest.add_metric([kind, "0.5"], told.p50_ms / 1000)
            newest.add_metric([kind, "0.95"], told.p95_ms / 1000)
        yield steps
        yield newest
        continuity = GaugeMetricFamily(
            "sottovoce_continuity_ratio", "Share of the newest streams within a worst underrun", labels=["within_ms"]
        )
        for bound_ms in CONTINUITY_BOUNDS_MS:
            continuity.add_metric([str(bound_ms)], self._continuities.share_within(bound_ms))
        yield continuity


_ROOM_COUNTS = {
    "joined": ("sottovoce_room_joined", "Peers that came into a room", None),
    "left": ("sottovoce_room_left", "Peers that left one, by reason", "reason"),
    "refused": ("sottovoce_room_refused", "Peers that were not let in, by reason", "reason"),
    "passed": ("sottovoce_room_payloads", "Payloads passed on, once for each peer that is to have them", "slot"),
    "dropped": ("sottovoce_room_dropped", "Payloads that did not get to a peer, by reason and slot", "reason"),
}
_ROOM_DROPS = ("overflow", "unsent", "unheard")


class _Rooms(Collector):
    """The counters of the rooms, read at the moment somebody asks."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def collect(self) -> Iterable[Metric]:
        """Rooms and peers that there are, and what was counted."""
        yield GaugeMetricFamily("sottovoce_rooms_open", "Rooms that somebody is in", value=self._rooms.n_open)
        yield GaugeMetricFamily("sottovoce_room_peers", "Peers in all rooms", value=self._rooms.n_members)
        told = {
            what: CounterMetricFamily(name, words, labels=[label] if label else [])
            for what, (name, words, label) in _ROOM_COUNTS.items()
        }
        for name, n in self._rooms.counts.items():
            what, _, reason = name.partition(".")
            if what in _ROOM_DROPS:
                what, reason = "dropped", name
            told[what].add_metric([reason] if reason else [], n)
        yield from told.values()
