"""The times of words are measured where they are in the sound, and a shift of the sound is found to the slot."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sottovoce.models.symbols import PAUSE, ids
from sottovoce.training import talk_times
from sottovoce.training.aligner import CLASS_OF, CLASSES, Aligner, AlignerConfig
from sottovoce.training.talk_times import SLOT_MS, Passage, word_errors_ms

SLOTS = (3, 6, 4, 5, 7, 6, 3)


class Perfect(Aligner):
    """Hears what is said: its mel are the classes themselves."""

    def __init__(self) -> None:
        super().__init__(AlignerConfig(width=8, blocks=1))

    def forward(self, mel: Tensor) -> Tensor:
        return 50 * mel.transpose(1, 2)


def passage(text: str) -> Passage:
    return Passage(ids((PAUSE, *text, PAUSE)), np.array(SLOTS))


def heard(passages: list[Passage], late: int) -> Tensor:
    """All that is said, ``late`` slots later than it was meant to be."""
    classes = np.concatenate([np.repeat(CLASS_OF[one.symbols], one.slots) for one in passages])
    classes = np.concatenate([np.zeros(late, np.int64), classes, np.zeros(20, np.int64)])
    return torch.from_numpy(np.eye(CLASSES, dtype=np.float32)[classes]).T


@pytest.mark.parametrize("late", [0, 2, 5])
def test_a_shift_is_found_to_the_slot(late: int) -> None:
    said = [passage("hi ju"), passage("nɔ bæ"), passage("hi nɔ")]
    errors = word_errors_ms(Perfect(), heard(said, late), said, 0.0)
    np.testing.assert_array_equal(errors[:, 0], late * SLOT_MS)
    length = sum(SLOTS)
    np.testing.assert_array_equal(errors[:, 1], [at + n * length for n in range(3) for at in (3, 18)])


def test_the_delay_of_the_codec_is_no_error() -> None:
    said = [passage("hi ju")]
    assert word_errors_ms(Perfect(), heard(said, 2), said, 2 * SLOT_MS)[:, 0] == pytest.approx(0)


def test_a_talker_that_drifts_is_seen_to() -> None:
    said = [passage("hi ju")] * 3
    slower = [Passage(one.symbols, one.slots + 1) for one in said]
    errors = word_errors_ms(Perfect(), heard(slower, 0), said, 0.0)[:, 0]
    assert errors[0] > 0
    assert (np.diff(errors) > 0).all()


def test_what_is_no_talker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="talk_times: "):
        talk_times.main([str(tmp_path / "none.safetensors"), "--aligner", str(tmp_path / "none")])
