"""From packets that may be missing, late or double to a steady run of frames. Sans I/O: no clock, no channel.

A gap is known in two ways: a packet comes whose number is too high, or whoever holds the clock says that one
is not coming (`Missing`). Redundant codes of a later packet repair what they cover; the rest repeats the last
codes and fades to silence, so that nothing goes on speaking when the line is dead. After the end of a talk
nothing is known: what is missing then is silence at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .packet import CodePacket

SILENT_AFTER_MS = 200.0
SILENT_DB = 200.0
"""More than any sound stands above the floor of a log-mel."""
SHORT_MS = 60.0
"""Concealed runs up to this length are not heard as gaps (freeswitch issue 3118)."""
MAX_GAP_FRAMES = 250
"""A jump in the numbers beyond this is a new start of the sender, not a gap to be filled."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands on the wire for a packet that will not come."""

    n_frames: int


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedFrame:
    """One frame of codes for the decoder."""

    codes: NDArray[np.int16]
    "[books] of the model; -1 where absent."
    books: int
    "How many are present."
    concealed: bool
    "Repeated, not received."
    attenuation_db: float
    "How far to fade it; 0 unless concealed."


@dataclass(slots=True)
class ConcealStatistics:
    """Counts since the start."""

    received: int = 0
    "Frames whose codes came in time."
    repaired: int = 0
    "Frames of which a later packet brought the coarsest book."
    concealed: int = 0
    "Frames made up."
    short_runs: int = 0
    "Ended runs of concealed frames of at most ``SHORT_MS``."
    long_runs: int = 0
    "Ended runs longer than that."
    late: int = 0
    "Frames that came after their place was given away, or twice; thrown away."
    restarts: int = 0
    "Times that the numbers jumped too far for a gap."


class Conceal:
    """The receiver of one stream of packets."""

    def __init__(
        self,
        books: int,
        frame_ms: float,
        patience_frames: int = 0,
        statistics: ConcealStatistics | None = None,
    ) -> None:
        """
        Args:
            books: codebooks of the model.
            frame_ms: length of a frame.
            patience_frames: how many missing frames to hold back in the hope of redundancy in a later packet.
            statistics: where to count on; by default from zero.
        """
        self.statistics = ConcealStatistics() if statistics is None else statistics
        self._books = books
        self._absent = np.full(books, -1, np.int16)
        self._frame_ms = frame_ms
        self._patience = patience_frames
        self._next: int | None = None  # of the next frame, before the pending ones; None: nothing came yet
        self._ended = False  # the newest packet ended its talk: from `_next` on any number will do
        self._pending = 0  # frames known to be missing, not yet given up
        self._run = 0  # concealed frames in a row
        self._forget()

    @property
    def pending(self) -> int:
        """Missing frames that are held back in the hope of redundancy."""
        return self._pending

    def restart(self) -> int:
        """Forget everything, as another stream begins; returns how many frames were held back."""
        forgotten, self._pending = self._pending, 0
        self._next, self._ended = None, False
        self._end_run()
        self._forget()
        return forgotten

    def receive(self, packet: CodePacket) -> list[ReceivedFrame]:
        """The frames that ``packet`` settles: the gap before it, repaired or concealed, then its own.

        Raises:
            ValueError: more books than the model has.
        """
        n, books = packet.codes.shape
        if books > self._books:
            raise ValueError(f"a packet of {books} books for a model of {self._books}")
        gap, redundant = self._gap_before(packet)
        late = min(max(-gap, 0), n)  # frames at its beginning whose place was given away
        self.statistics.late += late
        if gap < 0 and late == n:  # nothing in it is news, not even that a talk has ended
            return []
        frames = [self._fill(redundant, gap - i) for i in range(gap)]
        for codes in packet.codes[late:]:
            frames.append(self._received(codes))
        self._pending = 0
        self._next = packet.seq + n & 0xFFFF
        self._ended = packet.end_of_talk
        if packet.end_of_talk:
            self._end_run()
            self._forget()
        return frames

    def missing(self, notice: Missing) -> list[ReceivedFrame]:
        """The frames that are given up now that ``notice`` says some do not come, oldest first.

        Before the first packet and after the end of a talk there is nothing to repeat: frames given up then are
        silence.
        """
        self._pending += notice.n_frames
        return [self._give_up() for _ in range(max(self._pending - self._patience, 0))]

    def finish(self) -> list[ReceivedFrame]:
        """The stream is over: gives up what was held back."""
        frames = [self._give_up() for _ in range(self._pending)]
        self._end_run()
        return frames

    def _gap_before(self, packet: CodePacket) -> tuple[int, NDArray[np.uint16]]:
        """Frames to fill before ``packet``, negative: it begins that many too late; and codes that may fill them."""
        if self._next is None:
            return self._pending, packet.redundant
        gap = ((packet.seq - self._next + 0x8000) & 0xFFFF) - 0x8000  # the short way round the circle
        if -MAX_GAP_FRAMES <= gap < 0:
            return gap, packet.redundant
        if self._ended:  # a pause, of which only those frames are missing that somebody waited for
            return self._pending, packet.redundant
        if abs(gap) > max(MAX_GAP_FRAMES, self._pending):
            self.statistics.restarts += 1
            return self._pending, packet.redundant[:0]  # what is pending was another's
        return gap, packet.redundant

    def _fill(self, redundant: NDArray[np.uint16], frames_back: int) -> ReceivedFrame:
        """The frame ``frames_back`` before a packet that brought ``redundant``."""
        if frames_back > len(redundant):
            return self._concealed()
        codes = self._absent.copy()
        codes[0] = redundant[frames_back - 1]
        self.statistics.repaired += 1
        self._end_run()
        self._last = codes
        return ReceivedFrame(codes, 1, False, 0.0)

    def _received(self, codes: NDArray[np.uint16]) -> ReceivedFrame:
        known = self._absent.copy()
        known[: len(codes)] = codes
        self.statistics.received += 1
        self._end_run()
        self._last = known
        return ReceivedFrame(known, len(codes), False, 0.0)

    def _give_up(self) -> ReceivedFrame:
        self._pending -= 1
        if self._next is not None and not self._ended:  # a pause has no numbers
            self._next = self._next + 1 & 0xFFFF
        return self._concealed()

    def _concealed(self) -> ReceivedFrame:
        """The last codes again, fading ever faster: a short gap keeps its loudness, a long one is silent."""
        self._run += 1
        self.statistics.concealed += 1
        books = int((self._last >= 0).sum())
        share = min(self._run * self._frame_ms / SILENT_AFTER_MS, 1.0) if books else 1.0
        return ReceivedFrame(self._last, books, True, SILENT_DB * share**2)

    def _forget(self) -> None:
        """Nothing is known of what was said last."""
        self._last = self._absent

    def _end_run(self) -> None:
        if self._run * self._frame_ms > SHORT_MS:
            self.statistics.long_runs += 1
        elif self._run:
            self.statistics.short_runs += 1
        self._run = 0
