"""What an evaluation finds of one system: a row of the table, and of its JSON."""

from dataclasses import dataclass, field

from .bootstrap import Estimate


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a system over all clips."""

    name: str
    kind: str
    "``original``, ``ours``, ``copy`` (our vocoder on the original's mel) or ``peer``."
    family: str
    "What belongs to one curve: preset and vocoder, or the peer's codec."
    clips: int
    seconds: float
    frames: int = 0
    "Of codes, ours only."
    books: int | None = None
    loss: float = 0.0
    lost_share: float | None = None
    "Of frames, really lost."
    bits_per_s: float | None = None
    "Codes alone, of bytes that were written."
    packet_bits_per_s: float | None = None
    "Our live packets of one frame with their headers."
    file_bits_per_s: float | None = None
    delay_ms: float | None = None
    "Algorithmic, of ours."
    lag_ms: float | None = None
    "By how much the decoded sound came late, and was moved."
    perplexity: list[float] = field(default_factory=list)
    "Effective codes of every book."
    metrics: dict[str, Estimate] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    "Metrics that were asked for and are not there, and why."
