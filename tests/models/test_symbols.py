"""The talker's alphabet: fixed ids, and no others."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.models.symbols import PAUSE, SYMBOLS, UnknownSymbol, ids


def test_the_table_is_the_one_that_weights_were_trained_on() -> None:
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 66
    assert SYMBOLS[0] == PAUSE == "<s>"
    digest = hashlib.sha256("\n".join(SYMBOLS).encode()).hexdigest()
    assert digest.startswith("3ae141ee5e2be428"), (
        "symbols may only be added at the end: weights would read other sounds"
    )


def test_ids_are_places_in_the_table() -> None:
    assert [SYMBOLS[number] for number in ids("həlˈO, wˈɜɹld!")] == list("həlˈO, wˈɜɹld!")
    assert ids([PAUSE, "a", PAUSE]).tolist() == [0, SYMBOLS.index("a"), 0]
    assert ids("").dtype == np.int64
    assert ids("").shape == (0,)


@given(st.lists(st.sampled_from(SYMBOLS)))
def test_every_symbol_comes_back(symbols: list[str]) -> None:
    assert [SYMBOLS[number] for number in ids(symbols)] == symbols


@pytest.mark.parametrize("wrong", ["hello world?q", "é", "ˈ\n", "\0", "\ud800", "👍", "0"])
def test_an_unknown_symbol_is_named(wrong: str) -> None:
    with pytest.raises(UnknownSymbol, match=r"U\+[0-9A-F]{4,}\) is not a phoneme"):
        ids(wrong)


def test_the_pause_is_no_sequence_of_characters() -> None:
    with pytest.raises(UnknownSymbol) as raised:
        ids("<s>")
    assert raised.value.symbol == "<"
    with pytest.raises(ValueError):
        ids(["nosuch"])
