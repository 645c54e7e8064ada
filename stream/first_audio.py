"""What the wait for the first sound is made of. Sans I/O: moments in, milliseconds out."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from .frames import Pcm

Part = Literal["queue", "talker", "decode", "network"]
PARTS: tuple[Part, ...] = get_args(Part)
"""They follow each other. Their sum is what the client waits, if its word takes as long to us as its text did."""
AUDIBLE = 10 ** (-50 / 20)
"""Below -50 dBFS nothing is taken for sound."""


class FirstAudio:
    """The first sound of a session, from the client's first word (or sound) until it has the first sound.

    =================  ===========================================================================
    queue              from what the client gave until an engine began with it
    talker             from there until the first codes were written; only where text is spoken
    decode             from codes, or sound, to the first sound that was ready to send
    network            from there until the client's word that it has some of it: the line, there and back
    =================  ===========================================================================

    ``leading_silence`` is none of them: how much of the sound, once it is there, passes before something is audible.
    """

    def __init__(self) -> None:
        self._at_s: dict[str, float] = {}
        self._silent_samples = 0
        self.silence_ms: float | None = None

    def mark(self, moment: Literal["given", "begun", "written", "ready", "received"], now_s: float) -> bool:
        """Note a moment; only the first of each kind counts. Returns whether this was it."""
        if moment in self._at_s:
            return False
        self._at_s[moment] = now_s
        return True

    def heard(self, pcm: Pcm, rate_hz: int) -> bool:
        """Look for the first audible sample of the stream; returns whether it was in here."""
        if self.silence_ms is not None:
            return False
        loud = np.flatnonzero(np.abs(pcm) > AUDIBLE)
        self._silent_samples += int(loud[0]) if len(loud) else len(pcm)
        if len(loud):
            self.silence_ms = 1000 * self._silent_samples / rate_hz
        return bool(len(loud))

    def parts_ms(self) -> dict[str, float]:
        """What is known so far."""
        at = self._at_s
        sound_from = "written" if "written" in at else "begun"
        spans = {
            "queue": ("given", "begun"),
            "talker": ("begun", "written"),
            "decode": (sound_from, "ready"),
            "network": ("ready", "received"),
        }
        parts = {part: 1000 * (at[b] - at[a]) for part, (a, b) in spans.items() if a in at and b in at}
        return parts if self.silence_ms is None else parts | {"leading_silence": self.silence_ms}
