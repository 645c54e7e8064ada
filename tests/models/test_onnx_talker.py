"""The talker's ONNX graphs say what the torch modules say: the same logits, and from them the same codes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from sottovoce.models.alignment import conditions, round_slots
from sottovoce.models.onnx_graph import Weights
from sottovoce.models.onnx_talker import clause_graph, frame_graph, write_graph
from sottovoce.models.sampling import Noise, Sampling
from sottovoce.models.speaking import speak
from sottovoce.models.symbols import SYMBOLS, ids
from sottovoce.models.talker import Talker
from sottovoce.models.talker_config import TALKER_REFERENCE, TALKER_TINY, TALKERS
from sottovoce.models.weight_file import CheckpointError

HERE = Path("weights of this test")
KINDS = {
    "depth model": TALKER_TINY,
    "two heads": dataclasses.replace(TALKER_REFERENCE, width=32, layers=2, heads=2, window=6, book_size=20),
    "a frame of three books, one head": dataclasses.replace(TALKER_TINY, books=3, heads=1, encoder_heads=1, layers=1),
}
TEXT = "hˈI ðˈɛɹ, sˈɛvən wˈɜdz!"


def stirred(talker: Talker) -> Talker:
    """Weights that leave nothing at zero or one, where a mistake would not show."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in talker.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return talker.eval().requires_grad_(False)


@pytest.fixture(params=KINDS, ids=KINDS)
def talker(request: pytest.FixtureRequest) -> Talker:
    torch.manual_seed(2)
    return stirred(Talker(KINDS[request.param]))


class Session:
    """A graph that remembers its states."""

    def __init__(self, graph: onnx.ModelProto, rows: int = 1) -> None:
        onnx.checker.check_model(graph, full_check=True)
        self._session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        pasts = [one for one in self._session.get_inputs() if one.name.startswith("past")]
        self.states = {past.name: np.zeros([rows, *past.shape[1:]], np.float32) for past in pasts}

    def __call__(self, **inputs: Any) -> list[NDArray[Any]]:
        names = [output.name for output in self._session.get_outputs()]
        answers = dict(zip(names, self._session.run(names, {**inputs, **self.states}), strict=True))
        self.states = {name: answers.pop(name.replace("past", "next")) for name in self.states}
        return list(answers.values())


def graphs(talker: Talker, rows: int = 1) -> tuple[Session, Session, Session]:
    weights = Weights(HERE, {key: value.numpy() for key, value in talker.state_dict().items()})
    made = [Session(make(talker.config, weights), rows) for make in (clause_graph, frame_graph, write_graph)]
    weights.check_all_used()
    return made[0], made[1], made[2]


def test_encodings_and_durations(talker: Talker) -> None:
    clause, _, _ = graphs(talker)
    for symbols in (np.stack([ids(TEXT), ids(TEXT)[::-1]]), ids("A")[None]):
        voice = np.arange(len(symbols))
        encodings, slots = clause(symbols=symbols, voice=voice)
        expected = talker.clause(torch.from_numpy(symbols.copy()), torch.from_numpy(voice))
        assert np.abs(encodings - expected[0].numpy()).max() <= 1e-4
        assert np.abs(slots - expected[1].numpy()).max() <= 1e-4 * max(1, np.abs(slots).max())


def test_frames_and_books_of_rows_side_by_side(talker: Talker) -> None:
    """Three times the window, so that the ring turns; each row with its own codes, voice, noise and top-k."""
    config, rows = talker.config, 3
    _, frame, write = graphs(talker, rows)
    torch.manual_seed(4)
    voice, top_k = torch.tensor([0, 1, 1]), torch.tensor([1, 7, 1000])
    codes, state = talker.start_frame(rows), talker.initial_state(rows)
    moved = 0.0
    for _ in range(3 * config.window):
        condition = torch.randn(rows, config.mels_per_frame, config.condition_width)
        (said,) = frame(previous=codes.numpy(), condition=condition.numpy(), voice=voice.numpy())
        hidden, state = talker.step(codes, condition, voice, state)
        assert np.abs(said - hidden.numpy()).max() <= 1e-4
        noise = torch.randn(rows, config.books, config.book_size)
        chosen, logits = write(hidden=hidden.numpy(), noise=noise.numpy(), top_k=top_k.numpy())
        codes, expected = talker.write(hidden, noise, top_k)
        assert np.abs(logits - expected.numpy()).max() <= 1e-4 * float(expected.abs().max())
        assert np.array_equal(chosen, codes.numpy())
        moved += float(hidden.abs().mean())
    assert moved > 1


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(1.0, 10, seed=5), Sampling(0.7, 64, seed=6)])
def test_a_clause_is_spoken_with_the_same_codes(talker: Talker, sampling: Sampling) -> None:
    config, symbols, voice = talker.config, ids(TEXT), np.array([1])
    expected, expected_slots = speak(talker, symbols, 1, sampling, speed=0.5)
    clause, frame, write = graphs(talker)
    encodings, durations = clause(symbols=symbols[None], voice=voice)
    slots = round_slots(durations[0], symbols, config.mels_per_frame, 0.5)
    assert slots.tolist() == expected_slots.tolist()
    noise, top_k = Noise(sampling, config.books, config.book_size), np.array([sampling.top_k])
    codes, said = np.full((1, config.books), config.start_code), []
    for condition in conditions(encodings[0], slots, config.mels_per_frame):
        (hidden,) = frame(previous=codes, condition=condition[None], voice=voice)
        codes, _ = write(hidden=hidden, noise=noise.next()[None], top_k=top_k)
        said.append(codes[0])
    assert len(said) > 5
    assert np.array_equal(np.stack(said), expected)


def test_the_state_of_base_is_bounded() -> None:
    """What a stream keeps: a ring of keys and values a layer and how many steps there were; under 2 MB."""
    config = TALKERS["base"]
    graph = frame_graph(
        config, Weights(HERE, {key: value.numpy() for key, value in Talker(config).state_dict().items()})
    )
    pasts = [one.type.tensor_type.shape.dim for one in graph.graph.input if one.name.startswith("past")]
    sizes = [int(np.prod([size.dim_value for size in dims[1:]])) for dims in pasts]
    assert sizes == [1] + [(config.window + 1) * config.width] * 2 * config.layers
    assert sum(sizes) * 4 <= 2_000_000


def test_weights_of_another_shape_are_named() -> None:
    tensors = {key: value.numpy() for key, value in Talker(TALKER_TINY).state_dict().items()}
    other = dataclasses.replace(TALKER_TINY, symbols=len(SYMBOLS) - 1)
    with pytest.raises(CheckpointError, match=r"wrong shape of encoder\.symbols"):
        clause_graph(other, Weights(HERE, tensors))
    del tensors["depth.heads"]
    with pytest.raises(CheckpointError, match=r"missing depth\.heads"):
        write_graph(TALKER_TINY, Weights(HERE, tensors))
