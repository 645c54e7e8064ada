"""Whole slots: sums stay right, sounds are heard, ends come with a frame; and frames are told what their slots speak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.models.alignment import IS_SOUND, align, conditions, round_slots
from sottovoce.models.symbols import SYMBOLS, ids

SYMBOL_IDS = st.integers(0, len(SYMBOLS) - 1)


@given(
    st.lists(st.tuples(SYMBOL_IDS, st.floats(1, 60)), min_size=1, max_size=300), st.floats(0.5, 1), st.integers(1, 4)
)
def test_ends_are_never_off_by_more_than_a_rounding(
    row: list[tuple[int, float]], speed: float, mels_per_frame: int
) -> None:
    symbols, durations = np.array([symbol for symbol, _ in row]), np.array([duration for _, duration in row])
    slots = round_slots(durations, symbols, mels_per_frame, speed)
    off = np.cumsum(slots) - np.cumsum(durations) / speed
    assert np.abs(off[:-1]).max(initial=0) <= 0.5 + 1e-9
    assert -1 <= off[-1] <= mels_per_frame + 0.5
    assert slots.sum() % mels_per_frame == 0


@given(st.lists(st.tuples(SYMBOL_IDS, st.floats(0, 200)), min_size=1, max_size=60), st.floats(0.25, 8))
def test_every_sound_is_heard_and_every_clause_ends_with_a_frame(row: list[tuple[int, float]], speed: float) -> None:
    symbols, durations = np.array([symbol for symbol, _ in row]), np.array([duration for _, duration in row])
    slots = round_slots(durations, symbols, 4, speed)
    assert (slots >= IS_SOUND[symbols]).all()
    assert slots.sum() % 4 == 0
    assert slots.sum() >= 4
    behind = np.cumsum(slots)[:-1] - np.cumsum(durations)[:-1] / speed
    assert behind.max(initial=0) <= len(row)  # a slot for each sound that was due none, no more
    assert behind.min(initial=0) >= -0.5 - 1e-9


def test_what_a_sound_takes_beyond_its_due_is_given_back() -> None:
    slots = round_slots(np.array([0.1, 0.1, 0.1, 9.7]), ids("tstA"), 1)
    assert slots.tolist() == [1, 1, 1, 7]
    assert round_slots(np.array([3.0, 0.2, 4.0]), ids("tˈA"), 4).tolist() == [3, 0, 5]


def test_speed_divides_time() -> None:
    durations = np.full(48, 7.3)
    symbols = np.full(48, ids("A")[0])
    assert round_slots(durations, symbols, 1, 2.0).sum() == 175
    assert round_slots(durations, symbols, 1, 0.5).sum() == 701


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pace_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        round_slots(np.ones(1), ids("A"), 4, speed)


@pytest.mark.parametrize("durations", [[-1.0], [float("nan")], [float("inf")], [1.0, 1.0], []])
def test_durations_that_cannot_be_are_refused(durations: list[float]) -> None:
    with pytest.raises(ValueError, match="duration"):
        round_slots(np.array(durations), ids("A"), 4)
    with pytest.raises(ValueError, match="durations"):
        round_slots(np.array([]), ids(""), 4)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30).filter(any), st.integers(1, 4))
def test_slots_are_told_one_by_one(slots: list[int], mels_per_frame: int) -> None:
    """Against the plainest way to write it."""
    written = [(i, spoken, n - 1 - spoken) for i, n in enumerate(slots) for spoken in range(n)]
    n_frames = -(-len(written) // mels_per_frame) + 1
    last = max(i for i, n in enumerate(slots) if n)
    while len(written) < n_frames * mels_per_frame:
        written.append((last, written[-1][1] + 1, 0))
    symbol, progress = align(np.array(slots), n_frames, mels_per_frame)
    assert symbol.shape == (n_frames, mels_per_frame)
    assert progress.dtype == np.float32
    assert symbol.flatten().tolist() == [i for i, _, _ in written]
    assert np.allclose(progress.reshape(-1, 2), np.log1p([(spoken, left) for _, spoken, left in written]))


def test_rows_are_aligned_each_by_itself() -> None:
    slots = np.array([[2, 6, 0], [1, 1, 2]])
    symbol, progress = align(slots, 2, 4)
    for row in range(2):
        alone = align(slots[row], 2, 4)
        assert np.array_equal(symbol[row], alone[0])
        assert np.array_equal(progress[row], alone[1])


def test_conditions_are_encodings_and_progress() -> None:
    encodings = np.array([[1.0, 2], [3, 4]], np.float32)
    told = conditions(encodings, np.array([1, 3]), 2)
    assert told.shape == (2, 2, 4)
    assert told[..., :2].tolist() == [[[1, 2], [3, 4]], [[3, 4], [3, 4]]]
    with pytest.raises(ValueError, match="2 encodings, 3 durations"):
        conditions(encodings, np.array([1, 1, 2]), 2)


@pytest.mark.parametrize("slots", [[-1, 5], [0, 0], []])
def test_slots_that_cannot_be_are_refused(slots: list[int]) -> None:
    with pytest.raises(ValueError, match="slot"):
        align(np.array(slots, np.int64), 2, 4)
