"""The ring and the card's side of microphone and speaker."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.clients.ring import Ring
from sottovoce.clients.soundcard import Capture, Playback, Timeline


@given(st.integers(1, 20), st.lists(st.tuples(st.booleans(), st.integers(0, 25)), max_size=40))
def test_a_ring_is_a_queue_of_bounded_length(capacity: int, moves: list[tuple[bool, int]]) -> None:
    ring, model, count = Ring(capacity), list[float](), 0.0
    for writing, n in moves:
        if writing:
            block = np.arange(count, count + n, dtype=np.float32)
            taken = ring.write(block)
            assert taken == min(n, capacity - len(model))
            model += block[:taken].tolist()
            count += n
        else:
            out = np.full(n, -1, np.float32)
            got = ring.read_into(out)
            assert out[:got].tolist() == model[:got]
            assert got == min(n, len(model))
            assert (out[got:] == -1).all()
            del model[:got]
        assert ring.n_waiting == len(model)
    assert ring.read().tolist() == model


def test_two_threads_lose_and_double_nothing() -> None:
    ring, n = Ring(64), 20_000

    def write() -> None:
        block, at = np.arange(n, dtype=np.float32), 0
        while at < n:
            at += ring.write(block[at : at + 37])

    writer = threading.Thread(target=write)
    writer.start()
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < n:
        parts.append(ring.read())
    writer.join()
    assert (np.concatenate(parts) == np.arange(n)).all()


def test_the_timeline_is_steady_when_blocks_jitter() -> None:
    line = Timeline(1000)
    assert line.origin_s is None
    noise = np.random.default_rng(0).normal(0, 0.005, 200)
    for i in range(200):
        line.add(10 * i, 5.0 + i * 0.01 + noise[i] + (1.0 if i < 20 else 0))
    assert line.origin_s == pytest.approx(5.0, abs=0.002)


def test_a_full_ring_counts_an_overflow_and_keeps_the_oldest() -> None:
    capture = Capture(100)
    capture.take(np.full((capture.ring.capacity, 1), 1, np.float32), 0.0, False, False)
    capture.take(np.full((5, 1), 2, np.float32), 2.0, False, False)
    assert capture.overflows == 1
    assert (capture.ring.read() == 1).all()


def test_silence_before_the_microphone_runs_is_not_captured_nor_counted() -> None:
    capture = Capture(100)
    capture.take(np.zeros((5, 1), np.float32), 0.0, False, True)
    assert (capture.ring.n_waiting, capture.underflows) == (0, 0)
    capture.take(np.ones((5, 1), np.float32), 0.0, True, False)
    assert (capture.ring.n_waiting, capture.overflows) == (5, 0)
    capture.take(np.zeros((5, 1), np.float32), 0.0, True, True)
    assert (capture.ring.n_waiting, capture.underflows, capture.overflows) == (10, 1, 1)


def test_a_dry_speaker_plays_silence_and_counts_each_gap_once() -> None:
    playback, out = Playback(100), np.full((10, 2), 9, np.float32)
    playback.give(out, 0.0, False)
    assert not out.any()
    assert playback.underflows == 0  # nothing had begun
    playback.ring.write(np.ones(15, np.float32))
    for gaps in (0, 1, 1):
        playback.give(out, 0.0, False)
        assert playback.underflows == gaps
    playback.ring.write(np.ones(15, np.float32))
    playback.give(out, 0.0, False)
    assert (out == 1).all()  # on every channel
    playback.ending = True
    playback.give(out, 0.0, False)
    assert playback.underflows == 1


def test_what_piles_up_is_skipped_and_counted() -> None:
    playback, out = Playback(100), np.zeros((10, 1), np.float32)
    playback.most_waiting = 20
    playback.ring.write(np.arange(50, dtype=np.float32))
    playback.give(out, 0.0, False)
    assert out[0, 0] == 30
    assert playback.n_skipped == 30
