"""Named ways to cut a voice into packets: the shorter the delay, the more of a narrow link goes into headers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """What a sender of a room starts from; see `budget` for what it costs on a link."""

    name: str
    books: int
    "Codebooks, or as many as the model has if those are fewer."
    frames_per_packet: int
    redundancy: int
    "How many packets back each one repeats the coarsest book."
    pre_roll_frames: int
    "Sent from before the moment that a voice was noticed. Up to ``frames_per_packet - 1`` add no delay."
    hangover_frames: int
    "Sent after the last that sounded like a voice, so that the gaps between words do not end a talk."
    patience_ms: float
    "How long a receiver may wait for a late packet before it conceals: where its buffer stops growing."

    def delay_ms(self, frame_ms: float) -> float:
        """From the first sample of a packet to its last: what cutting into packets adds."""
        return self.frames_per_packet * frame_ms


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("live", 4, 2, redundancy=1, pre_roll_frames=4, hangover_frames=10, patience_ms=400),
        Profile("normal", 4, 6, redundancy=1, pre_roll_frames=5, hangover_frames=10, patience_ms=1000),
        Profile("thrifty", 3, 16, redundancy=1, pre_roll_frames=8, hangover_frames=12, patience_ms=3000),
        Profile("radio", 3, 50, redundancy=0, pre_roll_frames=8, hangover_frames=15, patience_ms=8000),
    )
}
DEFAULT = "normal"
