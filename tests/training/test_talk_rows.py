"""Batches: clauses as the front end cuts them, and every slot told what it speaks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.models.alignment import align
from sottovoce.models.symbols import SYMBOLS, ids
from sottovoce.models.talker import Talker
from sottovoce.models.talker_config import TALKER_TINY
from sottovoce.training.talk_loss import conditions
from sottovoce.training.talk_rows import RowDrawer, clauses, held_out, told_slots
from sottovoce.training.talk_store import TalkData

TEXT = "həlˈO, wˈɜɹld ænd ˈɔl əv jˈu ðæt ˈɑɹ hˈɪɹ tədˈA, ˈɪn ðə mˈɔɹnɪŋ. ɡˈʊd nˈIt"
VOICES = ["af_one", "am_two"]


@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(0, 12))
def test_clauses_keep_every_slot_and_stand_between_pauses(seed: int, cut_share: float, lead: int) -> None:
    random = np.random.default_rng(seed)
    symbols = ids(["<s>", *TEXT, "<s>", *TEXT, "<s>"])
    slots = random.integers(0, 9, len(symbols))
    found = clauses(symbols, slots, lead, cut_share, random)
    assert sum(int(own.sum()) for _, own in found) == slots.sum()
    assert all(own[0] == own[-1] == 0 and len(own) > 2 and (own[1:-1] > 0).all() for own, _ in found)
    said = [symbol for own, _ in found for symbol in own if SYMBOLS[symbol] not in ("<s>", " ")]
    assert said == [symbol for symbol in symbols if SYMBOLS[symbol] not in ("<s>", " ")]
    times = np.concatenate([own for _, own in found]).cumsum()
    assert set(np.cumsum(slots)) >= {times[i] for i, s in enumerate(np.concatenate([o for o, _ in found])) if s > 1}
    assert len(found) >= 4  # two sentences in each, always apart


def test_no_chance_no_cut_within_a_sentence() -> None:
    symbols = ids(["<s>", *TEXT.split(".")[0], "<s>"])
    found = clauses(symbols, np.ones_like(symbols), 8, 0.0, np.random.default_rng(0))
    assert len(found) == 1
    assert np.array_equal(found[0][0], symbols)


def test_a_pause_between_sentences_belongs_to_both() -> None:
    symbols = ids(["<s>", *"həlˈO.", "<s>", *"jˈɛs", "<s>"])
    slots = np.full(len(symbols), 2)
    slots[7] = 30
    first, second = clauses(symbols, slots, 8, 0.0, np.random.default_rng(0))
    assert (first[1][-1], second[1][0]) == (22, 8)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20).filter(any))
def test_slots_are_told_what_the_model_would_tell_them(slots: list[int]) -> None:
    given_slots = np.array(slots)
    n_frames = -(-int(given_slots.sum()) // 4)
    symbol, progress = align(given_slots, n_frames, 4)
    told, how_far = told_slots(given_slots, 10_000)
    assert np.array_equal(told, symbol.ravel()[: len(told)])
    np.testing.assert_allclose(how_far, progress.reshape(-1, 2)[: len(told)], atol=1e-6)


def test_rows_are_full_of_what_the_data_hold(talk: Path) -> None:
    data = TalkData(talk)
    drawer = RowDrawer(data, VOICES, 4.0, 3, cut_share=0.0)
    rows = drawer.draw(5)
    assert rows.codes.shape == (3, 100, data.about.books)
    assert rows.spoken.shape == (3, 400)
    again = RowDrawer(data, VOICES, 4.0, 3, cut_share=0.0).draw(5)
    assert torch.equal(rows.codes, again.codes)
    assert torch.equal(rows.spoken, again.spoken)
    assert not torch.equal(rows.codes, drawer.draw(6).codes)
    symbols = rows.symbols.flatten()[rows.spoken]
    assert int(symbols.min()) >= 0
    for row, voice in zip(range(3), rows.voice, strict=True):
        of_voice = [i for i, one in enumerate(data.utterances) if VOICES.index(one.voice) == voice]
        begins = [
            i
            for i in of_voice
            if torch.equal(torch.from_numpy(data.codes(i).astype(np.int64)), rows.codes[row, : len(data.codes(i))])
        ]
        assert len(begins) == 1
        expected = np.repeat(data.symbols(begins[0]), data.slots(begins[0]))
        assert symbols[row, : len(expected)].tolist() == expected.tolist()
        clause = rows.spoken[row] // rows.symbols.shape[1]
        assert (rows.clause_voice[clause] == voice).all()


def test_conditions_are_those_of_the_talker(talk: Path) -> None:
    """For a row of a single clause, what the loss tells the frames is what ``Talker.condition`` tells them."""
    data = TalkData(talk)
    talker = Talker(TALKER_TINY).eval()
    shortest = min(one.n_frames for one in data.utterances)
    rows = RowDrawer(data, VOICES, shortest * 0.04, 2, cut_share=0.0).draw(1)
    assert len(rows.symbols) == 2
    encodings, _ = talker.encode(rows.symbols, rows.clause_voice)
    expected = talker.condition(encodings, rows.slots, rows.codes.shape[1])
    torch.testing.assert_close(conditions(encodings, rows), expected)


def test_what_is_held_out_is_never_learnt_from(talk: Path) -> None:
    data = TalkData(talk)
    learnt = {i for pool in RowDrawer(data, VOICES, 1.0, 1)._of for i in pool}
    assert all(held_out(data.utterances[i].key) != (i in learnt) for i in range(len(data)))


def test_rows_of_anybody_have_the_number_behind_the_last(talk: Path) -> None:
    drawer = RowDrawer(TalkData(talk), VOICES, 1.0, 64, voice_dropout=0.5)
    rows = drawer.draw(0)
    share = float((rows.voice == 2).float().mean())
    assert 0.3 < share < 0.7
    assert int(rows.clause_voice.max()) == 2


def test_voices_are_balanced_as_asked(talk: Path) -> None:
    data = TalkData(talk)
    shares = [RowDrawer(data, VOICES, 1.0, 1, balance=balance)._shares for balance in (0.0, 1.0)]
    assert shares[0].tolist() == [0.5, 0.5]
    assert shares[1][0] == pytest.approx(data.voices["af_one"] / sum(data.voices.values()), abs=0.05)


def test_what_cannot_be_drawn_is_said(talk: Path) -> None:
    with pytest.raises(ValueError, match="no utterance of nobody"):
        RowDrawer(TalkData(talk), ["af_one", "nobody"], 1.0, 1)
    with pytest.raises(ValueError, match="shorter than a frame"):
        RowDrawer(TalkData(talk), VOICES, 0.01, 1)
