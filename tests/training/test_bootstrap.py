"""Intervals: they cover what they should, and pairing tells differences that single rows cannot."""

import numpy as np
import pytest

from sottovoce.training.bootstrap import Tallies, difference, estimate


def clips(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Tallies:
    return np.stack([values, np.ones(len(values))], 1)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for trial in range(300):
        found = estimate(clips(random.normal(3.0, 1.0, 40)), seed=trial)
        covered += found.low <= 3.0 <= found.high
    assert 0.90 <= covered / 300 <= 0.98  # the percentile interval of 40 clips is a little narrow


def test_the_interval_shrinks_with_the_root_of_the_clips() -> None:
    random = np.random.default_rng(2)
    few, many = (estimate(clips(random.normal(0, 1, n))) for n in (50, 5000))
    assert 7 < (few.high - few.low) / (many.high - many.low) < 14


def test_words_count_not_clips() -> None:
    found = estimate(np.array([[1.0, 1.0], [0.0, 9.0]]))
    assert (found.value, found.clips, found.count) == (0.1, 2, 10)


def test_a_clip_that_was_not_measured_does_not_count() -> None:
    found = estimate(np.array([[2.0, 1.0], [0.0, 0.0], [4.0, 1.0]]))
    assert (found.value, found.clips) == (3.0, 2)


def test_pairing_sees_a_difference_that_the_clips_hide() -> None:
    random = np.random.default_rng(3)
    hard = random.normal(0, 1, 30)
    ours, theirs = clips(hard + 0.1 + random.normal(0, 0.01, 30)), clips(hard)
    assert estimate(ours).low < estimate(theirs).high  # they overlap
    found = difference(ours, theirs)
    assert 0.09 < found.low < found.value < found.high < 0.11


def test_a_clip_that_one_side_lacks_is_left_out_of_both() -> None:
    found = difference(np.array([[5.0, 1.0], [1.0, 1.0]]), np.array([[0.0, 0.0], [3.0, 1.0]]))
    assert (found.value, found.clips) == (-2.0, 1)


@pytest.mark.parametrize("nothing", [np.zeros((0, 2)), np.zeros((3, 2))])
def test_nothing_to_count_is_an_error(nothing: Tallies) -> None:
    with pytest.raises(ValueError, match="no clip"):
        estimate(nothing)
    with pytest.raises(ValueError, match="no clip"):
        difference(nothing, nothing)


def test_other_clips_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="paired"):
        difference(np.ones((2, 2)), np.ones((3, 2)))
