"""Figures are right, and take no more memory the longer it runs."""

import math

import numpy as np
import pytest

from sottovoce.stream.channel import Channel
from sottovoce.stream.engine import ECHO
from sottovoce.stream.statistics import RECENT_S, SILENCE_DBFS, CodeUsage, Latency, Level, Statistics


def test_percentiles_are_over_the_newest_and_the_maximum_over_all() -> None:
    latency = Latency(recent=100)
    assert latency.summary().n == 0
    latency.add(9.0)
    for ms in range(1, 1101):
        latency.add(ms / 1000)
    summary = latency.summary()
    assert (summary.n, summary.max_ms) == (1101, 9000)
    assert summary.p50_ms == pytest.approx(1050.5)
    assert summary.p95_ms == pytest.approx(1095.05)
    assert latency.total_s == pytest.approx(9 + 1100 * 1101 / 2000)


def test_usage_and_perplexity_of_each_book() -> None:
    usage = CodeUsage(3, 4)
    assert usage.perplexity() == [0, 0, 0]
    for i in range(400):
        usage.add(np.array([[i % 4, i % 2, -1]], np.int16))
    assert usage.used() == [1, 0.5, 0]
    assert usage.perplexity() == pytest.approx([4, 2, 0])


def test_levels_are_of_the_newest_blocks() -> None:
    level = Level(blocks=2)
    assert (level.rms_dbfs, level.peak_dbfs) == (SILENCE_DBFS, SILENCE_DBFS)
    level.add(np.ones(10, np.float32))
    assert (level.rms_dbfs, level.peak_dbfs) == (0, 0)
    for _ in range(2):
        level.add(np.full(10, 0.1, np.float32))
        level.add(np.zeros(0, np.float32))
    assert level.rms_dbfs == pytest.approx(-20, abs=1e-3)
    assert level.peak_dbfs == pytest.approx(-20, abs=1e-3)
    level.add(np.zeros(10, np.float32))
    level.add(np.zeros(10, np.float32))
    assert level.peak_dbfs == SILENCE_DBFS


def test_drops_are_named_after_their_channel() -> None:
    statistics = Statistics(ECHO)
    channel: Channel[int] = Channel(1, name="captured")
    statistics.watch(channel)
    channel.drop("stale", 2)
    channel.drop("lost", 0)
    assert statistics.dropped == {"captured.stale": 2}
    another: Channel[int] = Channel(1, name="captured")
    statistics.watch(another)
    another.drop("stale", 3)
    assert statistics.dropped == {"captured.stale": 5}
    assert statistics.stage("mel") is statistics.stage("mel")


def test_the_bitrate_on_the_wire_counts_headers() -> None:
    statistics = Statistics(ECHO)
    assert statistics.wire_bitrate == 0
    statistics.sent(n_bytes=30, n_frames=2, books=8)
    statistics.sent(n_bytes=5, n_frames=0, books=8)
    statistics.sent(n_bytes=10, n_frames=1, books=2)
    assert statistics.wire_bitrate == pytest.approx(45 / 3 * 8 * ECHO.frame_rate_hz)
    assert statistics.code_bitrate == pytest.approx((ECHO.bitrate(8) * 2 + ECHO.bitrate(2)) / 3)
    assert statistics.counters == {"packets": 3, "packet_bytes": 45, "frames_sent": 3, "code_bits": 180}


def test_the_present_bitrate_follows_the_dial() -> None:
    statistics = Statistics(ECHO)
    assert statistics.recent_wire_bitrate == statistics.code_bitrate == 0
    n_frames = math.ceil(RECENT_S * ECHO.frame_rate_hz)
    for _ in range(10 * n_frames):
        statistics.sent(n_bytes=15, n_frames=1, books=8)
    assert statistics.recent_wire_bitrate == pytest.approx(15 * 8 * ECHO.frame_rate_hz)
    for _ in range(n_frames):
        statistics.sent(n_bytes=7, n_frames=1, books=1)
    assert statistics.recent_wire_bitrate == pytest.approx(7 * 8 * ECHO.frame_rate_hz)
    assert statistics.wire_bitrate > 14 * 8 * ECHO.frame_rate_hz
