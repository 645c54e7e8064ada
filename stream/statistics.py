"""What a running conversation tells about itself, in memory of a fixed size however long it runs.

Everything here is written by one thread and may be read by another at any time; a reader can see a count that
is one frame old, never a broken one.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .channel import Channel, ChannelStatistics
from .conceal import ConcealStatistics
from .descriptor import Descriptor
from .frames import Codes, Pcm

RECENT_S = 2.0
"""How much of the newest sound the present bitrate is taken over."""
RECENT = 1024
"""How many of the newest values percentiles are taken over: 41 s of frames of 40 ms."""
SILENCE_DBFS = -120.0
_COUNT_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Percentiles of a duration, in milliseconds; zeros where nothing was measured."""

    n: int
    "Values since the start; the percentiles are over the newest ``RECENT`` of them."
    p50_ms: float
    p95_ms: float
    max_ms: float
    "Largest of all values."


class Latency:
    """Durations of one stage."""

    def __init__(self, recent: int = RECENT) -> None:
        self._newest = array("d", bytes(8 * recent))  # numpy takes longer to set one number
        self._recent = recent
        self._n = 0
        self._max = 0.0
        self._total = 0.0

    def add(self, seconds: float) -> None:
        """Note one duration."""
        self._newest[self._n % self._recent] = seconds
        self._n += 1
        self._total += seconds
        if seconds > self._max:
            self._max = seconds

    @property
    def total_s(self) -> float:
        """Sum of all durations: over the length of the sound, the share of one core that a stage took."""
        return self._total

    def summary(self) -> LatencySummary:
        """The percentiles now."""
        n = self._n
        if n == 0:
            return LatencySummary(0, 0.0, 0.0, 0.0)
        ordered = np.sort(np.frombuffer(self._newest)[:n])
        return LatencySummary(n, 1000 * _quantile(ordered, 0.50), 1000 * _quantile(ordered, 0.95), 1000 * self._max)


def _quantile(ordered: NDArray[np.float64], share: float) -> float:
    """What np.percentile gives, in a fraction of its time: a server asks for many of these every second."""
    below, part = divmod(share * (len(ordered) - 1), 1)
    low, high = float(ordered[int(below)]), float(ordered[min(int(below) + 1, len(ordered) - 1)])
    return low + part * (high - low)


class CodeUsage:
    """How evenly the codes of each book are used."""

    def __init__(self, books: int, book_size: int) -> None:
        self._counted = np.zeros((books, book_size), np.int64)
        self._new: list[Codes] = []  # counted many at a time, which costs little more than one
        self._offsets = np.arange(books) * book_size

    def add(self, codes: Codes) -> None:
        """Count codes [n, books]; absent ones (-1) are skipped."""
        self._new.append(codes)
        if len(self._new) == _COUNT_AT_ONCE:
            self._counted, self._new = self._counts(), []

    def _counts(self) -> NDArray[np.int64]:
        """[books, book_size]"""
        counted, new = self._counted, list(self._new)
        if not new:
            return counted
        codes = np.concatenate(new)
        places = (codes + self._offsets)[codes >= 0]
        return counted + np.bincount(places, minlength=counted.size).reshape(counted.shape)

    def used(self) -> list[float]:
        """For each book, the share of its codes that occurred, 0 ... 1."""
        counts = self._counts()
        return [int(n) / counts.shape[1] for n in np.count_nonzero(counts, axis=1)]

    def perplexity(self) -> list[float]:
        """For each book, exp of the entropy of its codes: 1 ... book_size, or 0 before the first code."""
        counts = self._counts().astype(np.float32)  # of which numpy takes logarithms fastest
        n = counts.sum(axis=1)
        mean_log = np.einsum("bk,bk->b", counts, np.log(np.maximum(counts, 1))) / np.maximum(n, 1)
        return [float(perplexity) for perplexity in n * np.exp(-mean_log)]


class Level:
    """Loudness of the newest blocks of sound, as a meter shows it."""

    def __init__(self, blocks: int = 8) -> None:
        self._blocks: deque[Pcm] = deque(maxlen=blocks)

    def add(self, pcm: Pcm) -> None:
        """Note a block, which must not change afterwards; an empty one is ignored."""
        if len(pcm):
            self._blocks.append(pcm)

    @property
    def rms_dbfs(self) -> float:
        """Root of the mean square over the newest blocks, 0 dBFS = 1.0."""
        pcm = self._newest()
        return _dbfs(math.sqrt(float(np.dot(pcm, pcm)) / max(len(pcm), 1)))

    @property
    def peak_dbfs(self) -> float:
        """Largest magnitude over the newest blocks."""
        return _dbfs(float(np.abs(self._newest()).max(initial=0.0)))

    def _newest(self) -> Pcm:
        """All blocks as one: for short arrays numpy takes as long as for long ones."""
        blocks = list(self._blocks)
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _dbfs(amplitude: float) -> float:
    return max(20 * math.log10(amplitude), SILENCE_DBFS) if amplitude > 0 else SILENCE_DBFS


class Statistics:
    """Everything of one conversation in one place; the pipeline fills it, the instrument reads it."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.stages: dict[str, Latency] = {}
        "By stage in frame order: from the moment the stage before let a frame go until this one did."
        self.age = Latency()
        "From the capture of a frame's last sample until it was handed to the sink."
        self.codes = CodeUsage(descriptor.books, descriptor.book_size)
        self.level_in = Level()
        self.level_out = Level()
        self.counters: Counter[str] = Counter()
        """``packets``, and in them ``packet_bytes``, ``frames_sent`` and ``code_bits`` (no headers, no redundancy);
        ``packets_lost``; clients add their own."""
        self.conceal = ConcealStatistics()
        "Of all generations together."
        self._dropped: Counter[str] = Counter()  # beside those of channels
        self._channels: list[Channel[Any]] = []
        self._newest_bits: deque[float] = deque(maxlen=math.ceil(RECENT_S * descriptor.frame_rate_hz))  # a frame each

    def sent(self, n_bytes: int, n_frames: int, books: int) -> None:
        """Count a packet that goes on its way."""
        self.counters["packets"] += 1
        self.counters["packet_bytes"] += n_bytes
        self.counters["frames_sent"] += n_frames
        self.counters["code_bits"] += n_frames * books * self.descriptor.bits_per_code
        self._newest_bits.extend([8 * n_bytes / max(n_frames, 1)] * n_frames)

    def drop(self, place: str, reason: str, n_frames: int = 1) -> None:
        """Count frames that were thrown away between channels, or after they were taken out of one; 0 leaves no trace."""
        if n_frames:
            self._dropped[f"{place}.{reason}"] += n_frames

    def stage(self, name: str) -> Latency:
        """The latency of the stage ``name``, made at its first mention."""
        latency = self.stages.get(name)
        if latency is None:
            latency = self.stages[name] = Latency()
        return latency

    def watch(self, channel: Channel[Any]) -> None:
        """Show this channel under `channels`."""
        self._channels.append(channel)

    def channels(self) -> list[ChannelStatistics]:
        """The channels' counters now, in frame order."""
        return [channel.statistics() for channel in self._channels]

    @property
    def dropped(self) -> dict[str, int]:
        """Frames lost in and between channels, as ``place.reason``; those of a packet are counted one by one."""
        dropped = self._dropped.copy()
        for channel in self.channels():
            dropped.update({f"{channel.name}.{reason}": n for reason, n in channel.dropped.items()})
        return dict(dropped)

    @property
    def code_bitrate(self) -> float:
        """Mean bit/s of the codes sent so far, wherever the dial stood; 0 before the first."""
        return self._bitrate(self.counters["code_bits"], self.counters["frames_sent"])

    @property
    def wire_bitrate(self) -> float:
        """Mean bit/s of the packets sent so far, their headers included; 0 before the first."""
        return self._bitrate(8 * self.counters["packet_bytes"], self.counters["frames_sent"])

    @property
    def recent_wire_bitrate(self) -> float:
        """Bit/s of the packets that carried the newest ``RECENT_S`` of sound; 0 before the first."""
        newest = list(self._newest_bits)
        return self._bitrate(sum(newest), len(newest))

    def _bitrate(self, bits: float, n_frames: int) -> float:
        return bits / n_frames * self.descriptor.frame_rate_hz if n_frames else 0.0
