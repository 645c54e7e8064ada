"""From frames of codes to what a peer publishes on slot a: nothing while nobody speaks. Sans I/O.

A talk begins some frames before a voice was noticed and ends some frames after it was last heard; then the background is
described once. Frames count on through the silence, so that numbers tell media time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from .adaptation import Adaptation
from .comfort_noise import Background, ComfortNoise
from .descriptor import Descriptor
from .frames import Codes, Pcm
from .packer import Dial, Packer
from .packet import preset_id
from .profiles import Profile
from .voice_activity import Activity

CHANGED_DB = 6.0
"""How far one band of the background must move before it is described again in the middle of a silence."""
CHANGED_FOR_S = 2.0
"""And for how long: what passes by is no background."""
CHANGED_AFTER_S = 10.0
"""No sooner than so long after the last description."""


@dataclass(slots=True)
class Sent:
    """What a sender counted."""

    talks: int = 0
    frames: int = 0
    "Sent."
    silent_frames: int = 0
    "Not sent, as nobody spoke or the key was not pressed."
    lost_frames: int = 0
    "Of the microphone, lost before they were encoded; their numbers are left out."
    packets: int = 0
    comfort_noises: int = 0


class RoomSender:
    """One peer's voice on its way out.

    Attributes:
        sent: the counts.
        adaptation: books and frames per packet as they are now.
    """

    def __init__(
        self, descriptor: Descriptor, profile: Profile, activity: Activity | None, push_to_talk: bool = False
    ) -> None:
        """
        Args:
            descriptor: the stream.
            profile: where to start from; more books than the model has are all it has.
            activity: tells who speaks. None: nobody, as of a peer that only listens; enough for push to talk, but no
                background is described then.
            push_to_talk: a talk lasts from `press` to `release`, whatever is heard.
        """
        self._descriptor = descriptor
        self._activity = activity
        self._push_to_talk = push_to_talk
        self._pressed = False
        self._hangover_frames = profile.hangover_frames
        self.adaptation = Adaptation(profile, descriptor.books, descriptor.frame_ms)
        self._dial = Dial(descriptor.books, self.adaptation.books)
        self._packer = Packer(descriptor, self._dial, self.adaptation.frames_per_packet, profile.redundancy)
        self._before: deque[Codes] = deque(maxlen=0 if push_to_talk else profile.pre_roll_frames)  # each [1, books]
        self._background = Background(descriptor.rate_hz, descriptor.frame_samples)
        self._described: tuple[tuple[float, ...], float] | None = None  # levels, when
        self._as_described_s = 0.0  # when the background last was that
        self._quiet_frames = 0  # since a voice was last heard
        self.talking = False
        self.sent = Sent()

    def push(self, codes: Codes, pcm: Pcm, now_s: float) -> list[bytes]:
        """The payloads of slot a that are due, in order; most times none.

        Args:
            codes: [n, books of the model], the next frames.
            pcm: [n * frame_samples], the sound they were made from.
            now_s: any monotonic clock.

        Raises:
            ValueError: as many frames of sound as of codes are needed.
        """
        frames = pcm.reshape(len(codes), self._descriptor.frame_samples)
        self._adapt(now_s)
        payloads: list[bytes] = []
        for i, frame in enumerate(frames):
            payloads += self._frame(codes[i : i + 1], self._voice(frame), now_s)
        return payloads

    def lose(self, n_frames: int) -> list[bytes]:
        """The next frames were lost on their way here: they have numbers all the same, or all that follows would seem late.

        Returns what is to be published before them.
        """
        self.sent.lost_frames += n_frames
        if not self.talking:
            self._packer.skip(len(self._before) + n_frames)
            self._before.clear()
            return []
        packets = list(self._packer.leave_out(n_frames))
        self.sent.packets += len(packets)
        return packets

    def press(self) -> None:
        """The floor is ours: frames from the next on are sent. For push to talk."""
        self._pressed = True

    def release(self, now_s: float) -> list[bytes]:
        """The key was let go, or the floor lost: the talk ends with the last frame that was pushed."""
        self._pressed = False
        return self._end(now_s)

    def finish(self, now_s: float) -> list[bytes]:
        """No more sound comes: ends a talk that is going on."""
        return self._end(now_s)

    def strain(self, now_s: float, loss: float = 0.0, lag_ms: float = 0.0) -> None:
        """A peer's report, or how far the broker is behind; see `Adaptation.hear`."""
        self.adaptation.hear(now_s, loss, lag_ms)

    def _adapt(self, now_s: float) -> None:
        self.adaptation.tick(now_s)
        self._dial.books = self.adaptation.books
        self._packer.frames_per_packet = self.adaptation.frames_per_packet

    def _voice(self, frame: Pcm) -> bool:
        if self._activity is None:
            return False
        voice = self._activity.push(frame)
        if not voice:
            self._background.add(frame)
        return voice

    def _frame(self, codes: Codes, voice: bool, now_s: float) -> list[bytes]:
        self._quiet_frames = 0 if voice else self._quiet_frames + 1
        if self._push_to_talk:
            wanted = self._pressed
        else:
            wanted = voice or (self.talking and self._quiet_frames <= self._hangover_frames)
        if wanted:
            return self._say(codes)
        payloads = self._end(now_s)
        self._hold(codes)
        return payloads or self._describe_again(now_s)

    def _say(self, codes: Codes) -> list[bytes]:
        if not self.talking:
            self.talking = True
            self.sent.talks += 1
            codes = np.concatenate([*self._before, codes])
            self.sent.silent_frames -= len(self._before)
            self._before.clear()
        packets = list(self._packer.push(codes))
        self.sent.frames += len(codes)
        self.sent.packets += len(packets)
        return packets

    def _hold(self, codes: Codes) -> None:
        """Nobody speaks: keep the frame for a while in case somebody is about to."""
        self.sent.silent_frames += 1
        if len(self._before) == self._before.maxlen:
            self._packer.skip(1)  # the oldest of them, or this one if none is kept
        self._before.append(codes)

    def _end(self, now_s: float) -> list[bytes]:
        if not self.talking:
            return []
        self.talking = False
        self.sent.packets += 1
        return [self._packer.finish(), *self._describe(now_s)]

    def _describe(self, now_s: float) -> list[bytes]:
        levels_db = self._background.levels_db
        if levels_db is None:
            return []
        self._described = levels_db, now_s
        self._as_described_s = now_s
        self.sent.comfort_noises += 1
        seq = self._packer.seq + len(self._before) & 0xFFFF
        return [ComfortNoise(preset_id(self._descriptor.preset), seq, levels_db).pack()]

    def _describe_again(self, now_s: float) -> list[bytes]:
        """Within a silence, where the background has become another."""
        levels_db = self._background.levels_db
        if levels_db is None or self._described is None:
            return []
        described_db, when_s = self._described
        moved_db = max(abs(new - old) for new, old in zip(levels_db, described_db, strict=True))
        if moved_db < CHANGED_DB:
            self._as_described_s = now_s
        settled = now_s - self._as_described_s >= CHANGED_FOR_S and now_s - when_s >= CHANGED_AFTER_S
        return self._describe(now_s) if settled else []
