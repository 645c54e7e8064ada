"""Another peer of the room, as we hear it: its payloads opened, its receiver, its row of the engine, its sound.

`take` gets what the carrier brings, `frame` gives the sound for the next frame of our speaker.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .comfort_sound import ComfortSound
from .descriptor import Descriptor
from .errors import NoSlot
from .frames import Pcm
from .loop import EngineLoop, Session
from .peer_drift import DriftCorrection
from .play_frame import PlayFrame
from .profiles import PROFILES
from .room_messages import Presence, Report, read_descriptor
from .room_receiver import RoomReceiver
from .room_transport import Slot
from .stages import fade

if TYPE_CHECKING:
    from .room_key import Opener

_KEPT_S = 2.0
"""A row is kept for so long after the last sound that needed it."""


class RemotePeer:
    """One of them.

    Attributes:
        level: its name, as it travels.
        here: whether it has said that it is there.
        seen_s: when it was last heard of.
        presence: what it says of itself; None before.
        refused_model: the model of a descriptor that we cannot decode; None: there was none.
        counts: ``unheard.REASON``: payloads not taken (``no_descriptor``, ``other_model``, ``no_floor``), and frames that no
            row of the engine was left for (``no_row``).
    """

    def __init__(self, level: str, opener: Opener | None, ours: Descriptor, patience_ms: float) -> None:
        """``ours``: what our engine decodes; ``patience_ms``: how long its packets are waited for."""
        self.level = level
        self.here = False
        self.seen_s = 0.0
        self.presence: Presence | None = None
        self.refused_model: Descriptor | None = None
        self.counts: Counter[str] = Counter()
        self._opener = opener
        self._ours = ours
        self._patience_ms = patience_ms
        self._described = False
        self._receiver: RoomReceiver | None = None  # since it first spoke
        self._comfort = ComfortSound(ours)
        self._drift = DriftCorrection(ours.rate_hz)
        self._row: Session | None = None
        self._at_work = self._closing = False  # the engine makes a frame; the row is given back behind it
        self._needed_s = 0.0
        self._faded_db = 0.0
        self._sound = np.zeros(0, np.float32)  # ready to be played

    @property
    def name(self) -> str:
        """How to call it."""
        return self.level if self.presence is None else self.presence.name

    @property
    def pushes(self) -> bool:
        """Whether it has to take the floor before it talks."""
        return self.presence is not None and self.presence.talk == "push"

    @property
    def described(self) -> bool:
        """Whether it speaks what we decode."""
        return self._described

    @property
    def proved(self) -> bool:
        """Whether it has the room's key."""
        return self._opener is not None and self._opener.knows_session

    def forget(self) -> None:
        """It is not asked any more; what it said is not heard a second time."""
        self._receiver = None
        self.close()
        if self._opener is not None:
            self._opener.end()

    # ---- what comes ------------------------------------------------------------------------------------------

    def open(self, slot: Slot, payload: bytes) -> bytes | None:
        """What is in it; None, and counted, where it is not for us or not authentic."""
        return payload if self._opener is None else self._opener.open(slot, payload)

    def describe(self, payload: bytes) -> None:
        """Its descriptor came. Raises ProtocolError: it is none."""
        theirs = read_descriptor(payload)
        if (theirs.preset, theirs.model_hash) != (self._ours.preset, self._ours.model_hash):
            self.refused_model, self._receiver, self._described = theirs, None, False
            self.close()
            return
        self.refused_model, self._described = None, True
        if self._receiver is not None and not self.here:  # it has begun anew
            self._receiver.restart()

    def arrive(self, payload: bytes) -> bool:
        """Its presence came; whether that is news. Raises ProtocolError: it is none."""
        self.presence = Presence.from_bytes(payload)
        news, self.here = not self.here, True
        return news

    def leave(self) -> bool:
        """It is gone; whether that is news."""
        news, self.here = self.here, False
        return news

    def hear(self, payload: bytes, now_s: float) -> None:
        """What it says."""
        if self._described:
            if self._receiver is None:
                self._receiver = RoomReceiver(self._ours, max_delay_ms=self._patience())
            self._receiver.push(payload, now_s)
        elif self.refused_model is not None:
            self.counts["unheard.other_model"] += 1
        else:
            self.counts["unheard.no_descriptor"] += 1

    def _patience(self) -> float:
        """In milliseconds: ours, or what the profile asks for that it seems to send by."""
        frames = 1 if self.presence is None else self.presence.frames_per_packet
        theirs = [profile for profile in PROFILES.values() if profile.frames_per_packet <= frames]
        return max([self._patience_ms, *(profile.patience_ms for profile in theirs)])

    def report(self) -> Report | None:
        """How its sound arrived lately; None: it never spoke."""
        if self._receiver is None or not self._receiver.statistics.packets:
            return None
        told = self._receiver.report()
        return Report(self.level, told.loss_share, round(told.lag_ms), round(told.jitter_ms))

    # ---- what is heard ---------------------------------------------------------------------------------------

    async def frame(self, loop: EngineLoop, now_s: float) -> Pcm:
        """Its sound for one frame of our speaker, float32 [frame_samples]; silence where there is none."""
        n = self._ours.frame_samples
        while len(self._sound) < n:
            if self._receiver is None or not (self.here or self._receiver.speaking):
                self.close()
                return np.zeros(n, np.float32)
            receiver = self._receiver  # a descriptor may take it away while the engine works
            pulled = receiver.pull(now_s)
            pcm = await self._decoded(pulled, loop, now_s) if pulled.kind == "codes" else None
            if pcm is None and self._row is not None and now_s - self._needed_s > _KEPT_S:
                self.close()
            self._drift.ppm = receiver.playout_ppm
            self._sound = np.concatenate([self._sound, self._drift.process(self._comfort.under(pcm, pulled))])
        heard, self._sound = self._sound[:n], self._sound[n:]
        return heard

    async def _decoded(self, pulled: PlayFrame, loop: EngineLoop, now_s: float) -> Pcm | None:
        """None: no row of the engine is left."""
        self._needed_s = now_s
        fresh = pulled.discontinuity
        if self._row is None:
            try:
                self._row, fresh = loop.open(), True
            except NoSlot:
                self.counts["unheard.no_row"] += 1
                return None
        due_s = now_s + self._ours.frame_ms / 1000
        self._at_work = True
        try:
            mel = await self._row.step("decode", pulled.codes[None], due_s, fresh=fresh)
            if pulled.attenuation_db > 0:
                mel = fade(mel, 0.0 if fresh else self._faded_db, pulled.attenuation_db)
            self._faded_db = pulled.attenuation_db
            return await self._row.step("vocode", mel, due_s, fresh=fresh)
        finally:
            self._at_work = False
            if self._closing:
                self.close()

    def close(self) -> None:
        """Give its row back, behind the frame that the engine is making."""
        self._closing = self._at_work
        if self._row is not None and not self._at_work:
            self._row.close()
            self._row = None

    def statistics(self) -> dict[str, Any]:
        """Every counter there is, for people and programs."""
        told: dict[str, Any] = {"name": self.name, "here": self.here, "counts": dict(self.counts)}
        if self._opener is not None:
            told["refused"] = dict(self._opener.refused)
        if self._receiver is not None:
            told["receiver"] = plain(self._receiver.statistics)
            told["playout_ppm"] = self._receiver.playout_ppm
            told["drift_ppm"] = self._receiver.drift_ppm
            told["delay_ms"] = self._receiver.delay_ms
            told["target_ms"] = self._receiver.target_ms
        return told


def plain(record: Any) -> dict[str, Any]:
    """A dataclass of counts as JSON can hold it."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}
