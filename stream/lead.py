"""How far ahead of its playing something is made. Sans I/O: the clock's time comes in."""

from __future__ import annotations


class Lead:
    """The clock of a player that plays what it has as soon as it has it, and how much more it may be given.

    The first frame may come at once. After a pause for want of text it goes on as if it began.
    """

    def __init__(self, frame_s: float, lead_s: float) -> None:
        """Raises ValueError: less than two frames, with which every frame would come when the one before has ended."""
        if not lead_s >= 2 * frame_s:
            raise ValueError(f"a lead of {1000 * lead_s:g} ms is less than two frames of {1000 * frame_s:g} ms")
        self.frame_s, self.lead_s = frame_s, lead_s
        self.played_s: float | None = None
        "When everything that was written will have been played; None before the first frame."

    def wait_s(self, now_s: float, n_frames: int = 1) -> float:
        """How long from now until ``n_frames`` more may be written, >= 0."""
        if self.played_s is None:
            return 0.0
        return max(self.played_s + n_frames * self.frame_s - self.lead_s - now_s, 0.0)

    def left_s(self, now_s: float, n_frames: int = 1) -> float:
        """How much sound the player still has when ``n_frames`` more may be written; 0 before the first."""
        if self.played_s is None:
            return 0.0
        return min(self.played_s - now_s, self.lead_s - n_frames * self.frame_s)

    def due_s(self, now_s: float) -> float:
        """When the next frame must be there to be in time; for the first one that is now."""
        return now_s if self.played_s is None else self.played_s

    def wrote(self, now_s: float) -> None:
        """A frame was written."""
        self.played_s = max(self.due_s(now_s), now_s) + self.frame_s

    def resume(self, now_s: float) -> None:
        """There is something to say again: a player that has run dry meanwhile begins anew."""
        if self.played_s is not None and self.played_s < now_s:
            self.played_s = now_s

    def restart(self) -> None:
        """Another generation: what was written is not played."""
        self.played_s = None
