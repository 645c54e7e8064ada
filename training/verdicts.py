"""Who is better: our rows beside the peers they are to beat, and the limits they are to keep.

A peer is beaten where ours is better in every one of PESQ-WB, ESTOI, ViSQOL and WER, clip by clip on the same clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .bootstrap import Estimate, Tallies, difference, estimate
from .metrics import TITLES, WORDS, Metric
from .rows import Row

FRAMES_PER_CODE = 10
"""Fewer frames than this a code tell nothing of how many codes are in use."""
JUDGED = ("pesq", "estoi", "visqol", WORDS)

Tables = Mapping[str, Mapping[str, Tallies]]
"""Row name -> metric name -> tallies over the same clips in the same order."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Ours, and whom it is to beat."""

    preset: str
    books: int
    peer: str
    level: Literal["must", "aim"]


BAR = (
    Pairing("base", 8, "opus-6", "must"),
    Pairing("base", 8, "opus-9", "aim"),
    Pairing("base", 8, "amr-wb-6.6", "aim"),
    Pairing("base", 4, "codec2-3200", "must"),
    Pairing("base", 4, "opus-6", "aim"),
    Pairing("base", 2, "codec2-1200", "must"),
    Pairing("base", 2, "codec2-3200", "aim"),
    Pairing("micro", 2, "codec2-1200", "must"),
    Pairing("micro", 2, "codec2-2400", "aim"),
)

Outcome = Literal["better", "better?", "worse?", "worse", "not measured"]
"""With a question mark: the interval of the difference holds zero."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One pairing, judged."""

    ours: str
    peer: str
    level: str
    outcomes: dict[str, Outcome]
    "By metric."
    differences: dict[str, Estimate]
    "Ours minus theirs, of the metrics that were measured."

    @property
    def beaten(self) -> str:
        """``yes``; ``yes?``: better in each but not surely in all; ``no``; or ``not measured``: a metric is missing."""
        outcomes = set(self.outcomes.values())
        if outcomes & {"worse", "worse?"}:
            return "no"
        if "not measured" in outcomes:
            return "not measured"
        return "yes" if outcomes == {"better"} else "yes?"


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure that must not be passed."""

    row: str
    what: str
    wanted: str
    found: str
    kept: str
    "``yes``, ``no`` or ``not measured``."


def judge(ours: str, peer: str, level: str, tables: Tables, metrics: Sequence[Metric]) -> Verdict:
    """The rows ``ours`` and ``peer`` of ``tables``, metric by metric."""
    higher = {metric.name: metric.higher for metric in metrics}
    outcomes: dict[str, Outcome] = {}
    differences: dict[str, Estimate] = {}
    for name in JUDGED:
        both = tables.get(ours, {}).get(name), tables.get(peer, {}).get(name)
        if both[0] is None or both[1] is None or not ((both[0][:, 1] > 0) & (both[1][:, 1] > 0)).any():
            outcomes[name] = "not measured"
            continue
        differences[name] = found = difference(both[0], both[1])
        outcomes[name] = outcome(found, higher[name])
    return Verdict(ours, peer, level, outcomes, differences)


def outcome(found: Estimate, higher: bool) -> Outcome:
    """What a difference (ours minus theirs) says, where ``higher`` tells whether more is better. No difference is no win."""
    better = found.value > 0 if higher else found.value < 0
    sure = found.low > 0 or found.high < 0
    if better:
        return "better" if sure else "better?"
    return "worse" if sure else "worse?"


def limits(row: Row, preset: str, book_size: int, tables: Tables) -> list[Limit]:
    """What a row of ours must keep to whoever else is there."""
    found: list[Limit] = []
    most_rise = {("base", 8): 0.03, ("base", 4): 0.06, ("base", 2): 0.15}.get((preset, row.books or 0))
    if most_rise is not None:
        found.append(_word_rise(row.name, most_rise, tables))
    if (preset, row.books) == ("base", 8):
        found.append(_at_least(row.name, "speaker", 0.95, tables))
    least, wanted = min(row.perplexity), book_size / 2
    if row.frames < FRAMES_PER_CODE * book_size:  # few frames cannot use many codes, and look like a dead book
        kept, text = "not measured", f"{least:.0f} of only {row.frames} frames"
    else:
        kept, text = "yes" if least >= wanted else "no", f"{least:.0f}"
    found.append(Limit(row.name, "least perplexity", f">= {wanted:.0f}", text, kept))
    return found


def copy_limits(row: str, tables: Tables) -> list[Limit]:
    """What the vocoder alone must keep to."""
    return [_at_least(row, "pesq", 3.0, tables), _word_rise(row, 0.01, tables)]


def _word_rise(row: str, most: float, tables: Tables) -> Limit:
    what, wanted = "WER over the originals, points", f"<= {100 * most:.0f}"
    tallies, original = tables[row].get(WORDS), tables.get("original", {}).get(WORDS)
    if tallies is None or original is None or not tallies[:, 1].any():
        return Limit(row, what, wanted, "", "not measured")
    rise = difference(tallies, original)
    text = f"{100 * rise.value:+.1f} ({100 * rise.low:+.1f} to {100 * rise.high:+.1f})"
    return Limit(row, what, wanted, text, "yes" if rise.value <= most else "no")


def _at_least(row: str, metric: str, least: float, tables: Tables) -> Limit:
    what, wanted = TITLES[metric], f">= {least:g}"
    tallies = tables[row].get(metric)
    if tallies is None or not tallies[:, 1].any():
        return Limit(row, what, wanted, "", "not measured")
    value = estimate(tallies)
    text = f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"
    return Limit(row, what, wanted, text, "yes" if value.value >= least else "no")
