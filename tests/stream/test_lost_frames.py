"""What a microphone lost is noticed, by numbers or by time; a busy machine and a drifting card are not taken for it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sottovoce.stream.lost_frames import LostFrames

FRAME_S = 0.04
WINDOW = 50


def lost(seqs: list[int], born_s: list[float], frame_s: float = FRAME_S) -> list[int]:
    found = LostFrames(frame_s)
    return [found.before(seq, s) for seq, s in zip(seqs, born_s, strict=True)]


def stalled(n: int, first: int, stall_s: float, speed: float, frame_s: float = FRAME_S) -> NDArray[np.float64]:
    """When frames come whose reader stops at ``first`` for so long, then reads ``speed`` times as fast as they are made."""
    made_s = np.arange(n) * frame_s
    read_s = made_s[first] + stall_s + (made_s - made_s[first]) / speed
    return np.where(np.arange(n) < first, made_s, np.maximum(made_s, read_s))


def test_numbers_that_are_missing_are_counted_at_once() -> None:
    seqs = [0, 1, 2, 7, 8, 10]
    assert lost(seqs, [seq * FRAME_S for seq in seqs]) == [0, 0, 0, 4, 0, 1]


@pytest.mark.parametrize("gone_s", [0.6, 5.0, 3600.0])
def test_what_a_program_missed_while_it_was_stopped_is_counted_once(gone_s: float) -> None:
    seqs = list(range(1000))
    found = lost(seqs, [5 + seq * FRAME_S + (gone_s if seq >= 430 else 0) for seq in seqs])
    assert sum(found) == round(gone_s / FRAME_S)
    assert sum(found[430 : 430 + 3 * WINDOW]) == sum(found)


@pytest.mark.parametrize("first", range(400, 400 + WINDOW, 12))
@pytest.mark.parametrize("speed", [np.inf, 4.0, 1.25])
@pytest.mark.parametrize("stall_s", [3.0, 20.0])
@pytest.mark.parametrize("frame_s", [0.016, 0.04])
def test_a_backlog_of_many_windows_that_is_read_at_last_loses_nothing(
    first: int, speed: float, stall_s: float, frame_s: float
) -> None:
    born_s = stalled(8000, first, stall_s, speed, frame_s)
    late_s = born_s - np.arange(8000) * frame_s
    assert late_s[first + WINDOW] > 0.5  # it is longer than a window
    assert late_s[-1] == 0
    assert not any(lost(list(range(len(born_s))), born_s.tolist(), frame_s))


@pytest.mark.parametrize("first", range(400, 400 + WINDOW, 7))
def test_a_backlog_that_does_not_shrink_for_a_window_loses_nothing(first: int) -> None:
    late_s = np.zeros(1000)
    late_s[first : first + 2 * WINDOW - 1] = 1.0
    assert not any(lost(list(range(1000)), (np.arange(1000) * FRAME_S + late_s).tolist()))


@pytest.mark.parametrize("speed", [np.inf, 4.0])
def test_of_a_stall_that_no_buffer_could_hold_the_rest_is_counted(speed: float) -> None:
    """Of ten seconds the first two were kept, and read late; eight are gone."""
    kept = round(2.0 / FRAME_S)
    born_s = stalled(1000, 430, 10.0, speed)
    seqs = [*range(430 + kept), *range(430 + round(10.0 / FRAME_S), 1000)]
    found = lost(list(range(len(seqs))), [float(born_s[seq]) for seq in seqs])
    assert sum(found) == 1000 - len(seqs)


@pytest.mark.parametrize("ppm", [-500, 500])
def test_an_hour_of_drift_and_stalls_that_were_caught_up_lose_nothing(ppm: float) -> None:
    seqs = np.arange(90_000)
    born_s = seqs * FRAME_S * (1 + 1e-6 * ppm)
    for stall in range(1000, 90_000, 3000):  # two seconds in which nothing was read, then all at once
        born_s[stall : stall + 50] = np.maximum(born_s[stall : stall + 50], born_s[stall] + 2.0)
    born_s += np.random.default_rng(0).exponential(0.02, len(seqs))
    assert not any(lost(seqs.tolist(), born_s.tolist()))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.5])
def test_a_card_that_loses_without_end_is_told_of_while_it_does(share: float) -> None:
    n = 3000
    made = (np.arange(n) / (1 - share)).round()  # of those that were made, these came
    found = np.cumsum(lost(list(range(n)), (made * FRAME_S).tolist()))
    missing = made - np.arange(n)
    assert (found <= missing).all()
    assert (missing - found < 0.75 / FRAME_S + 4 * WINDOW * share / (1 - share)).all()
