"""The face of a live loopback: what to show, drawn from numbers. Knows no sound card and no keys."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sottovoce.stream.statistics import Statistics

_METER_WIDTH = 40
_QUIETEST_DBFS = -60.0
_HOT_DBFS = -3.0


@dataclass(frozen=True, slots=True)
class View:
    """One moment of a live loopback."""

    statistics: Statistics
    books: int
    "Where the dial stands."
    most_books: int
    delay: str
    overflows: int
    underflows: int
    skipped_ms: int
    "Milliseconds of sound skipped to catch up."
    drift: str
    "Of the devices' clocks; empty where it is not known yet."
    devices: str
    keys: bool
    "Whether there is a keyboard to turn the dial."


def render(view: View) -> RenderableType:
    """The instrument as rich draws it."""
    statistics = view.statistics
    levels = Table.grid(padding=(0, 1))
    for name, level in (("in", statistics.level_in), ("out", statistics.level_out)):
        levels.add_row(f"{name:>3}", meter(level.rms_dbfs, level.peak_dbfs), f"{level.peak_dbfs:6.1f} dBFS")
    help_line = "1-8, arrows or +/-: books   q: quit" if view.keys else "Ctrl-C: quit"
    parts = Group(levels, Text(), _dial(view), Text(), _side_by_side(view), Text(), _counts(view))
    return Panel(parts, title=f"sottovoce  {view.devices}", subtitle=help_line, width=80)


def meter(rms_dbfs: float, peak_dbfs: float) -> Text:
    """A bar as long as the sound is loud, with a mark at its peak; red where it nearly clips."""

    def place(dbfs: float) -> int:
        share = (max(dbfs, _QUIETEST_DBFS) - _QUIETEST_DBFS) / -_QUIETEST_DBFS
        return min(round(share * _METER_WIDTH), _METER_WIDTH)

    bar, peak = place(rms_dbfs), place(peak_dbfs)
    cells = ["█"] * bar + ["·"] * (_METER_WIDTH - bar)
    if peak > 0:
        cells[peak - 1] = "▐"
    return Text("".join(cells), style="red" if peak_dbfs > _HOT_DBFS else "green")


def _dial(view: View) -> Text:
    descriptor = view.statistics.descriptor
    knob = Text(" books ")
    for book in range(1, view.most_books + 1):
        knob.append(f" {book} ", style="reverse" if book == view.books else "bold" if book < view.books else "dim")
    knob.append(f"   {descriptor.bitrate(view.books):.0f} bit/s of codes")
    knob.append(f"   {view.statistics.recent_wire_bitrate:.0f} bit/s sent")
    return knob


def _side_by_side(view: View) -> Table:
    stages = Table(title="delay by stage, ms", title_justify="left", box=None, padding=(0, 1))
    for column in ("stage", "p50", "p95", "max"):
        stages.add_column(column, justify="left" if column == "stage" else "right")
    named = [*view.statistics.stages.items(), ("whole chain", view.statistics.age)]
    for name, latency in named:
        times = latency.summary()
        stages.add_row(name, f"{times.p50_ms:.1f}", f"{times.p95_ms:.1f}", f"{times.max_ms:.1f}")
    books = Table(title="codebooks", title_justify="left", box=None, padding=(0, 1))
    for column in ("book", "used", "perplexity"):
        books.add_column(column, justify="right")
    usage = zip(view.statistics.codes.used(), view.statistics.codes.perplexity(), strict=True)
    for book, (used, perplexity) in enumerate(usage, start=1):
        books.add_row(str(book), f"{used:.0%}", f"{perplexity:.0f}", style="" if book <= view.books else "dim")
    both = Table.grid(padding=(0, 4))
    both.add_row(stages, books)
    return both


def _counts(view: View) -> Text:
    statistics = view.statistics
    lost = statistics.counters["packets_lost"]
    # Frames lost on the wire are told as packets; what remains was dropped for want of time.
    dropped = sum(n for name, n in statistics.dropped.items() if not name.endswith(".lost"))
    text = Text(f" delay {view.delay}\n" + (f" drift {view.drift}\n" if view.drift else ""))
    counts = {
        "overflows": view.overflows,
        "underflows": view.underflows,
        "dropped": dropped,
        "lost": lost,
        "concealed": statistics.conceal.concealed,
        "skipped": view.skipped_ms,
    }
    for name, count in counts.items():
        text.append(f" {name} {count} ", style="bold red" if count and name != "concealed" else "")
    return text
