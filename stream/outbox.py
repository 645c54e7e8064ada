"""What waits to be sent: sound within the credit of who listens, and pictures that may be late. Sans I/O.

The server sends at most ``lead_ms`` beyond what the client says it has played. Sound that comes live drops its oldest when
too much waits; other sound makes its maker wait.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from .wire import NO_FLAGS, Flag, Media

MOST_PICTURES = 64


class Piece(NamedTuple):
    """Sound or codes on their way out."""

    media: Media
    "Without its sequence number, which it gets when it is sent."
    start_ms: float
    "Within its generation."
    end_ms: float


class Outbox:
    """One direction of one session."""

    def __init__(self, lead_ms: float, most_waiting_ms: float, live: bool) -> None:
        """
        Args:
            lead_ms: how far ahead of what was played to send.
            most_waiting_ms: of sound that has no credit yet.
            live: drop the oldest of that, instead of making `has_room` false.
        """
        self.lead_ms = lead_ms
        self.most_waiting_ms = most_waiting_ms
        self.live = live
        self.generated_ms = 0.0
        "Of the present generation, as all of these."
        self.sent_ms = 0.0
        self.played_ms = 0.0
        self.dropped: Counter[str] = Counter()
        "Messages, by reason, since the beginning."
        self._pieces: deque[Piece] = deque()
        self._pictures: deque[Media] = deque()
        self._seq: Counter[int] = Counter()
        self._gaps: deque[tuple[float, float]] = deque()  # times that were dropped and that the player has yet to jump

    @property
    def waiting_ms(self) -> float:
        """Sound that waits for credit, or for the line."""
        return sum(piece.end_ms - piece.start_ms for piece in self._pieces)

    @property
    def has_room(self) -> bool:
        """Whether more sound may come; always so where it is live."""
        return self.live or self.waiting_ms < self.most_waiting_ms

    @property
    def may_send(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._pictures) or (bool(self._pieces) and self._ahead_ms(self._pieces[0]) <= self.lead_ms)

    @property
    def has_sound(self) -> bool:
        """Whether sound waits."""
        return bool(self._pieces)

    def put(self, piece: Piece) -> None:
        """Take sound or codes, in order of their time."""
        self._pieces.append(piece)
        self.generated_ms = piece.end_ms
        while self.live and len(self._pieces) > 1 and self.waiting_ms > self.most_waiting_ms:
            self._pieces.popleft()
            self.dropped["slow"] += 1

    def show(self, picture: Media) -> None:
        """Take something for the eye; the oldest makes room."""
        self._pictures.append(picture)
        if len(self._pictures) > MOST_PICTURES:
            self._pictures.popleft()
            self.dropped["view"] += 1

    def credit(self, played_ms: float) -> bool:
        """Note how far the client has played; returns whether that is news. It cannot have heard what was not sent."""
        before, self.played_ms = self.played_ms, max(self.played_ms, min(played_ms, self.sent_ms))
        while self._gaps and self._gaps[0][1] <= self.played_ms:
            self._gaps.popleft()
        return self.played_ms > before

    def restart(self) -> None:
        """Another generation begins: nothing of the old one is sent."""
        self.dropped["cancelled"] += len(self._pieces)
        self._pieces.clear()
        self._pictures.clear()
        self._gaps.clear()
        self.generated_ms = self.sent_ms = self.played_ms = 0.0

    def take(self) -> Media | None:
        """The next message that may be sent now, numbered; None: there is none, or no credit for it."""
        if self._pieces and self._ahead_ms(self._pieces[0]) <= self.lead_ms:
            piece = self._pieces.popleft()
            jumps = piece.start_ms > self.sent_ms
            if jumps:
                self._gaps.append((self.sent_ms, piece.start_ms))
            self.sent_ms = piece.end_ms
            return self._numbered(piece.media, Flag.DISCONTINUITY if jumps else NO_FLAGS)
        return self._numbered(self._pictures.popleft()) if self._pictures else None

    def clear(self) -> None:
        """Forget what waits: nobody listens any more."""
        self.dropped["closed"] += len(self._pieces)
        self._pieces.clear()
        self._pictures.clear()

    def _ahead_ms(self, piece: Piece) -> float:
        """How much sound there is to play until the end of ``piece``: what was dropped is none."""
        ahead_ms = piece.end_ms - self.played_ms
        if self._gaps or piece.start_ms > self.sent_ms:
            gaps = [*self._gaps, (self.sent_ms, piece.start_ms)]
            ahead_ms -= sum(max(end - max(start, self.played_ms), 0.0) for start, end in gaps)
        return ahead_ms

    def _numbered(self, media: Media, more: Flag = NO_FLAGS) -> Media:
        seq = self._seq[media.kind]
        self._seq[media.kind] = seq + 1 & 0xFFFF
        return media.numbered(seq, more)
