"""A call in a room over a wire that loses packets for good: the room's own sender and receiver, in simulated time.

What is lost here stays lost, as on the air or over UDP. TCP repeats it instead, and it comes late: see ``room_scene.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sottovoce.models.codec import Codec
from sottovoce.models.streaming import whole
from sottovoce.stream.comfort_sound import ComfortSound
from sottovoce.stream.conceal import SILENT_DB
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.play_frame import PlayFrame
from sottovoce.stream.profiles import Profile
from sottovoce.stream.receiver_statistics import ReceiverStatistics
from sottovoce.stream.room_receiver import RoomReceiver
from sottovoce.stream.room_sender import RoomSender
from sottovoce.stream.stages import fade
from sottovoce.stream.voice_activity import VoiceActivity

from .link import Conditions, Wire
from .recordings import Pcm


@dataclass(frozen=True, slots=True)
class Heard:
    """What a listener's speaker played, from the moment that the talk began."""

    pcm: Pcm
    statistics: ReceiverStatistics
    payload_bits_per_s: float
    "Over the whole talk, pauses too."


class _Known:
    """A detector whose answers are known: they are the same for every call."""

    def __init__(self, voices: list[bool]) -> None:
        self._voices = iter(voices)

    def push(self, frame: Pcm) -> bool:
        return next(self._voices)


class SimulatedRoom:
    """Calls through one codec; a talk is encoded once for all of them."""

    def __init__(self, codec: Codec, descriptor: Descriptor, pcm: Pcm) -> None:
        """``pcm`` [T] at the codec's rate."""
        self._codec = codec
        self._descriptor = descriptor
        n = len(pcm) // descriptor.frame_samples
        self._pcm = pcm[: n * descriptor.frame_samples].reshape(n, -1)
        with torch.no_grad():
            mel = whole(codec.mel, torch.from_numpy(self._pcm.reshape(1, -1)))
            self._codes: NDArray[np.int16] = whole(codec.encoder, mel)[0].numpy().astype(np.int16)
        activity = VoiceActivity(descriptor.rate_hz)
        self._voices = [activity.push(frame) for frame in self._pcm]

    def call(self, profile: Profile, conditions: Conditions, conceal: bool = True, seed: int = 0) -> Heard:
        """One call.

        Args:
            profile: of the sender, who does not adapt: no report comes back.
            conditions: of the wire.
            conceal: False: what is missing is silence.
            seed: of losses and jitter.
        """
        wire = Wire(conditions, seed)
        receiver = RoomReceiver(self._descriptor, max_delay_ms=profile.patience_ms)
        frames = list(self._played(profile, wire, receiver))
        seconds = len(self._pcm) * self._descriptor.frame_ms / 1000
        pcm = self._sound(frames, conceal)
        return Heard(pcm, receiver.statistics, 8 * wire.counts["bytes"] / seconds)

    def _played(self, profile: Profile, wire: Wire, receiver: RoomReceiver) -> Iterator[PlayFrame]:
        """One frame for every frame time, on the listener's clock, until all that was said could be heard."""
        frame_s = self._descriptor.frame_ms / 1000
        sender = RoomSender(self._descriptor, profile, _Known(self._voices))
        after = round(profile.patience_ms / 1000 / frame_s) + profile.frames_per_packet + 25
        for i in range(len(self._pcm) + after):
            now_s = (i + 1) * frame_s
            if i < len(self._pcm):
                payloads = sender.push(self._codes[i : i + 1], self._pcm[i], now_s)
            else:
                payloads = sender.finish(now_s)
            for payload in payloads:
                wire.push(payload, now_s)
            now_s += frame_s / 2  # the listener's frames lie between
            while wire.next_s is not None and wire.next_s <= now_s:
                arrived_s = wire.next_s
                for payload in wire.pop(arrived_s):
                    receiver.push(payload, arrived_s)
            yield receiver.pull(now_s)

    def _sound(self, frames: list[PlayFrame], conceal: bool) -> Pcm:
        comfort = ComfortSound(self._descriptor)
        sound: list[Pcm] = []
        run: list[PlayFrame] = []

        def end_run() -> None:
            for frame, pcm in zip(run, self._decoded(run, conceal), strict=True):
                sound.append(comfort.under(pcm, frame))
            run.clear()

        for frame in frames:
            if run and (frame.kind == "silence" or frame.discontinuity):
                end_run()
            if frame.kind == "silence":
                sound.append(comfort.under(None, frame))
            else:
                run.append(frame)
        if run:
            end_run()
        return np.concatenate(sound)

    @torch.no_grad()
    def _decoded(self, run: list[PlayFrame], conceal: bool) -> list[Pcm]:
        """Frames that follow each other, through fresh models."""
        codes = torch.from_numpy(np.stack([frame.codes for frame in run]).astype(np.int64))
        mel = whole(self._codec.decoder, codes[None])
        steps = np.split(mel[0].numpy().T, len(run))  # each [mels_per_frame, M]
        faded_db = 0.0
        for i, frame in enumerate(run):
            attenuation_db = frame.attenuation_db if conceal or not frame.concealed else SILENT_DB
            if attenuation_db > 0:
                steps[i] = fade(steps[i], faded_db, attenuation_db)
            faded_db = attenuation_db
        pcm = whole(self._codec.vocoder, torch.from_numpy(np.concatenate(steps).T.copy())[None])[0].numpy()
        return np.split(pcm, len(run))
