"""One remote talker's payloads to a steady run of frames for the speaker. Sans I/O: bytes and the time in, frames out.

What the runtime does with it, for every remote talker:

    receiver = RoomReceiver(their_descriptor)
    receiver.push(payload, now_s)              # whatever came on topic a, opened if it was sealed; never raises
    frame = receiver.pull(now_s)               # once for every frame that the speaker is about to need
    if frame.kind == "codes":                  # else pcm = None: no engine is asked
        mel = decode(frame.codes, fresh=frame.discontinuity), faded by frame.attenuation_db as stages.fade does
        pcm = vocode(mel, fresh=frame.discontinuity)
    correction.ppm = receiver.playout_ppm
    fifo.push(correction.process(comfort.under(pcm, frame)))

The sender's numbers are media time: they run on through pauses in which nothing is sent. What comes far off the
timeline is kept out, unless a second packet agrees with it: then the sender began anew, or the route is another. A
sender that leaves no numbers out in pauses is understood in this way, a little worse. When frames are played is told
in ``timeline.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import comfort_noise
from .comfort_noise import ComfortNoise
from .conceal import MAX_GAP_FRAMES
from .descriptor import Descriptor
from .errors import PacketError
from .jitter import MOST_AHEAD, JitterBuffer
from .packet import VERSION, CodePacket, preset_id, unpack
from .peer_drift import PeerDrift
from .play_frame import PlayFrame
from .playout_delay import PlayoutDelay
from .receiver_statistics import ReceiverReport, ReceiverStatistics
from .timeline import Timeline

EARLY_S = 1.0
"""What comes earlier than that, beside the quickest so far, is not of the same timeline."""
REFERENCE_RISE = 0.003
"""The quickest transit is forgotten by so many seconds a second: what is slow for minutes is the way it is."""
_REPORT_MOST_S = 60.0
_DOUBT_S = 10.0
"""So long a packet off the timeline waits for another one that agrees."""


@dataclass(frozen=True, slots=True)
class _Stray:
    """A packet that is off the timeline, until another one tells whether the timeline is wrong."""

    packet: CodePacket
    index: int
    transit_s: float
    came_s: float


class RoomReceiver:
    """The jitter buffer, the repair and the concealment of one remote talker.

    Attributes:
        statistics: the counts; current whenever read.
    """

    def __init__(self, descriptor: Descriptor, initial_delay_ms: float = 60.0, max_delay_ms: float = 1000.0) -> None:
        """
        Args:
            descriptor: of the sender, whose codes the engine can decode.
            initial_delay_ms: how long the first packet waits, while nothing is known of the network.
            max_delay_ms: most lateness that is waited for, beside the packets' own length; `Profile.patience_ms`.

        Raises:
            PacketError: code packets have no number for the preset.
            ValueError: a delay is negative.
        """
        if initial_delay_ms < 0 or max_delay_ms < 0:
            raise ValueError(f"delays must not be negative, not {initial_delay_ms} and {max_delay_ms}")
        self._descriptor = descriptor
        self._preset = preset_id(descriptor.preset)
        self._frame_s = descriptor.frame_ms / 1000
        self._most_s = max_delay_ms / 1000
        self.statistics = ReceiverStatistics()
        self._buffer = JitterBuffer(descriptor.books)
        self._delay = PlayoutDelay(initial_delay_ms / 1000, self._most_s)
        self._timeline = Timeline(descriptor, self._buffer, self._delay, self.statistics)
        self._drift = PeerDrift()
        self._stray: _Stray | None = None
        self._reference_s: tuple[float, float] | None = None  # the quickest transit, and when it was known
        self._lags_s = (0, 0.0)  # of the packets since the last report: how many, sum
        self._reported = (0, 0, 0, 0)

    # ---- in ----------------------------------------------------------------------------------------------------

    def push(self, payload: bytes, now_s: float) -> None:
        """Take a payload of topic a, opened. Never raises for what a peer sent: what is of no use is counted by reason."""
        version = payload[0] >> 4 if payload else None
        try:
            if version == VERSION:
                self._take(unpack(payload, self._descriptor.bits_per_code), now_s)
            elif version == comfort_noise.VERSION:
                self._describe(comfort_noise.unpack(payload), now_s)
            else:
                self.statistics.refused["malformed" if version is None else "unknown"] += 1
        except PacketError:
            self.statistics.refused["malformed"] += 1

    def restart(self) -> None:
        """The sender has begun anew, as its descriptor came again: forgets the timeline, keeps the counts."""
        self._give_up_stray()
        self._drop("restart", self._buffer.clear())
        self._delay.restart()
        self._drift.restart()
        self._timeline.restart()
        self._reference_s = None
        self._count_waiting()

    def _take(self, packet: CodePacket, now_s: float) -> None:
        n, books = packet.codes.shape
        if packet.preset_id != self._preset or books > self._descriptor.books:
            self.statistics.refused["foreign"] += 1
            return
        if max(packet.codes.max(initial=0), packet.redundant.max(initial=0)) >= self._descriptor.book_size:
            raise PacketError("a code is not in its book")
        self.statistics.packets += 1
        self.statistics.received += n
        index = self._unwrapped(packet.seq)
        if n and self._buffer.holds(index, packet.codes):
            self._drop("duplicate", n)
            return
        transit_s = now_s - (index + n) * self._frame_s
        base_s = self._delay.base_s
        if n and (base_s is None or transit_s >= base_s - EARLY_S):
            self._note_lag(transit_s, now_s)
        if self._on_time(transit_s):
            self._give_up_stray()
            self._place(packet, index, now_s)
        else:
            self._delay.pass_by(transit_s)
            self._doubt(_Stray(packet, index, transit_s, now_s))
        self._count_waiting()

    def _unwrapped(self, seq: int) -> int:
        """The index that a number of 16 bits means: the one nearest to what is played now."""
        near = self._timeline.next
        return seq if near is None else near + ((seq - near + 0x8000) & 0xFFFF) - 0x8000

    def _on_time(self, transit_s: float) -> bool:
        """Whether a packet is of the timeline, early or late as it may be."""
        base_s = self._delay.base_s
        return base_s is None or -EARLY_S <= transit_s - base_s <= self._most_s

    def _doubt(self, stray: _Stray) -> None:
        """Off the timeline: is the packet wrong, or the timeline?"""
        before, packet = self._stray, stray.packet
        if before is not None:
            ahead = (packet.seq - before.packet.seq) & 0xFFFF
            if packet == before.packet:
                self._drop("duplicate", len(packet.codes))
                return
            n = max(len(packet.codes), 1)  # the word that a talk is over comes a frame after it
            later_s = stray.came_s - (before.index + ahead + n) * self._frame_s - before.transit_s
            if 0 < ahead <= MAX_GAP_FRAMES and -self._frame_s / 2 <= later_s <= self._most_s:
                reference_s, self._stray = self._reference_s, None
                self.restart()  # what was behind a stall would come ever less late
                self._reference_s = reference_s
                self.statistics.restarts += 1
                self._place(before.packet, before.index, before.came_s)
                self._place(packet, before.index + ahead, stray.came_s)
                return
        self._give_up_stray()
        if len(packet.codes):
            self._stray = stray

    def _give_up_stray(self) -> None:
        if self._stray is not None:
            self._drop("stale", len(self._stray.packet.codes))
            self._buffer.pass_over(self._stray.index, self._stray.packet.codes)
            self._stray = None

    def _place(self, packet: CodePacket, index: int, now_s: float) -> None:
        """Puts the frames of a packet of the timeline where they belong."""
        n, reach = len(packet.codes), min(len(packet.redundant), MAX_GAP_FRAMES)
        timeline = self._timeline
        if n:
            begins = timeline.next is None
            floor = index - reach if begins else timeline.floor
            lost = self._buffer.missing(index - 1, reach, floor)
            first = lost[-1] if lost else index
            end_s = (index + n) * self._frame_s
            self._delay.add(now_s - end_s, n * self._frame_s, (index - first) * self._frame_s, now_s)
            self._drift.add(end_s, now_s)
            if begins:
                timeline.begin(first, now_s)
            next_place = timeline.step_back(first)
            for i in lost:
                if next_place <= i < next_place + MOST_AHEAD:
                    self._buffer.repair(i, int(packet.redundant[index - 1 - i]))
            for reason, frames in self._buffer.put(index, packet.codes, next_place)._asdict().items():
                self._drop(reason, frames)
        if packet.end_of_talk and timeline.next is not None:
            timeline.note_end(index + n)

    def _describe(self, noise: ComfortNoise, now_s: float) -> None:
        if noise.preset_id != self._preset:
            self.statistics.refused["foreign"] += 1
            return
        self.statistics.comfort_noises += 1
        self._timeline.background = noise
        index = self._unwrapped(noise.seq)
        if self.speaking and self._on_time(now_s - index * self._frame_s):
            self._timeline.note_end(index)

    # ---- out ---------------------------------------------------------------------------------------------------

    def pull(self, now_s: float) -> PlayFrame:
        """What to play next. Call it once for every frame played; always answers."""
        frame = self._timeline.pull(now_s)
        if self._stray is not None and now_s - self._stray.came_s > _DOUBT_S:
            self._give_up_stray()
        self._count_waiting()
        return frame

    # ---- what is told of it ------------------------------------------------------------------------------------

    @property
    def background(self) -> ComfortNoise | None:
        """The newest description, None before the first."""
        return self._timeline.background

    @property
    def speaking(self) -> bool:
        """Whether frames of a talk are waiting or being played: the row of an engine is needed."""
        return self._timeline.talking or self._buffer.first is not None

    @property
    def delay_ms(self) -> float:
        """How much later than the end of the quickest packet came its sound is played; 0 before the first packet."""
        base_s = self._delay.base_s
        return 0.0 if base_s is None else 1000 * (self._timeline.offset_s - base_s)

    @property
    def target_ms(self) -> float:
        """What `delay_ms` aims at."""
        base_s = self._delay.base_s
        return 0.0 if base_s is None else 1000 * (self._delay.target_s - base_s)

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the sender's clock is than ours; None as long as it is not known well enough."""
        return self._drift.ppm

    @property
    def playout_ppm(self) -> float:
        """How much faster than our clock to play, for `DriftCorrection.ppm`: the drift, and to put the delay right."""
        return (self._drift.ppm or 0.0) + self._timeline.trim_ppm

    def report(self) -> ReceiverReport:
        """For `room_messages.Report`; call it every two seconds."""
        counts = self.statistics
        totals = (counts.played, counts.repaired, counts.missing, counts.dropped["stale"])
        played, repaired, missing, stale = (max(b - a, 0) for a, b in zip(self._reported, totals, strict=True))
        self._reported = totals
        lost, expected = repaired + missing, played + repaired + missing
        if not expected:
            lost = expected = stale
        n, lag_s = self._lags_s
        self._lags_s = (0, 0.0)
        return ReceiverReport(
            loss_share=lost / expected if expected else 0.0,
            lag_ms=1000 * lag_s / n if n else 0.0,
            jitter_ms=1000 * self._delay.jitter_s,
        )

    def _note_lag(self, transit_s: float, now_s: float) -> None:
        """Against the quickest packet of all timelines: a queue that stays full is no other route."""
        if self._reference_s is None:
            self._reference_s = transit_s, now_s
        known_s, at_s = self._reference_s
        known_s += REFERENCE_RISE * (now_s - at_s)
        if not 0 <= transit_s - known_s <= _REPORT_MOST_S:
            known_s = transit_s
        self._reference_s = known_s, now_s
        n, sum_s = self._lags_s
        self._lags_s = n + 1, sum_s + transit_s - known_s

    def _drop(self, reason: str, frames: int) -> None:
        if frames:
            self.statistics.dropped[reason] += frames

    def _count_waiting(self) -> None:
        self.statistics.waiting = self._buffer.waiting + (len(self._stray.packet.codes) if self._stray else 0)
