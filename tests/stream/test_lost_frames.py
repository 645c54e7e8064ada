"""What a microphone lost is noticed, by numbers or by time; a busy machine and a drifting card are not taken for it."""

import numpy as np
import pytest

from sottovoce.stream.lost_frames import LostFrames

FRAME_S = 0.04


def lost(seqs: list[int], born_s: list[float]) -> list[int]:
    found = LostFrames(FRAME_S)
    return [found.before(seq, s) for seq, s in zip(seqs, born_s, strict=True)]


def test_numbers_that_are_missing_are_counted_at_once() -> None:
    seqs = [0, 1, 2, 7, 8, 10]
    assert lost(seqs, [seq * FRAME_S for seq in seqs]) == [0, 0, 0, 4, 0, 1]


@pytest.mark.parametrize("gone_s", [0.6, 5.0, 3600.0])
def test_what_a_sleeping_computer_missed_is_counted_once(gone_s: float) -> None:
    seqs = list(range(1000))
    found = lost(seqs, [5 + seq * FRAME_S + (gone_s if seq >= 430 else 0) for seq in seqs])
    assert sum(found) == round(gone_s / FRAME_S)
    assert sum(found[430:550]) == sum(found)  # within two windows


@pytest.mark.parametrize("ppm", [-500, 500])
def test_an_hour_of_drift_and_stalls_that_were_caught_up_lose_nothing(ppm: float) -> None:
    seqs = np.arange(90_000)
    born_s = seqs * FRAME_S * (1 + 1e-6 * ppm)
    for stall in range(1000, 90_000, 3000):  # two seconds in which nothing was read, then all at once
        born_s[stall : stall + 50] = np.maximum(born_s[stall : stall + 50], born_s[stall] + 2.0)
    born_s += np.random.default_rng(0).exponential(0.02, len(seqs))
    assert not any(lost(seqs.tolist(), born_s.tolist()))
