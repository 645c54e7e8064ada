"""The engine made of ONNX graphs, run by ONNX Runtime: on one core it takes six tenths of torch's time (``sottovoce bench``),
on disk a seventh.

Every piece is stepped frame by frame, so that cuts in time change no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from sottovoce.models.config import VocosConfig
from sottovoce.models.onnx_codec import OnnxCodec, build_codec
from sottovoce.models.spectral import NumpyInverseSTFT, NumpyLogMel
from sottovoce.models.weight_file import WEIGHTS, CheckpointError

from .batch_engine import BatchEngine, describe
from .engine import Kind
from .errors import WeightsError

Arrays = list[NDArray[Any]]
Step = Callable[[NDArray[Any], Arrays], tuple[NDArray[Any], Arrays]]
"""One code frame of every row: data [R, ...] and states, each [R, ...] -> the answer and the next states."""


ort.disable_telemetry_events()  # builds for Windows send some


class OnnxEngine(BatchEngine):
    """One codec for ``rows`` streams on the processor, in float32."""

    def __init__(
        self,
        preset: str = "base",
        rows: int = 1,
        threads: int = 1,
        weights: Path | None = None,
        *,
        codec: OnnxCodec | None = None,
    ) -> None:
        """Builds the graphs and runs each once, so that the first frame is as quick as the others.

        Args:
            preset: which codec.
            rows: how many streams at once.
            threads: of each graph; one is best for single frames.
            weights: folder of the weight files; None: those of the package.
            codec: one that is in memory already, in place of building ``preset``.

        Raises:
            WeightsError: the weights, of codec or vocoder, are missing, unreadable or do not fit.
        """
        if codec is None:
            try:
                codec = build_codec(preset, WEIGHTS if weights is None else weights)
            except CheckpointError as error:
                raise WeightsError(f"cannot load the weights of {preset}: {error}") from error
        shape = codec.preset
        super().__init__(describe(shape, codec.model_hash, shape.mel.n_fft // 2), rows)
        self._models: dict[Kind, _Model] = {
            "mel": _front_end(NumpyLogMel(shape.mel)),
            "encode": _graph(codec.encode, threads),
            "decode": _graph(codec.decode, threads),
            "vocode": _graph(codec.vocode, threads),
        }
        if isinstance(shape.vocoder, VocosConfig):
            self._models["vocode"] = _spectra_to_sound(self._models["vocode"], NumpyInverseSTFT(shape.mel.hop))
        self._states = {kind: [np.stack([part] * rows) for part in m.fresh] for kind, m in self._models.items()}
        self._warm_up()

    def _run(self, kind: Kind, rows: list[int], batch: NDArray[Any]) -> NDArray[Any]:
        everybody = rows == list(range(self.rows))  # no need to copy states out and in
        states = self._states[kind] if everybody else [part[rows] for part in self._states[kind]]
        step, answers = self._models[kind].step, []
        for frame in np.split(batch, batch.shape[1] // self._frame_length(kind), axis=1):
            answer, states = step(frame, states)
            answers.append(answer)
        if everybody:
            self._states[kind] = states
        else:
            for whole, part in zip(self._states[kind], states, strict=True):
                whole[rows] = part
        return answers[0] if len(answers) == 1 else np.concatenate(answers, axis=1)

    def _frame_length(self, kind: Kind) -> int:
        """Along the time axis of what ``kind`` takes, for one code frame."""
        if kind == "mel":
            return self._descriptor.frame_samples
        return 1 if kind == "decode" else self._descriptor.mels_per_frame

    def _reset(self, row: int, kind: Kind) -> None:
        for whole, fresh in zip(self._states[kind], self._models[kind].fresh, strict=True):
            whole[row] = fresh

    def _warm_up(self) -> None:
        shape = self._descriptor
        mel = np.zeros((1, shape.mels_per_frame, shape.n_mels), np.float32)
        frames: dict[Kind, NDArray[Any]] = {
            "mel": np.zeros((1, shape.frame_samples), np.float32),
            "encode": mel,
            "decode": np.zeros((1, 1, shape.books), np.int16),
            "vocode": mel,
        }
        for kind, model in self._models.items():
            model.step(frames[kind], [part[None] for part in model.fresh])


class _Model:
    """A step, and the states before the first one, without the axis of rows."""

    def __init__(self, step: Step, fresh: Arrays) -> None:
        self.step, self.fresh = step, fresh


def _front_end(mel: NumpyLogMel) -> _Model:
    def step(pcm: NDArray[Any], states: Arrays) -> tuple[NDArray[Any], Arrays]:
        answer, past = mel(pcm, states[0])
        return answer, [past]

    return _Model(step, [mel.initial_state(1)[0]])


def _graph(graph: onnx.ModelProto, threads: int) -> _Model:
    """A graph whose other outputs than states are joined along the last axis."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the core between two frames
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (data, *pasts), outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
    names = [past.name for past in pasts]
    plain = [name for name in outputs if not name.startswith("next")]
    wanted = plain + [name.replace("past", "next") for name in names]
    coded, codes_out = "int64" in data.type, plain == ["codes"]

    def step(frame: NDArray[Any], states: Arrays) -> tuple[NDArray[Any], Arrays]:
        if coded:
            frame = frame[:, 0].astype(np.int64)
        answers = session.run(wanted, {data.name: frame, **dict(zip(names, states, strict=True))})
        said, following = answers[: len(plain)], answers[len(plain) :]
        if codes_out:
            return said[0][:, None].astype(np.int16), following
        return said[0] if len(said) == 1 else said[0] + 1j * said[1], following

    return _Model(step, [np.zeros(past.shape[1:], np.float32) for past in pasts])


def _spectra_to_sound(spectra: _Model, inverse: NumpyInverseSTFT) -> _Model:
    """Vocos: the graph gives spectra, numpy makes sound of them."""

    def step(mel: NDArray[Any], states: Arrays) -> tuple[NDArray[Any], Arrays]:
        spectrum, following = spectra.step(mel, states[:-1])
        pcm, owed = inverse(spectrum, states[-1])
        return pcm.clip(-1, 1), [*following, owed]

    return _Model(step, [*spectra.fresh, inverse.initial_state(1)[0]])
