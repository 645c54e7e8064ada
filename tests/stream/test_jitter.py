"""The places of frames against a plain dictionary, and how long sound waits."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.stream.jitter import MOST_AHEAD, PLACES, JitterBuffer, Verdict
from sottovoce.stream.playout_delay import FALL, LEAST_PACKETS, REPAIR_WINDOW_S, WINDOW_S, PlayoutDelay

BOOKS = 2
PACKET_S = 0.24


def frames(*values: int) -> np.ndarray:
    """[n, BOOKS] uint16."""
    return np.array([[value & 1023, 5] for value in values], np.uint16).reshape(-1, BOOKS)


# ---- the buffer --------------------------------------------------------------------------------------------


def test_frames_come_out_as_they_went_in() -> None:
    buffer = JitterBuffer(3)
    assert buffer.put(-2, frames(10, 11, 12), -2) == Verdict(0, 0, 0)
    assert buffer.waiting == 3
    assert list(buffer.take(-2)) == [10, 5, -1]
    assert list(buffer.take(-1)) == [11, 5, -1]
    assert (buffer.waiting, buffer.first) == (1, 0)
    assert list(buffer.take(0)) == [12, 5, -1]
    assert (buffer.waiting, buffer.first) == (0, None)


def test_a_repair_gives_way_to_the_frame_itself() -> None:
    buffer = JitterBuffer(BOOKS)
    buffer.put(5, frames(5), 0)
    assert buffer.missing(4, 3, 0) == [4, 3, 2]
    assert buffer.missing(4, 9, 3) == [4, 3]
    buffer.repair(4, 77)
    assert buffer.missing(4, 3, 0) == [3, 2]
    assert buffer.is_filled(4)
    assert not buffer.is_whole(4)
    assert buffer.waiting == 1
    assert buffer.put(4, frames(78), 4) == Verdict(0, 0, 0)
    assert buffer.is_whole(4)
    assert list(buffer.take(4)) == [78, 5]
    assert buffer.put(4, frames(78), 5) == Verdict(1, 0, 0)


def test_what_was_played_repaired_comes_late() -> None:
    buffer = JitterBuffer(BOOKS)
    buffer.repair(4, 77)
    assert list(buffer.take(4)) == [77, -1]
    assert buffer.put(4, frames(78), 5) == Verdict(0, 1, 0)
    assert buffer.put(4, frames(78), 5) == Verdict(1, 0, 0)
    assert buffer.missing(4, 1, 0) == []


def test_only_the_same_codes_of_the_same_frames_came_twice() -> None:
    buffer = JitterBuffer(3)
    buffer.put(5, frames(1, 2, 3), 5)
    assert buffer.holds(5, frames(1, 2, 3))
    assert buffer.holds(6, frames(2))
    buffer.take(5)
    assert buffer.holds(5, frames(1, 2, 3))
    assert not buffer.holds(5, frames(1, 2, 4))
    assert not buffer.holds(4, frames(1, 2, 3))
    assert not buffer.holds(5, frames(1)[:, :1])  # fewer books: another packet
    assert not buffer.holds(5 + PLACES, frames(1, 2, 3))


def test_what_is_passed_over_needs_no_repair_and_hurts_nobody() -> None:
    buffer = JitterBuffer(BOOKS)
    buffer.put(10, frames(10), 10)
    buffer.pass_over(8, frames(8, 9, 99))
    assert buffer.missing(11, 5, 0) == [11, 7]
    assert list(buffer.take(10)) == [10, 5]
    buffer.put(20, frames(20), 11)
    buffer.pass_over(20 - PLACES, frames(1))
    assert list(buffer.take(20)) == [20, 5]


def test_clearing_tells_how_many_were_waiting() -> None:
    buffer = JitterBuffer(BOOKS)
    buffer.put(1, frames(1, 2), 0)
    buffer.repair(5, 1)
    assert buffer.clear() == 2
    assert buffer.clear() == 0
    assert (buffer.first, buffer.waiting, buffer.next_filled(0)) == (None, 0, None)
    assert not buffer.is_filled(1)


@settings(max_examples=25)
@given(seed=st.integers(0, 1 << 30), offset=st.sampled_from([-3000, 0, 70_000]))
def test_the_ring_does_what_a_dictionary_does(seed: int, offset: int) -> None:
    rng = random.Random(seed)
    buffer = JitterBuffer(BOOKS)
    known: dict[int, str] = {}
    place = offset  # the next
    for _ in range(150):
        act = rng.random()
        if act < 0.5:
            index, n = place + rng.randrange(-30, 30), rng.randrange(1, 8)
            if rng.random() < 0.02:
                index += MOST_AHEAD
            verdict = Verdict(0, 0, 0)._asdict()
            for i in range(index, index + n):
                if known.get(i) in ("waits", "done"):
                    verdict["duplicate"] += 1
                elif i < place:
                    verdict["late"] += 1
                    known[i] = "done"
                elif i >= place + MOST_AHEAD:
                    verdict["overrun"] += 1
                else:
                    known[i] = "waits"
            assert buffer.put(index, frames(*range(index, index + n)), place)._asdict() == verdict
        elif act < 0.6:
            index = place + rng.randrange(0, 10)
            missing = [i for i in range(index, index - 5, -1) if i >= place - 2 and i not in known]
            assert buffer.missing(index, 5, place - 2) == missing
            for i in missing:
                if i >= place:
                    buffer.repair(i, i & 1023)
                    known[i] = "repair"
        elif act < 0.63:
            place += rng.randrange(12)
            given_up = [i for i, what in known.items() if i < place and what in ("waits", "repair")]
            assert buffer.drop_before(place) == sum(known[i] == "waits" for i in given_up)
            for i in given_up:
                if known[i] == "waits":
                    known[i] = "done"
                else:
                    del known[i]
        else:
            filled = sorted(i for i, what in known.items() if what in ("waits", "repair"))
            assert buffer.next_filled(place) == (filled[0] if filled else None)
            assert buffer.waiting == sum(what == "waits" for what in known.values())
            assert buffer.first is None or not filled or buffer.first <= filled[0]
            assert buffer.is_filled(place) == (known.get(place) in ("waits", "repair"))
            if buffer.is_filled(place):
                whole = known[place] == "waits"
                assert buffer.is_whole(place) == whole
                assert list(buffer.take(place)) == [place & 1023, 5 if whole else -1]
                known[place] = "done" if whole else "repaired"
            place += 1


# ---- the delay ---------------------------------------------------------------------------------------------


def fed(delay: PlayoutDelay, late_s: list[float], began_s: float = 0.0, base_s: float = 7.0) -> float:
    """Packets of `PACKET_S` that come so much later than the quickest; returns when the last one comes."""
    now_s = began_s
    for i, s in enumerate(late_s):
        now_s = began_s + i * PACKET_S + s
        delay.add(base_s + s, PACKET_S, 0.0, now_s)
    return now_s


def wait_s(delay: PlayoutDelay) -> float:
    assert delay.base_s is not None
    return delay.target_s - delay.base_s


def test_a_good_line_needs_the_length_of_a_packet() -> None:
    delay = PlayoutDelay(initial_s=0.1, most_s=1.0)
    assert delay.base_s is None
    fed(delay, [0.0])
    assert wait_s(delay) == pytest.approx(PACKET_S + 0.1)  # nothing is known yet
    fed(delay, [0.0] * 40, 1.0)
    assert wait_s(delay) == pytest.approx(PACKET_S)
    assert delay.base_s == 7.0
    assert delay.jitter_s == 0


def test_the_target_is_a_high_percentile_of_the_lateness() -> None:
    rng = random.Random(3)
    late_s = [rng.uniform(0, 0.3) if i % 3 == 0 else 0.0 for i in range(125)]
    delay = PlayoutDelay(0.05, 1.0)
    fed(delay, late_s)
    in_time = sum(s + PACKET_S <= wait_s(delay) + 1e-9 for s in late_s) / len(late_s)
    assert 0.94 <= in_time < 1
    assert 0.03 < delay.jitter_s < 0.12


def test_it_grows_within_three_packets_and_shrinks_after_the_window() -> None:
    delay = PlayoutDelay(0.0, 1.0)
    at_s = fed(delay, [0.0] * 200)
    at_s = fed(delay, [0.3] * 3, at_s + PACKET_S)
    assert wait_s(delay) > PACKET_S + 0.2
    at_s = fed(delay, [0.3] * 20, at_s)
    assert wait_s(delay) == pytest.approx(PACKET_S + 0.3, abs=0.01)
    calm = int(WINDOW_S / PACKET_S)
    at_s = fed(delay, [0.0] * (calm // 2), at_s + PACKET_S)
    assert wait_s(delay) == pytest.approx(PACKET_S + 0.3, abs=0.01)  # slowly
    at_s = fed(delay, [0.0] * (calm // 2 + 4), at_s + PACKET_S)
    assert PACKET_S + 0.2 < wait_s(delay) < PACKET_S + 0.3
    before, n = wait_s(delay), 20
    fed(delay, [0.0] * n, at_s + PACKET_S)
    assert before - wait_s(delay) == pytest.approx(FALL * n * PACKET_S)
    delay.settle()  # a pause
    assert wait_s(delay) == pytest.approx(PACKET_S)


def test_one_stall_is_one_event_and_an_outage_none() -> None:
    for stall_s in (0.9, 5.0):
        delay = PlayoutDelay(0.0, 1.0)
        at_s = fed(delay, [0.0] * 100)
        burst = np.arange(stall_s, 0, -PACKET_S)
        for s in burst:
            if s <= 1.0:
                delay.add(7 + s, PACKET_S, 0.0, at_s + stall_s)
            else:
                delay.pass_by(7 + s)
        fed(delay, [0.0] * 12, at_s + stall_s)
        delay.settle()
        assert wait_s(delay) == pytest.approx(PACKET_S, abs=0.001)


def test_stalls_that_come_often_are_waited_for() -> None:
    delay = PlayoutDelay(0.0, 1.0)
    fed(delay, [0.4, 0.16, *[0.0] * 8] * 20)
    assert wait_s(delay) == pytest.approx(PACKET_S + 0.4)


def test_a_repair_is_waited_for_a_minute() -> None:
    delay = PlayoutDelay(0.0, 1.0)
    at_s = fed(delay, [0.0] * 50)
    delay.add(7.0, PACKET_S, PACKET_S, at_s + PACKET_S)
    assert wait_s(delay) == pytest.approx(2 * PACKET_S)
    n = int(REPAIR_WINDOW_S / PACKET_S)
    at_s = fed(delay, [0.0] * (n - 2), at_s + 2 * PACKET_S)
    assert wait_s(delay) == pytest.approx(2 * PACKET_S)
    fed(delay, [0.0] * 4, at_s + PACKET_S)
    delay.settle()
    assert wait_s(delay) == pytest.approx(PACKET_S)


def test_a_repair_beyond_all_patience_is_not_waited_for() -> None:
    delay = PlayoutDelay(0.0, 0.2)
    at_s = fed(delay, [0.0] * 50)
    delay.add(7.0, PACKET_S, PACKET_S, at_s + PACKET_S)
    assert wait_s(delay) == pytest.approx(PACKET_S)


def test_a_pause_teaches_nothing() -> None:
    delay = PlayoutDelay(0.0, 1.0)
    at_s = fed(delay, [0.0, 0.2] * LEAST_PACKETS)
    before = wait_s(delay)
    fed(delay, [0.0], at_s + 10 * WINDOW_S)
    assert wait_s(delay) == pytest.approx(before, abs=0.03)


def test_a_route_that_became_slower_is_the_base_after_a_minute() -> None:
    delay = PlayoutDelay(0.0, 1.0)
    at_s = fed(delay, [0.0] * 100)
    at_s = fed(delay, [0.5] * 300, at_s)
    assert delay.base_s == 7.5
    fed(delay, [0.0], at_s)
    assert delay.base_s == 7.0


def test_a_new_timeline_keeps_what_is_known_of_the_network() -> None:
    delay = PlayoutDelay(0.0, 1.0)
    fed(delay, [0.0, 0.2] * 40)
    known = wait_s(delay)
    delay.restart()
    assert delay.base_s is None
    fed(delay, [0.0], 30.0, base_s=-500.0)
    assert delay.base_s == -500
    assert wait_s(delay) == pytest.approx(known, abs=0.03)
