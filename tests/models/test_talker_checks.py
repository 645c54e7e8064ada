"""What a doctor finds: talkers made of rules, each wrong in a way of its own."""

import dataclasses
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from sottovoce.models.alignment import align
from sottovoce.models.config import BASE, MICRO, TINY
from sottovoce.models.symbols import SYMBOLS, ids
from sottovoce.models.talker_checks import Known, belongs, cross_entropy, fits, later, listens, shuffled
from sottovoce.models.talker_config import TALKER_BASE, TALKER_TINY

V, Q, S = 97, 2, 4
Logits = NDArray[np.float32]


def said(known: Known) -> NDArray[np.int64]:
    """The codes that the rule gives: those of the symbol in the frame's last slot."""
    n_frames = len(known.codes)
    symbol, _ = align(known.slots, n_frames, S)
    of_frame = known.symbols[symbol[:, -1]]
    return np.stack([of_frame % V, (7 * of_frame + 3) % V], -1)


def sure(codes: NDArray[np.int64]) -> Logits:
    """Logits that are nearly certain of codes [T, Q]."""
    return (8.0 * np.eye(V)[codes]).astype(np.float32)


@pytest.fixture
def known() -> list[Known]:
    random = np.random.default_rng(0)
    found = []
    for text in ("həlˈO wˈɜɹld", "ɡˈʊd mˈɔɹnɪŋ, jˈɛs", "ðə ʃˈɪp ˈɪz fˈAɹ əwˈA"):
        symbols = ids(["<s>", *text, "<s>"])
        slots = random.integers(4, 12, len(symbols))
        slots[-1] += -slots.sum() % S
        blank = Known(symbols, slots, np.zeros((slots.sum() // S, Q), np.int64), 0)
        found.append(dataclasses.replace(blank, codes=said(blank)))
    return found


def wrong(talker: "object", known: list[Known]) -> list[str]:
    assert callable(talker)
    return [one.name for one in listens(talker, known, S) if not one.good]


def test_a_talker_that_listens_is_good(known: list[Known]) -> None:
    assert wrong(lambda one: sure(said(one)), known) == []


def test_a_talker_that_ignores_its_text_is_found_out(known: list[Known]) -> None:
    """It knows every code, but from elsewhere: no text is better than another, none is better in time."""
    assert wrong(lambda one: sure(one.codes), known) == ["listens to its text", "text in time"]


@pytest.mark.parametrize("frames", [-2, -1, 1, 2])
def test_text_beside_the_codes_is_found_out(frames: int, known: list[Known]) -> None:
    """Learnt from data in which the text came too late or too early."""
    assert "text in time" in wrong(lambda one: sure(said(later(one, frames, S))), known)


@pytest.mark.parametrize("frames", [-2, -1, 1, 2])
def test_codes_that_are_shifted_twice_are_found_out(frames: int, known: list[Known]) -> None:
    assert "codes in time" in wrong(lambda one: sure(np.roll(said(one), frames, 0)), known)


def test_a_book_that_knows_nothing_is_named(known: list[Known]) -> None:
    def talker(one: Known) -> Logits:
        logits = sure(said(one))
        logits[:, 1] = np.random.default_rng(1).normal(0, 3, logits[:, 1].shape)
        return logits

    found = {one.name: one for one in listens(talker, known, S)}
    assert not found["every book"].good
    assert found["every book"].detail.endswith("no better than chance: 1")


def test_frame_rates_books_and_mels_must_agree() -> None:
    assert all(one.good for one in fits(TALKER_BASE, BASE, BASE))
    rate, books = fits(TALKER_BASE, MICRO, MICRO)
    assert (rate.good, books.good) == (False, False)
    assert "4" in rate.detail
    rate, books = fits(TALKER_TINY, TINY, MICRO)
    assert (rate.good, books.good) == (False, True)
    assert "different mels" in rate.detail


@pytest.mark.parametrize(
    ("changed", "bad"),
    [
        ({}, []),
        ({"model_hash": "another"}, ["codec"]),
        ({"symbols": json.dumps([*SYMBOLS[:5], "x", *SYMBOLS[6:]])}, ["alphabet"]),
        ({"symbols": json.dumps([*SYMBOLS, "x"])}, ["alphabet"]),
        ({"symbols": "nothing"}, ["alphabet"]),
    ],
)
def test_the_codec_and_the_alphabet_must_be_those_it_learned(changed: dict[str, str], bad: list[str]) -> None:
    metadata = {"model_hash": "this", "symbols": json.dumps(SYMBOLS), **changed}
    assert [one.name for one in belongs(metadata, "this") if not one.good] == bad


def test_a_known_utterance_comes_back_from_metadata(known: list[Known]) -> None:
    back = Known.from_text(known[0].to_text())
    for name in ("symbols", "slots", "codes"):
        assert np.array_equal(getattr(back, name), getattr(known[0], name))
    for text in ("", "{}", '{"symbols": 1}', known[0].to_text().replace('"books": 2', '"books": 7')):
        with pytest.raises(ValueError, match="not a known utterance"):
            Known.from_text(text)


def test_shuffling_keeps_the_rhythm_and_moving_keeps_the_length(known: list[Known]) -> None:
    one = known[1]
    other = shuffled(one)
    assert sorted(other.symbols) == sorted(one.symbols)
    assert not np.array_equal(other.symbols, one.symbols)
    for frames in (-3, -1, 1, 3):
        moved = later(one, frames, S)
        assert moved.slots.sum() == one.slots.sum()
        assert moved.slots.min() >= 0


def test_cross_entropy_is_that_of_chance_where_nothing_is_known() -> None:
    assert cross_entropy(np.zeros((3, Q, V), np.float32), np.ones((3, Q), np.int64)) == pytest.approx(np.log(V))
