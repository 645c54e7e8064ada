"""The talker that ships says the same on both of its backends, in float32 on the processor: how long, and to the code what."""

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sottovoce.models.config import PRESETS
from sottovoce.models.symbols import PAUSE, ids
from sottovoce.models.talker_file import read_about
from sottovoce.stream.engine import EchoEngine, Work
from sottovoce.stream.onnx_talk import OnnxTalk
from sottovoce.stream.talk_engine import TalkEngine, Talks, talker_path
from sottovoce.stream.talk_work import Manner, Moment, Reading
from sottovoce.stream.torch_talk import TorchTalk

CLAUSE = "ɡˈʊd mˈɔɹnɪŋ, dˈɪɹ fɹˈɛndz."
BASE = PRESETS["base"]


@cache
def talkers() -> tuple[Talks, Talks]:
    """By torch, and by ONNX Runtime."""
    path = talker_path("base")
    codec_hash = read_about(path).model_hash
    torch.set_num_threads(1)
    by_torch = TorchTalk.load(path, BASE, codec_hash, rows=1, device=torch.device("cpu"), record=None)
    return by_torch, OnnxTalk.load(path, BASE, codec_hash, rows=1, threads=1)


def said(manner: Manner) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """The codes of the clause, [T, Q], by each."""
    found = []
    for talker in talkers():
        engine = TalkEngine(EchoEngine(1), BASE, talker)
        row = engine.open()
        score = engine.step([Work(row, "read", Reading(CLAUSE, manner), 0.0)])[0]
        moments = [Work(row, "talk", Moment(score, i), 0.0, fresh=i == 0) for i in range(score.n_frames)]
        found.append(np.concatenate([engine.step([moment])[0] for moment in moments]))
    return found[0], found[1]


@pytest.mark.parametrize("voice", [0, 1])
def test_encodings_and_durations_of_the_shipped_weights(voice: int) -> None:
    symbols = ids((PAUSE, *CLAUSE, PAUSE))
    (encodings, slots), (others, other_slots) = (talker.clause(symbols, voice) for talker in talkers())
    assert encodings.std() > 0.1
    assert slots.sum() > 100
    assert np.abs(encodings - others).max() <= 1e-4
    assert np.abs(slots - other_slots).max() <= 1e-4


@pytest.mark.parametrize(
    "manner", [Manner(temperature=0.0), Manner(voice=1, temperature=0.8, seed=5)], ids=["likeliest", "drawn"]
)
def test_codes_of_the_shipped_weights(manner: Manner) -> None:
    by_torch, by_onnx = said(manner)
    assert len(np.unique(by_torch[:, 0])) > 10
    np.testing.assert_array_equal(by_torch, by_onnx)
