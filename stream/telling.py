"""The ``stats`` message: what a client is told of its session every second."""

from __future__ import annotations

from .meter import Meter
from .packer import Dial
from .protocol import Session
from .server_messages import Delay, Level, Stats
from .statistics import Latency, Statistics
from .statistics import Level as Meters


def stats(session: Session, statistics: Statistics, dial: Dial, meter: Meter) -> Stats:
    """The session so far; it has been accepted."""
    outbox, conceal = session.outbox, statistics.conceal
    assert outbox is not None
    return Stats(
        generation=session.generation.current & 0xFFFF,
        books=dial.books,
        codes_bps=statistics.code_bitrate,
        wire_bps=statistics.recent_wire_bitrate,
        age=_delay(statistics.age),
        stages={name: _delay(latency) for name, latency in statistics.stages.items()},
        level_in=_level(statistics.level_in),
        level_out=_level(statistics.level_out),
        used=tuple(statistics.codes.used()),
        perplexity=tuple(statistics.codes.perplexity()),
        packets={
            "sent": statistics.counters["packets"],
            "lost": statistics.counters["packets_lost"],
            "repaired": conceal.repaired,
            "concealed": conceal.concealed,
            "late": conceal.late,
        },
        dropped=dict(meter.dropped()),
        generated_ms=outbox.generated_ms,
        sent_ms=outbox.sent_ms,
        played_ms=outbox.played_ms,
        buffered_ms=session.buffered_ms,
        waiting_ms=outbox.waiting_ms,
        underruns=session.underruns,
        worst_underrun_ms=meter.playout.worst_underrun_ms,
        first_audio_ms=meter.first_audio.parts_ms(),
    )


def _delay(latency: Latency) -> Delay:
    told = latency.summary()
    return Delay(told.p50_ms, told.p95_ms, told.max_ms)


def _level(level: Meters) -> Level:
    return Level(level.rms_dbfs, level.peak_dbfs)
