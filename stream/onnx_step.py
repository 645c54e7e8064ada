"""An ONNX graph that steps streams: its states stay where they are from step to step.

Inputs, outputs and states of a step lie in arrays that were made when a batch of that many rows first came. A state is written
over itself where the graph says that it can be, and is not copied where all rows step, or such as lie beside each other; of
others there are two, before and after a step, that change places. Only steps of many frames at once allocate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from sottovoce.models.onnx_graph import IN_PLACE

Arrays = list[NDArray[Any]]

ort.disable_telemetry_events()  # builds for Windows send some

_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


def session(graph: onnx.ModelProto, threads: int) -> ort.InferenceSession:
    """What runs ``graph`` on the processor."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the core between two frames
    slow = ["SkipLayerNormFusion"]  # for 32 frames of 256 channels 62 us; an addition and a layer norm take 15
    model = graph.SerializeToString()
    runs = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=slow)
    runs.disable_fallback()
    runs._model_bytes = None  # it keeps them to begin again with, weights and all, which are packed elsewhere by now
    return runs


class SteppedGraph:
    """A graph of ``onnx_graph.py`` for ``rows`` streams; states are its inputs ``past...`` and outputs ``next...``."""

    def __init__(self, graph: onnx.ModelProto, rows: int, threads: int, many: onnx.ModelProto | None = None) -> None:
        """``many``: the same for any number of frames, with the same states, none of them in place."""
        self._session = session(graph, threads)
        self._many = None if many is None else session(many, threads)
        self._everybody, self._order = _Batch(self._session, _arrays(self._session, rows)), list(range(rows))
        self._spare = _arrays(self._session, rows)  # in which every smaller batch lies, one at a time
        self._some: dict[tuple[int, int], _Batch] = {}

    @property
    def inputs(self) -> list[str]:
        """Names, without the states."""
        return list(self._everybody.inputs)

    @property
    def outputs(self) -> list[str]:
        """Names, without the states."""
        return list(self._everybody.outputs)

    @property
    def row_bytes(self) -> int:
        """Of the states of a row, before and after a step."""
        return 2 * _row_bytes(self._everybody.states) + _row_bytes(self._everybody.kept)

    def reset(self, row: int) -> None:
        """Silence, as before the first step."""
        for state in self._everybody.states + self._everybody.kept:
            state[row] = 0

    def step(self, rows: list[int], *inputs: NDArray[Any]) -> Arrays:
        """One step of ``rows``, all different: inputs and outputs [R, ...]. The outputs are good until the next step."""
        everybody = self._everybody
        if rows == self._order:
            return everybody.run(inputs)
        ordered = sorted(rows)
        if rows != ordered:  # what they are given and what they say is moved, which is little, and not what they know
            back = np.argsort(rows)
            outputs = self.step(ordered, *(value[back] for value in inputs))
            place = np.argsort(back)
            return [output[place] for output in outputs]
        first, n = rows[0], len(rows)
        beside = bool(everybody.kept) and rows == self._order[first : first + n]  # can be stepped where they lie
        key = (n, first if beside else -1)
        batch = self._some.pop(key, None)
        if batch is None:
            own = [state[first : first + n] for state in everybody.kept] if beside else None
            batch = _Batch(self._session, {name: array[:n] for name, array in self._spare.items()}, own)
        self._some[key] = batch  # as the latest
        if len(self._some) > 2 * len(self._order):
            del self._some[next(iter(self._some))]
        wholes = everybody.states if beside else everybody.states + everybody.kept
        for whole, part in zip(wholes, batch.states if beside else batch.states + batch.kept, strict=True):
            np.take(whole, rows, axis=0, out=part, mode="clip")  # another mode would copy once more
        outputs = batch.run(inputs)
        for whole, part in zip(wholes, batch.states if beside else batch.states + batch.kept, strict=True):
            whole[rows] = part
        return outputs

    @property
    def takes_many(self) -> bool:
        """Whether `step_many` has a graph."""
        return self._many is not None

    def step_many(self, rows: list[int], *inputs: NDArray[Any]) -> Arrays:
        """Several frames of ``rows`` at once: inputs and outputs [R, time, ...], all new."""
        many, states = self._many, self._everybody.states
        assert many is not None
        taken, n_outputs = many.get_inputs(), len(self.outputs)
        fed = zip(taken, [*inputs, *(state[rows] for state in states)], strict=True)
        feeds = {one.name: value.astype(_TYPES[one.type], copy=False) for one, value in fed}
        pasts = [one.name for one in taken[len(inputs) :]]
        answers = many.run([*self.outputs, *map(_next, pasts)], feeds)
        for state, following in zip(states, answers[n_outputs:], strict=True):
            state[rows] = following
        return list(answers[:n_outputs])


class _Batch:
    """The arrays of a step of ``count`` rows.

    Attributes:
        states: those that the next step begins with, of two sets.
        kept: those that are written over themselves; arrays of another batch, or new ones.
    """

    def __init__(self, runs: ort.InferenceSession, arrays: dict[str, NDArray[Any]], kept: Arrays | None = None) -> None:
        self._session = runs
        self.inputs = {one.name: arrays[one.name] for one in runs.get_inputs() if not one.name.startswith("past")}
        self.outputs = {one.name: arrays[one.name] for one in runs.get_outputs() if not one.name.startswith("next")}
        in_place = runs.get_modelmeta().custom_metadata_map.get(IN_PLACE, "").split()
        pasts = [one.name for one in runs.get_inputs() if one.name.startswith("past") and one.name not in in_place]
        self.states, self._others = [arrays[name] for name in pasts], [arrays[_next(name)] for name in pasts]
        self.kept = [arrays[name] for name in in_place] if kept is None else kept
        over = dict(zip(in_place, self.kept, strict=True))
        self._bindings = [
            self._bind(over | dict(zip(pasts, before, strict=True)), over | dict(zip(pasts, after, strict=True)))
            for before, after in ((self.states, self._others), (self._others, self.states))
        ]

    def _bind(self, before: dict[str, NDArray[Any]], after: dict[str, NDArray[Any]]) -> Any:
        binding = self._session.io_binding()
        for name, place in (self.inputs | before).items():
            binding.bind_input(name, "cpu", 0, place.dtype, place.shape, place.ctypes.data)
        for name, place in (self.outputs | {_next(name): place for name, place in after.items()}).items():
            binding.bind_output(name, "cpu", 0, place.dtype, place.shape, place.ctypes.data)
        return binding

    def run(self, inputs: Sequence[NDArray[Any]]) -> Arrays:
        """From ``inputs`` and the states to the outputs and the states."""
        for place, value in zip(self.inputs.values(), inputs, strict=True):
            np.copyto(place, value)
        self._session.run_with_iobinding(self._bindings[0])
        self._bindings.reverse()
        self.states, self._others = self._others, self.states
        return list(self.outputs.values())


def _row_bytes(states: Arrays) -> int:
    return sum(int(state[0].nbytes) for state in states)


def _next(past: str) -> str:
    return past.replace("past", "next")


def _arrays(runs: ort.InferenceSession, count: int) -> dict[str, NDArray[Any]]:
    return {one.name: _zeros(one, count) for one in (*runs.get_inputs(), *runs.get_outputs())}


def _zeros(one: Any, count: int) -> NDArray[Any]:
    return np.zeros((count, *one.shape[1:]), _TYPES[one.type])
