"""A sender gives way when its link does not keep up, and comes back slowly. Sans I/O: times come in.

First the finest codebooks go, one by one, then packets grow, as fewer headers are what a narrow link gains most from. Two books
stay: with one alone most words are lost.
"""

from __future__ import annotations

import math

from .profiles import Profile
from .room_messages import Report

LEAST_BOOKS = 2
MOST_FRAMES = 50
"""In a packet: two seconds of ``base``."""
STRAINED_LOSS = 0.05
"""Of the last `LOSS_WINDOW_S`: a single stall of the line, which no smaller packet would have spared, is no strain."""
LOSS_WINDOW_S = 20.0
REPORTED_S = 2.0
"""What a report tells of."""
STRAINED_LAG_MS = 600.0
"""Beyond what cutting into packets takes."""
SEVERE_LAG_MS = 2000.0
STEP_S = 2.0
"""Between two steps down: time for the first one to show."""
CALM_S = 10.0
"""Without strain, before one step up. Doubles when that step brings the strain back."""
MOST_CALM_S = 160.0


class Adaptation:
    """Books and frames per packet of one sender.

    Attributes:
        steps_down, steps_up: how often it gave way and came back.
    """

    def __init__(self, profile: Profile, most_books: int, frame_ms: float) -> None:
        """``most_books``: of the model."""
        books = min(profile.books, most_books)
        frames = profile.frames_per_packet
        self._frame_ms = frame_ms
        least = min(books, LEAST_BOOKS)
        self._ladder = [(n, frames) for n in range(books, least - 1, -1)]
        while frames < MOST_FRAMES:
            frames = min(2 * frames, MOST_FRAMES)
            self._ladder.append((least, frames))
        self._at = 0
        self._stepped_s = self._strained_s = self._heard_s = -float("inf")
        self._loss = 0.0  # of late
        self._came_back_s = -float("inf")
        self._calm_s = CALM_S
        self.steps_down = self.steps_up = 0

    @property
    def books(self) -> int:
        """To send now."""
        return self._ladder[self._at][0]

    @property
    def frames_per_packet(self) -> int:
        """To gather now."""
        return self._ladder[self._at][1]

    def hear(self, now_s: float, loss: float = 0.0, lag_ms: float = 0.0) -> None:
        """What a peer reports, or how long packets wait for the broker here.

        Args:
            loss: share of frames that did not come, 0 ... 1.
            lag_ms: how much later than usual packets arrive or leave.
        """
        most_lag_ms = STRAINED_LAG_MS + self.frames_per_packet * self._frame_ms
        forgotten = math.exp((self._heard_s - now_s) / LOSS_WINDOW_S)
        self._loss, self._heard_s = self._loss * forgotten + loss * REPORTED_S / LOSS_WINDOW_S, now_s
        if self._loss < STRAINED_LOSS and lag_ms < most_lag_ms:
            return
        self._strained_s = now_s
        if now_s - self._stepped_s < STEP_S:
            return
        if now_s - self._came_back_s < CALM_S:  # it was too early
            self._calm_s = min(2 * self._calm_s, MOST_CALM_S)
        steps = 2 if lag_ms >= most_lag_ms + SEVERE_LAG_MS else 1
        at = min(self._at + steps, len(self._ladder) - 1)
        self.steps_down += at - self._at
        self._at, self._stepped_s = at, now_s

    def tick(self, now_s: float) -> None:
        """Call now and then: comes back one step after long enough without strain."""
        if self._at == 0 or now_s - max(self._strained_s, self._stepped_s) < self._calm_s:
            return
        self._at -= 1
        self.steps_up += 1
        self._stepped_s = self._came_back_s = now_s
        if self._at == 0:
            self._calm_s = CALM_S


class ReportGate:
    """Says whether a report is worth its bytes, as many as a packet's on a narrow link: on a good one none is sent."""

    def __init__(self) -> None:
        self._strained = False

    def passes(self, report: Report) -> bool:
        """Whether to send it: there is something to complain of, or for the last time there is not."""
        strained = report.loss >= STRAINED_LOSS / 2 or report.lag_ms >= STRAINED_LAG_MS
        passes = strained or self._strained
        self._strained = strained
        return passes
