"""A talker, a network with every vice, and a listener, in simulated time: minutes of a call in a second."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.stream.comfort_noise import BANDS, ComfortNoise
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.packer import Dial, Packer
from sottovoce.stream.packet import unpack
from sottovoce.stream.play_frame import PlayFrame
from sottovoce.stream.room_receiver import RoomReceiver

BOOKS = 3
FRAME_S = 0.04
D = Descriptor("base", "0123456789ab", 24_000, 960, 4, 128, BOOKS, 1024, 0)
LEVELS_DB = (-60.0,) * BANDS

Sent = tuple[float, bytes]
"""When a payload is sent, and the payload."""
Network = Callable[[float], Iterable[float]]
"""From when a packet is sent to when it comes: never, once, or twice."""


def codes(index: int) -> np.ndarray:
    """[BOOKS] int16 codes that tell which frame they are."""
    return np.array([index & 1023, index >> 10 & 1023, 7], np.int16)


@dataclass(frozen=True)
class Played:
    """What a pull gave."""

    at_s: float
    frame: PlayFrame
    index: int | None
    "Which frame of the talker it is, for one that came whole."
    delay_ms: float
    "Of the receiver, as it says."

    @property
    def age_s(self) -> float:
        """From the end of the frame's sound at the talker's to its beginning at the listener's, both clocks being right."""
        assert self.index is not None
        return self.at_s - (self.index + 1) * FRAME_S


def talk(
    talks: Sequence[tuple[int, int]],
    frames_per_packet: int = 6,
    redundancy: int = 1,
    ppm: float = 0.0,
    numbers_in_pauses: bool = True,
    first_number: int = 0,
    pre_roll: int = 0,
    comfort: bool = True,
) -> list[Sent]:
    """What a talker sends who speaks from frame to frame, as `RoomSender` would.

    Args:
        talks: (first frame, end), rising.
        frames_per_packet: in a packet.
        redundancy: packets that each one reaches back.
        ppm: how fast the talker's clock is.
        numbers_in_pauses: as our sender does; without, as others might.
        first_number: of frame 0.
        pre_roll: frames at the beginning of each talk that are sent together with the frame after them.
        comfort: whether a talk is followed by its background.
    """
    packer = Packer(D, Dial(BOOKS), frames_per_packet, redundancy)
    packer.skip(first_number)
    sent: list[Sent] = []
    at = 0
    for first, end in talks:
        if numbers_in_pauses:
            packer.skip(first - at)
        for i in range(first, end):
            done_s = (max(i, min(first + pre_roll, end - 1)) + 1) * FRAME_S / (1 + 1e-6 * ppm)
            sent += [(done_s, packed) for packed in packer.push(codes(i)[None])]
        end_s = (end + 1) * FRAME_S / (1 + 1e-6 * ppm)
        sent.append((end_s, packer.finish()))
        if comfort:
            sent.append((end_s, ComfortNoise(0, packer.seq, LEVELS_DB).pack()))
        at = end
    return sent


def call(
    sent: Iterable[Sent],
    network: Network,
    seconds: float,
    receiver: RoomReceiver | None = None,
    correct: bool = True,
    phase_s: float = 0.013,
    awake: Callable[[float], bool] = lambda _: True,
) -> tuple[RoomReceiver, list[Played]]:
    """Everything through the network, and what the listener's speaker would have played.

    Args:
        sent: from `talk`, or several of them.
        network: decides for each payload.
        seconds: how long the listener listens.
        receiver: one that has heard something before.
        correct: whether the listener heeds `RoomReceiver.playout_ppm`.
        phase_s: of its first pull.
        awake: whether the listener pulls at a time.
    """
    receiver = receiver or RoomReceiver(D)
    order = itertools.count()
    coming = [(come_s, next(order), payload) for sent_s, payload in sent for come_s in network(sent_s)]
    heapq.heapify(coming)
    played: list[Played] = []
    now_s = phase_s
    while now_s < seconds:
        while coming and coming[0][0] <= now_s:
            come_s, _, payload = heapq.heappop(coming)
            receiver.push(payload, come_s)
            check_counts(receiver)
        if awake(now_s):
            frame = receiver.pull(now_s)
            check_counts(receiver)
            whole = frame.kind == "codes" and not frame.concealed and not frame.repaired
            index = int(frame.codes[0]) + 1024 * int(frame.codes[1]) if whole else None
            played.append(Played(now_s, frame, index, receiver.delay_ms))
        now_s += FRAME_S / (1 + 1e-6 * (receiver.playout_ppm if correct else 0.0))
    return receiver, played


def check_counts(receiver: RoomReceiver) -> None:
    """What always holds."""
    n = receiver.statistics
    assert n.received == n.played + n.waiting + n.dropped.total()
    assert n.pulls == n.played + n.repaired + n.concealed + n.silent
    assert min(n.waiting, n.missing, n.inserted, *n.dropped.values(), 0) >= 0


def heard(played: Sequence[Played]) -> list[int]:
    """The frames that were played whole, in order."""
    return [p.index for p in played if p.index is not None]


def lost_frames(sent: Sequence[Sent], lost: Sequence[bool]) -> int:
    """Frames in the packets that are lost."""
    return sum(len(unpack(p, 10).codes) for (_, p), gone in zip(sent, lost, strict=True) if gone and p[0] >> 4 == 0)
