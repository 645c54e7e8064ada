"""The echo engine obeys the laws that every engine does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.engine import ECHO, KINDS, EchoEngine, Kind, Work
from sottovoce.stream.errors import NoSlot


def speech(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.2, n * ECHO.frame_samples).astype(np.float32)


def through(engine: EchoEngine, row: int, data: np.ndarray, fresh: bool = False) -> dict[Kind, np.ndarray]:
    answers: dict[Kind, np.ndarray] = {}
    for kind in KINDS:
        data = answers[kind] = engine.step([Work(row, kind, data, 0.0, fresh)])[0]
    return answers


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_cuts_and_neighbours_do_not_matter(sizes: list[int], seed: int) -> None:
    pcm = speech(sum(sizes), seed)
    engine = EchoEngine(2)
    mine, other = engine.open(), engine.open()
    whole = through(engine, mine, pcm)
    engine.close(mine)
    mine = engine.open()
    parts = []
    for part in np.split(pcm, np.cumsum(sizes[:-1]) * ECHO.frame_samples):
        parts.append(through(engine, mine, part))
        through(engine, other, speech(1, seed + 1))
    for kind in KINDS:
        assert np.array_equal(whole[kind], np.concatenate([part[kind] for part in parts]))


def test_shapes_types_and_ranges() -> None:
    engine = EchoEngine()
    answers = through(engine, engine.open(), speech(2, 0) * 10)
    mel = (2 * ECHO.mels_per_frame, ECHO.n_mels)
    assert [answers[k].shape for k in KINDS] == [mel, (2, ECHO.books), mel, (2 * ECHO.frame_samples,)]
    assert [answers[k].dtype for k in KINDS] == [np.float32, np.int16, np.float32, np.float32]
    assert np.abs(answers["vocode"]).max() <= 1
    assert answers["encode"].min() >= 0
    assert answers["encode"].max() < ECHO.book_size


def test_fresh_forgets() -> None:
    engine = EchoEngine()
    row = engine.open()
    first = through(engine, row, speech(1, 1))
    again = through(engine, row, speech(1, 1), fresh=True)
    assert all(np.array_equal(first[kind], again[kind]) for kind in KINDS)
    assert not np.array_equal(first["vocode"], through(engine, row, speech(1, 1))["vocode"])


def test_silence_stays_silent_and_fewer_books_say_less() -> None:
    engine = EchoEngine()
    row = engine.open()
    assert np.abs(through(engine, row, np.zeros(ECHO.frame_samples, np.float32))["vocode"]).max() == 0
    codes = through(engine, row, speech(1, 2))["encode"]
    above = []
    for books in range(ECHO.books + 1):
        known = codes.copy()
        known[:, books:] = -1
        mel = engine.step([Work(row, "decode", known, 0.0)])[0]
        above.append(int((mel[0] > mel.min()).sum()))
    assert above == list(range(ECHO.books + 1))


def test_rows_run_out() -> None:
    engine = EchoEngine(1)
    row = engine.open()
    with pytest.raises(NoSlot, match="all 1 rows"):
        engine.open()
    engine.close(row)
    with pytest.raises(ValueError):
        engine.close(row)
    with pytest.raises(ValueError):
        engine.step([Work(row, "mel", speech(1, 0), 0.0)])
    with pytest.raises(ValueError):
        EchoEngine(0)
