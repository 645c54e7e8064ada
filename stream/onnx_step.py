"""An ONNX graph that steps streams: its states stay where they are from step to step.

Inputs, outputs and states of a step lie in arrays that were made when a batch of that many rows first came. A state is written
over itself where the graph says that it can be; of others there are two, before and after a step, that change places. So
nothing is copied and nothing is allocated, where all rows step, or one.
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
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


class SteppedGraph:
    """A graph of ``onnx_graph.py`` for ``rows`` streams; states are its inputs ``past...`` and outputs ``next...``."""

    def __init__(self, graph: onnx.ModelProto, rows: int, threads: int) -> None:
        self._session = session(graph, threads)
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
        alone = len(rows) == 1
        key = (len(rows), rows[0] if alone and everybody.kept else 0)
        if key not in self._some:
            own = [state[rows[0] : rows[0] + 1] for state in everybody.kept] if alone else None
            self._some[key] = _Batch(
                self._session, {name: array[: len(rows)] for name, array in self._spare.items()}, own
            )
        batch = self._some[key]
        wholes = everybody.states if alone else everybody.states + everybody.kept
        for whole, part in zip(wholes, batch.states if alone else batch.states + batch.kept, strict=True):
            np.take(whole, rows, axis=0, out=part, mode="clip")  # another mode would copy once more
        outputs = batch.run(inputs)
        for whole, part in zip(wholes, batch.states if alone else batch.states + batch.kept, strict=True):
            whole[rows] = part
        return outputs


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
