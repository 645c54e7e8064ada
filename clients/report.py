"""What a loopback tells when it is over, as lines of text."""

from __future__ import annotations

from dataclasses import dataclass

from sottovoce.stream.pipeline import Settings
from sottovoce.stream.statistics import Statistics

from .quality import Quality


@dataclass(frozen=True, slots=True)
class Run:
    """One finished conversation."""

    statistics: Statistics
    settings: Settings
    sound_s: float
    "Length of what was said."
    wall_s: float
    "How long it took, from the first block to the last."
    engine_s: float
    "How much of that the models took."
    quality: Quality | None = None


def summary(run: Run) -> list[str]:
    """Delay, bitrate, real-time factor, losses if any, and quality if it was measured."""
    statistics, descriptor = run.statistics, run.statistics.descriptor
    books = f"{statistics.code_bitrate / descriptor.bitrate(1):.1f}".removesuffix(".0")  # the dial may have been turned
    lines = [
        _line("codec", f"{descriptor.preset} {descriptor.model_hash}, {books} of {descriptor.books} books"),
        _line("sound", f"{run.sound_s:.2f} s"),
        _line("delay", _delay(run)),
        _line(
            "bitrate",
            f"{statistics.code_bitrate:.0f} bit/s of codes, {statistics.wire_bitrate:.0f} bit/s with "
            f"packet headers ({_packets(run.settings)})",
        ),
        _line(
            "real-time factor",
            f"{_ratio(run.wall_s, run.sound_s)} in all, {_ratio(run.engine_s, run.sound_s)} in the models "
            f"(in steps of {descriptor.frame_ms:.0f} ms)",
        ),
    ]
    lost = losses(statistics)
    if lost:
        lines.append(_line("loss", lost))
    if run.quality is not None:
        lines.append(_line("quality", _quality(run.quality)))
    return lines


def losses(statistics: Statistics) -> str:
    """Packets lost and what became of their frames; empty where none was."""
    lost, packets = statistics.counters["packets_lost"], statistics.counters["packets"]
    if not lost:
        return ""
    conceal = statistics.conceal
    return (
        f"{lost} of {packets} packets ({lost / packets:.1%}); frames repaired {conceal.repaired}, "
        f"concealed {conceal.concealed}"
    )


def _delay(run: Run) -> str:
    descriptor = run.statistics.descriptor
    waiting_ms = (run.settings.frames_per_packet - 1) * descriptor.frame_ms
    text = f"{descriptor.delay_ms + waiting_ms:.1f} ms algorithmic ({descriptor.frame_ms:.0f} ms frame"
    text += f" + {descriptor.delay_ms - descriptor.frame_ms:.1f} ms codec"
    return text + (f" + {waiting_ms:.0f} ms packet)" if waiting_ms else ")")


def _packets(settings: Settings) -> str:
    n = settings.frames_per_packet
    return f"{n} frame{'s' if n > 1 else ''} a packet" + (
        f", redundancy {settings.redundancy}" if settings.redundancy else ""
    )


def _quality(quality: Quality) -> str:
    estoi = "not measurable" if quality.estoi is None else f"{quality.estoi:.3f}"
    mel = "not measurable" if quality.mel_distance_db is None else f"{quality.mel_distance_db:.1f} dB"
    return f"ESTOI {estoi}, log-mel distance {mel} (over {quality.seconds:.1f} s)"


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def _line(name: str, text: str) -> str:
    return f"{name:<17} {text}"
