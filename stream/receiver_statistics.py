"""What a receiver of a room counts, and what it tells the sender of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ReceiverStatistics:
    """Exact counts since the start, of frames unless said otherwise.

    ``received == played + waiting + dropped.total()``, and
    ``pulls == played + repaired + concealed + silent``.
    """

    packets: int = 0
    "Code packets that could be read."
    comfort_noises: int = 0
    "Payloads that described the background."
    refused: Counter[str] = field(default_factory=Counter)
    "Payloads by reason: ``malformed``, ``foreign`` (another preset, or more books than the model has), ``unknown`` kind."
    received: int = 0
    "In code packets."
    waiting: int = 0
    "Received, and neither played nor dropped yet."
    dropped: Counter[str] = field(default_factory=Counter)
    """Received frames that were not played, by reason: ``late`` (their place was over), ``duplicate``, ``stale`` (so
    late or early that they are of no timeline we know), ``overrun`` (more was waiting than may wait), ``shrink`` (to
    lower the delay), ``restart`` (they were waiting when the sender began anew)."""
    pulls: int = 0
    played: int = 0
    "As they came."
    repaired: int = 0
    "Played with their coarsest book alone, which a later packet brought."
    concealed: int = 0
    "Made up in place of a frame that was missing, or while waiting for one; beyond 200 ms that is comfort noise."
    silent: int = 0
    "Comfort noise or nothing, as nobody spoke."
    missing: int = 0
    "Places in a talk that were passed with nothing known of the frame, at most a second of them in a gap."
    inserted: int = 0
    "Of the concealed: without giving a place away, so that the delay grew."
    short_runs: int = 0
    "Ended runs of concealed frames of at most `conceal.SHORT_MS`: not heard as gaps."
    long_runs: int = 0
    "Ended runs longer than that."
    talks: int = 0
    "Times that sound began after silence."
    restarts: int = 0
    "Times that a new timeline was begun: the sender began anew, or the route became another."


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """What the sender adapts to, over the time since the last report."""

    loss_share: float
    """Frames that did not come in time, of those that should have, 0 ... 1; what was repaired is lost too. 0 where
    nobody spoke."""
    lag_ms: float
    "How much later than the quickest known packets come: a broker or a link that is overloaded."
    jitter_ms: float
    "Mean distance of their lateness from its average."
