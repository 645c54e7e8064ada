"""How an evaluation reads as Markdown."""

from collections.abc import Sequence

from .bootstrap import Estimate
from .metrics import NAMES, TITLES, WORDS
from .rows import Row
from .verdicts import JUDGED, Limit, Verdict

DECIMALS = {"pesq": 2, "estoi": 3, "visqol": 2, "mel": 3, "dnsmos": 2, "speaker": 3, WORDS: 1}


def cell(name: str, value: Estimate) -> str:
    """A figure with its interval; word errors in per cent."""
    scale, digits = (100 if name == WORDS else 1), DECIMALS[name]
    return " ".join(
        [f"{scale * value.value:.{digits}f}", f"({scale * value.low:.{digits}f} to {scale * value.high:.{digits}f})"]
    )


def as_table(rows: Sequence[Row]) -> str:
    """All rows. A metric that a row lacks reads ``n/a``, and why stands below."""
    names = [name for name in NAMES if any(name in row.metrics or name in row.missing for row in rows)]
    head = [
        "what",
        "bit/s",
        "in packets",
        "in a file",
        "delay ms",
        *(TITLES[name] for name in names),
        "least perplexity",
    ]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        lines.append(
            _line(
                [
                    row.name,
                    *(_number(value) for value in (row.bits_per_s, row.packet_bits_per_s, row.file_bits_per_s)),
                    "" if row.delay_ms is None else f"{row.delay_ms:.1f}",
                    *(cell(name, row.metrics[name]) if name in row.metrics else "n/a" for name in names),
                    f"{min(row.perplexity):.0f}" if row.perplexity else "",
                ]
            )
        )
    reasons = sorted({f"{TITLES[name]}: {why}" for row in rows for name, why in row.missing.items()})
    return "\n".join([*lines, *(["", *reasons] if reasons else [])])


def perplexity_table(rows: Sequence[Row]) -> str:
    """Every book of every row that has books; the first so many books are the same whatever is sent beside them."""
    widest: dict[str, Row] = {}
    for row in rows:
        if len(row.perplexity) > len(widest[row.family].perplexity if row.family in widest else []):
            widest[row.family] = row
    if not widest:
        return ""
    most = max(len(row.perplexity) for row in widest.values())
    lines = [_line(["perplexity", *(f"book {book + 1}" for book in range(most))]), _line(["---"] * (most + 1))]
    for row in widest.values():
        values = [f"{value:.0f}" for value in row.perplexity]
        lines.append(_line([row.name, *values, *[""] * (most - len(values))]))
    return "\n".join(lines)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Ours minus the peer's, with the interval of the paired difference, and what that says."""
    if not verdicts:
        return ""
    lines = [
        _line(["ours", "peer", "", *(TITLES[name] for name in JUDGED), "beaten"]),
        _line(["---"] * (4 + len(JUDGED))),
    ]
    for verdict in verdicts:
        cells = []
        for name in JUDGED:
            found = verdict.differences.get(name)
            outcome = verdict.outcomes[name]
            cells.append(f"{_signed(name, found)} {outcome}" if found else outcome)
        lines.append(_line([verdict.ours, verdict.peer, verdict.level, *cells, verdict.beaten]))
    return "\n".join(lines)


def limit_table(limits: Sequence[Limit]) -> str:
    """What must be kept to, and whether it is."""
    if not limits:
        return ""
    lines = [_line(["ours", "what", "wanted", "found", "kept"]), _line(["---"] * 5)]
    lines += [_line([limit.row, limit.what, limit.wanted, limit.found, limit.kept]) for limit in limits]
    return "\n".join(lines)


def _signed(name: str, value: Estimate) -> str:
    scale, digits = (100 if name == WORDS else 1), DECIMALS[name]
    return f"{scale * value.value:+.{digits}f} ({scale * value.low:+.{digits}f} to {scale * value.high:+.{digits}f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
