"""Clocks that run apart: estimated from packets, corrected by resampling, over ten minutes."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from sottovoce.stream.peer_drift import SPAN_S, DriftCorrection, PeerDrift
from support.simulated_room import FRAME_S, call, heard, talk

RATE_HZ = 24_000
PACKET_S = 0.24
JITTERS: dict[str, Callable[[random.Random], float]] = {
    "none": lambda rng: 0.0,
    "queues": lambda rng: rng.expovariate(1 / 0.03),
    "normal": lambda rng: max(0.0, rng.gauss(0.1, 0.02)),
    "bursts": lambda rng: 0.01 * rng.paretovariate(1.5),
}


def minutes(drift: PeerDrift, ppm: float, seconds: float, jitter: Callable[[], float], from_s: float = 0.0) -> float:
    """Packets of a peer whose clock is so fast; returns when the last one comes."""
    came_s = 0.0
    for i in range(int(from_s / PACKET_S) + 1, int((from_s + seconds) / PACKET_S) + 1):
        media_s = i * PACKET_S
        came_s = media_s / (1 + 1e-6 * ppm) + 0.05 + jitter()
        drift.add(media_s, came_s)
    return came_s


@pytest.mark.parametrize("ppm", [-200.0, -40.0, 0.0, 200.0])
@pytest.mark.parametrize("kind", JITTERS)
def test_the_estimate_is_right_within_ten_minutes(kind: str, ppm: float) -> None:
    rng = random.Random(int(ppm))
    drift = PeerDrift()
    minutes(drift, ppm, 600, lambda: JITTERS[kind](rng))
    assert drift.ppm == pytest.approx(ppm, abs=12)


def test_too_little_is_known_at_first() -> None:
    drift = PeerDrift()
    assert drift.ppm is None
    minutes(drift, 100, 5 * SPAN_S, lambda: 0.0)
    assert drift.ppm is None


def test_a_new_route_and_a_new_start_are_no_drift() -> None:
    drift = PeerDrift()
    rng = random.Random(5)
    minutes(drift, 80, 200, lambda: rng.expovariate(100))
    minutes(drift, 80, 200, lambda: 0.3 + rng.expovariate(100), 200)
    assert drift.ppm == pytest.approx(80, abs=10)
    drift.restart()
    minutes(drift, 80, 200, lambda: 900 + rng.expovariate(100), 400)
    assert drift.ppm == pytest.approx(80, abs=10)


def test_a_queue_that_fills_is_no_drift() -> None:
    drift = PeerDrift()
    minutes(drift, -3000, 400, lambda: 0.0)
    assert drift.ppm is None


def test_a_minute_of_congestion_does_not_turn_the_estimate() -> None:
    drift = PeerDrift()
    rng = random.Random(6)
    minutes(drift, -120, 240, lambda: rng.expovariate(100))
    minutes(drift, -120, 60, lambda: 0.2 + rng.expovariate(5), 240)
    minutes(drift, -120, 240, lambda: rng.expovariate(100), 300)
    assert drift.ppm == pytest.approx(-120, abs=12)


# ---- the correction ----------------------------------------------------------------------------------------


def corrected(correction: DriftCorrection, pcm: np.ndarray, ppm: Callable[[int], float]) -> np.ndarray:
    out = []
    for i in range(0, len(pcm), 960):
        correction.ppm = ppm(i // 960)
        out.append(correction.process(pcm[i : i + 960]))
    assert all(block.dtype == np.float32 for block in out)
    return np.concatenate(out)


def sine(hz: float, seconds: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


@pytest.mark.parametrize("ppm", [-200.0, 0.0, 200.0, 5000.0])
def test_sound_is_as_much_shorter_as_the_clock_is_fast(ppm: float) -> None:
    out = corrected(DriftCorrection(RATE_HZ), np.zeros(RATE_HZ * 60, np.float32), lambda _: ppm)
    delayed = 240  # samples, what the filter holds back
    assert len(out) == pytest.approx(60 * RATE_HZ / (1 + 1e-6 * ppm) - delayed, abs=15)


@pytest.mark.parametrize("hz", [200.0, 3000.0, 9000.0])
def test_a_tone_comes_through_clean_and_at_its_new_pitch(hz: float) -> None:
    ppm = 150.0
    out = corrected(DriftCorrection(RATE_HZ), sine(hz, 4), lambda _: ppm)[4000:-4000].astype(np.float64)
    angle = 2 * np.pi * hz * (1 + 1e-6 * ppm) / RATE_HZ * np.arange(len(out))
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    (sin, cos), *_ = np.linalg.lstsq(basis, out, rcond=None)
    assert np.hypot(sin, cos) == pytest.approx(0.5, rel=0.001)
    rest = out - basis @ (sin, cos)
    assert 20 * np.log10(np.hypot(sin, cos) / np.sqrt(2) / rest.std()) > 80


def test_turning_the_rate_makes_no_click() -> None:
    """The second difference of a sine is a sine: a step or a kink would stand out of it."""
    hz = 500.0
    out = corrected(DriftCorrection(RATE_HZ), sine(hz, 4), lambda i: (-5000.0, 5000.0, 0.0, 137.0)[i % 4])
    bend = np.abs(np.diff(out[2000:-2000].astype(np.float64), 2)).max()
    assert bend < 1.02 * 0.5 * (2 * np.pi * hz / RATE_HZ) ** 2


def test_the_correction_stops_at_its_ends() -> None:
    correction = DriftCorrection(RATE_HZ)
    correction.ppm = 1e6
    assert correction.ppm == DriftCorrection.MOST_PPM
    correction.ppm = -1e6
    assert correction.ppm == -DriftCorrection.MOST_PPM
    with pytest.raises(ValueError):
        DriftCorrection(0)


# ---- a call ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_ten_minutes_of_a_call_lose_nothing_to_drift(ppm: float) -> None:
    rng = random.Random(1)
    talks = [(first, first + 250) for first in range(0, 15_000, 300)]  # ten seconds, and two of silence
    receiver, played = call(talk(talks, redundancy=0, ppm=ppm), lambda s: [s + 0.05 + rng.uniform(0, 0.03)], 602)
    assert receiver.drift_ppm == pytest.approx(ppm, abs=10)
    n = receiver.statistics
    assert len(heard(played)) > 0.999 * 250 * len(talks)
    assert n.concealed + n.dropped.total() <= 10
    delays = [p.delay_ms for p in played if p.index is not None]
    assert max(delays[-2500:]) - min(delays[-2500:]) < 2000 * FRAME_S  # two frames, talks' beginnings included


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_without_a_resampler_drift_costs_single_frames(ppm: float) -> None:
    """In a talk without pauses, as those would make up for it; the delay stays where it is."""
    receiver, played = call(talk([(0, 7500)], redundancy=0, ppm=ppm), lambda s: [s + 0.05], 302, correct=False)
    n = receiver.statistics
    drifted = 300 * 200e-6 / FRAME_S
    assert n.concealed + n.dropped.total() <= drifted + 4
    delays = [p.delay_ms for p in played if p.index is not None]
    assert max(delays) - min(delays) < 5000 * FRAME_S
