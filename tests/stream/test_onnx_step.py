"""Stepping a graph in place says what running it plainly says, whichever rows step."""

import tracemalloc

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from sottovoce.models.config import TINY
from sottovoce.models.onnx_graph import IN_PLACE
from sottovoce.stream.engine import Kind, Work
from sottovoce.stream.onnx_engine import MOST_FRAMES, OnnxEngine
from sottovoce.stream.onnx_step import SteppedGraph
from support.tiny_talk import graphs

ROWS = 4


class Plain:
    """One stream of a graph by itself, states handed from call to call."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        self._session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        pasts = [one for one in self._session.get_inputs() if one.name.startswith("past")]
        self._states = {past.name: np.zeros([1, *past.shape[1:]], np.float32) for past in pasts}
        self._plain = [one.name for one in self._session.get_inputs() if not one.name.startswith("past")]

    def step(self, *inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        names = [one.name for one in self._session.get_outputs()]
        feeds = dict(zip(self._plain, inputs, strict=True)) | self._states
        answers = dict(zip(names, self._session.run(names, feeds), strict=True))
        self._states = {name: answers[name.replace("past", "next")] for name in self._states}
        found: NDArray[np.generic] = next(answers[name] for name in names if not name.startswith("next"))
        return found


def inputs_of(name: str, chance: np.random.Generator) -> list[NDArray[np.generic]]:
    if name == "decode":
        return [chance.integers(-1, TINY.book_size, (1, TINY.books))]
    if name == "frame":
        config = graphs()[1].about.config
        told = chance.standard_normal((1, config.mels_per_frame, config.condition_width), np.float32)
        return [chance.integers(0, config.book_size, (1, config.books)), told, chance.integers(0, 2, 1)]
    return [chance.standard_normal((1, TINY.mels_per_frame, TINY.n_mels), np.float32) - 6]


def graph_of(name: str) -> onnx.ModelProto:
    codec, talker = graphs()
    found = talker.frame if name == "frame" else getattr(codec, name)
    assert isinstance(found, onnx.ModelProto)
    return found


@pytest.mark.parametrize("name", ["encode", "decode", "vocode", "frame"])
def test_any_rows_say_what_they_say_alone(name: str) -> None:
    """One row, some, all in order and in another, and a row that begins again; three windows of the talker."""
    graph, chance = graph_of(name), np.random.default_rng(3)
    stepped, alone = SteppedGraph(graph, ROWS, 1), [Plain(graph) for _ in range(ROWS)]
    sizes = set()
    for turn in range(40):
        rows = [int(row) for row in chance.permutation(ROWS)[: chance.integers(1, ROWS + 1)]]
        if turn % 5 == 0:
            rows = list(range(ROWS))
        if turn % 11 == 10:
            stepped.reset(rows[0])
            alone[rows[0]] = Plain(graph)
        given = [inputs_of(name, chance) for _ in rows]
        said = stepped.step(rows, *(np.concatenate(parts) for parts in zip(*given, strict=True)))[0]
        for i, row in enumerate(rows):
            expected = alone[row].step(*given[i])[0]
            assert np.abs(said[i] - expected).max() <= 1e-5
        sizes.add(len(rows))
    assert sizes == {1, 2, 3, 4}


@pytest.mark.parametrize("kind", ["decode", "vocode"])
def test_many_frames_at_once_say_what_single_ones_say(kind: Kind) -> None:
    """Pieces of any length, more than a step takes too, of some rows, in any order, beside rows that begin again."""
    at_once, singly = (OnnxEngine(rows=3, codec=graphs()[0]) for _ in range(2))
    for engine in (at_once, singly):
        assert [engine.open() for _ in range(3)] == [0, 1, 2]
    chance, unit = np.random.default_rng(5), 1 if kind == "decode" else TINY.mels_per_frame
    for n in (2, 1, 3, 2 * MOST_FRAMES + 1, 5, MOST_FRAMES, 1, 2):
        rows = [int(row) for row in chance.permutation(3)[: chance.integers(1, 4)]]
        fresh = bool(chance.random() < 0.3)
        codes = chance.integers(0, TINY.book_size, (3, n, TINY.books)).astype(np.int16)
        mel = chance.standard_normal((3, n * unit, TINY.n_mels), np.float32) - 6
        data = codes if kind == "decode" else mel
        said = at_once.step([Work(row, kind, data[row], 0.0, fresh=fresh) for row in rows])
        for row, answer in zip(rows, said, strict=True):
            pieces = np.split(data[row], n)
            one_by_one = [
                singly.step([Work(row, kind, piece, 0.0, fresh=fresh and i == 0)])[0] for i, piece in enumerate(pieces)
            ]
            expected = np.concatenate(one_by_one)
            assert np.abs(answer - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_rings_are_the_states_that_are_written_over_themselves() -> None:
    codec, talker = graphs()
    names = {prop.key: prop.value for prop in talker.frame.metadata_props}[IN_PLACE].split()
    assert len(names) == 2 * talker.about.config.layers
    for graph, in_place in ((talker.frame, names), (codec.vocode, [])):
        states = [one for one in graph.graph.input if one.name.startswith("past")]
        sizes = {
            one.name: 4 * int(np.prod([d.dim_value for d in one.type.tensor_type.shape.dim[1:]])) for one in states
        }
        expected = sum(size * (1 if name in in_place else 2) for name, size in sizes.items())
        assert SteppedGraph(graph, 2, 1).row_bytes == expected


def test_steps_of_a_known_size_allocate_nothing() -> None:
    stepped, codes = SteppedGraph(graph_of("decode"), ROWS, 1), np.zeros((ROWS, TINY.books), np.int64)
    rows = list(range(ROWS))
    for _ in range(5):
        stepped.step(rows, codes)
    tracemalloc.start()
    stepped.step(rows, codes)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(50):
        stepped.step(rows, codes)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.reset_peak()
    now = tracemalloc.get_traced_memory()[0]
    stepped.step(rows, codes)
    most = tracemalloc.get_traced_memory()[1] - now
    tracemalloc.stop()
    assert kept < 50 * 100  # what the tracing itself keeps, and no array
    assert most < ROWS * TINY.mels_per_frame * TINY.n_mels * 4  # less than one answer: no array was made


def test_batches_of_every_size_lie_in_the_same_memory() -> None:
    """Kept for each size by itself they would grow with the square of the rows."""
    stepped, codes = SteppedGraph(graph_of("decode"), 64, 1), np.zeros((64, TINY.books), np.int64)
    tracemalloc.start()
    for count in range(1, 64):
        stepped.step(list(range(count)), codes[:count])
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 4 * 64 * stepped.row_bytes  # of each size by itself it would be 32 times so much
