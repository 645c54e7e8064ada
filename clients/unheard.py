"""What was given to a server to be spoken and was not yet heard to its end: what to say again where the line breaks. Sans I/O.

A server tells each passage when it begins, with its text as it was written, and when the sound of it ends. So it is known which
text lies behind, and how much of it the server has not begun with.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sottovoce.stream.server_messages import SegmentEnd, SegmentStart

_ROUNDING_MS = 0.5


@dataclass
class _Passage:
    number: int
    end: int
    "Where it ends in the text."
    end_ms: float | None = None
    "When it ends in the sound, once that is known."


class Unheard:
    """Of one text, over any number of sessions.

    Attributes:
        n_heard: characters of passages that were heard to their end.
    """

    def __init__(self) -> None:
        self.n_heard = 0
        self._text = ""
        self._passages: deque[_Passage] = deque()
        self._begun = 0  # where the newest of them ends
        self._heard_ms = 0.0

    @property
    def waiting_chars(self) -> int:
        """Text that the server has not yet begun to speak."""
        return len(self._text) - self._begun

    @property
    def is_quiet(self) -> bool:
        """Whether all that was begun has been heard."""
        return not self._passages

    def write(self, text: str) -> None:
        """It was given to the server."""
        self._text += text

    def begin(self, passage: SegmentStart) -> None:
        """The server has begun with it."""
        at = self._text.find(passage.text, self._begun)
        if at >= 0:
            self._begun = at + len(passage.text)
        self._passages.append(_Passage(passage.segment, self._begun))

    def end(self, passage: SegmentEnd) -> None:
        """The server has told when it ends."""
        for known in self._passages:
            if known.number == passage.segment:
                known.end_ms = passage.end_ms
        self._forget()

    def hear(self, end_ms: float) -> None:
        """Sound was heard up to there."""
        self._heard_ms = end_ms
        self._forget()

    def restart(self) -> str:
        """The session broke: what is to be said again in the next one, beginning with the passage that broke off."""
        self._passages.clear()
        self._begun, self._heard_ms = 0, 0.0
        return self._text

    def _forget(self) -> None:
        """What was heard to its end."""
        while self._passages:
            end_ms = self._passages[0].end_ms
            if end_ms is None or end_ms > self._heard_ms + _ROUNDING_MS:
                return
            cut = self._passages.popleft().end
            self._text = self._text[cut:]
            self._begun -= cut
            self.n_heard += cut
            for later in self._passages:
                later.end -= cut
