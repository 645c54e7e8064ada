"""What is known of steps: by rows and frames, and without a stall that nothing came after."""

import pytest

from sottovoce.stream.step_times import RECENT, STALE, StepTimes

SIZES = (1, 2, 4, 8)


def cost_s(rows: int, n_frames: int = 1) -> float:
    return 0.004 + 0.001 * rows * n_frames


def warm() -> StepTimes:
    """As a server begins."""
    times = StepTimes()
    for rows in SIZES:
        for n_frames in (1, 4, 2):
            for _ in range(4):
                times.add("decode", rows, cost_s(rows, n_frames), n_frames)
    return times


def test_frames_are_known_by_themselves_or_taken_for_one_after_the_other() -> None:
    times = StepTimes()
    assert not times.knows("decode")
    assert times.seconds("decode", 1, 4) == times.slow_s("decode", 1, 4) == 0
    times.add("decode", 1, 0.005)
    assert times.knows("decode")
    assert times.seconds("decode", 1, 4) == 0.020
    times.add("decode", 1, 0.008, 4)
    assert times.seconds("decode", 1, 4) == 0.008
    assert times.seconds("decode", 1, 2) == 0.010
    assert times.seconds("decode", 1) == 0.005
    assert times.seconds("decode", 3, 4) == pytest.approx(0.024)  # nothing is known of more rows


def test_a_bad_moment_is_slower_than_usual() -> None:
    times = StepTimes()
    for i in range(100):
        times.add("talk", 1, 0.009 if i % 10 == 0 else 0.003)
    assert times.seconds("talk", 1) == 0.003
    assert times.slow_s("talk", 1) == 0.009


def test_a_stall_of_sizes_that_do_not_come_again_is_forgotten_and_what_was_known_is_not() -> None:
    """The machine stood still while batches of eight came; now there is one session, whose steps take what they always did."""
    times = warm()
    for _ in range(RECENT):
        times.add("decode", 8, 50 * cost_s(8))
    assert times.seconds("decode", 8) == pytest.approx(50 * cost_s(8))
    for _ in range(STALE + RECENT):
        times.add("decode", 1, cost_s(1))
    for rows in SIZES:
        for n_frames in (1, 2, 4):
            assert times.seconds("decode", rows, n_frames) == pytest.approx(cost_s(rows, n_frames))
    assert times.slow_s("decode", 8) == pytest.approx(cost_s(8))
    for _ in range(RECENT):
        times.add("decode", 8, 3 * cost_s(8))
    assert times.seconds("decode", 8) == pytest.approx(3 * cost_s(8))  # what does come is believed


def test_a_machine_that_slowed_down_for_good_is_slow_for_all_sizes() -> None:
    times = warm()
    for _ in range(STALE + RECENT):
        times.add("decode", 1, 2 * cost_s(1))
    for rows in SIZES:
        assert times.seconds("decode", rows) == pytest.approx(2 * cost_s(rows))


def test_sizes_that_came_first_when_it_was_slow_say_nothing_of_those_that_came_before() -> None:
    times = StepTimes()
    for _ in range(RECENT):
        times.add("decode", 1, 0.002, 4)
    for _ in range(RECENT):
        times.add("decode", 1, 0.020, 4)
    for _ in range(STALE + RECENT):
        times.add("decode", 1, 0.010, 2)
    assert times.seconds("decode", 1, 4) == 0.020


def test_steps_that_take_no_time_are_no_measure() -> None:
    times = StepTimes()
    times.add("mel", 1, 0.0)
    times.add("mel", 4, 0.004)
    for _ in range(STALE + RECENT):
        times.add("mel", 1, 0.0)
    assert times.seconds("mel", 4) == 0.004
