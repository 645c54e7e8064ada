"""The engine made of ONNX graphs, run by ONNX Runtime: on one core it takes about half of torch's time (``sottovoce bench``),
on disk a seventh.

Samples and mel are stepped frame by frame, so that cuts in time change no bit of a code. What is made of codes takes several
frames at once where a piece has them: weights are then read once for all, and the sound is the same but for rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sottovoce.models.config import VocosConfig
from sottovoce.models.onnx_codec import OnnxCodec, build_codec
from sottovoce.models.onnx_graph import Dtype
from sottovoce.models.spectral import NumpyInverseSTFT, NumpyLogMel
from sottovoce.models.weight_file import WEIGHTS, CheckpointError

from .batch_engine import BatchEngine, describe
from .engine import Kind
from .errors import WeightsError
from .onnx_step import Arrays, SteppedGraph
from .onnx_talk import OnnxTalk

MOST_FRAMES = 16  # that a step takes at once: hardly faster from there on, and what it computes with grows


class OnnxEngine(BatchEngine):
    """One codec for ``rows`` streams on the processor."""

    def __init__(
        self,
        preset: str = "base",
        rows: int = 1,
        threads: int = 1,
        weights: Path | None = None,
        dtype: Dtype = "float32",
        *,
        codec: OnnxCodec | None = None,
    ) -> None:
        """Builds the graphs and runs each once, so that the first frame is as quick as the others.

        Args:
            preset: which codec.
            rows: how many streams at once.
            threads: of each graph; one is best for single frames.
            weights: folder of the weight files; None: those of the package.
            dtype: of decoder and vocoder; the encoder is always float32, so that codes are everywhere the same.
            codec: one that is in memory already, in place of building ``preset``.

        Raises:
            WeightsError: the weights, of codec or vocoder, are missing, unreadable or do not fit.
        """
        if codec is None:
            try:
                codec = build_codec(preset, WEIGHTS if weights is None else weights, dtype)
            except CheckpointError as error:
                raise WeightsError(f"cannot load the weights of {preset}: {error}") from error
        shape = self._preset = codec.preset
        self._threads = threads
        super().__init__(describe(shape, codec.model_hash, shape.mel.n_fft // 2), rows)
        self._models: dict[Kind, _Model] = {
            "mel": _FrontEnd(NumpyLogMel(shape.mel), rows),
            "encode": _Encode(SteppedGraph(codec.encode, rows, threads), shape.mels_per_frame),
            "decode": _Decode(SteppedGraph(codec.decode, rows, threads, codec.decode_many), 1),
            "vocode": self._vocoder(SteppedGraph(codec.vocode, rows, threads, codec.vocode_many)),
        }
        self._warm_up()

    def _vocoder(self, graph: SteppedGraph) -> _Whole:
        shape = self._preset
        if not isinstance(shape.vocoder, VocosConfig):
            return _Whole(graph, shape.mels_per_frame)
        return _Vocos(graph, shape.mels_per_frame, NumpyInverseSTFT(shape.mel.hop), self.rows)

    @property
    def row_bytes(self) -> int:
        """What a stream keeps between two steps."""
        return sum(model.row_bytes for model in self._models.values())

    def make_talker(self, path: Path) -> OnnxTalk:
        """The talker of a weight file for this codec, with as many rows.

        Raises:
            CheckpointError: its weights are missing, unreadable or do not fit.
        """
        return OnnxTalk.load(path, self._preset, self._descriptor.model_hash, self.rows, self._threads)

    def _run(self, kind: Kind, rows: list[int], batch: NDArray[Any]) -> NDArray[Any]:
        model, length = self._models[kind], self._frame_length(kind)
        if batch.shape[1] == length:
            return model.step(rows, batch)
        most = length * model.most_frames
        pieces = [batch[:, at : at + most] for at in range(0, batch.shape[1], most)]
        return np.concatenate([model.step(rows, piece) for piece in pieces], axis=1)

    def _reset(self, row: int, kind: Kind) -> None:
        self._models[kind].reset(row)

    def _warm_up(self) -> None:
        shape = self._descriptor
        mel = np.zeros((1, shape.mels_per_frame, shape.n_mels), np.float32)
        frames: dict[Kind, NDArray[Any]] = {
            "mel": np.zeros((1, shape.frame_samples), np.float32),
            "encode": mel,
            "decode": np.zeros((1, 1, shape.books), np.int16),
            "vocode": mel,
        }
        for kind, frame in frames.items():
            for rows in ([0], list(range(self.rows))):
                self._run(kind, rows, np.repeat(frame, len(rows), axis=0))
            for row in range(self.rows):
                self._reset(row, kind)


class _Model(Protocol):
    """One kind of work for all rows."""

    @property
    def row_bytes(self) -> int: ...

    @property
    def most_frames(self) -> int: ...

    def reset(self, row: int) -> None: ...

    def step(self, rows: list[int], frames: NDArray[Any]) -> NDArray[Any]:
        """Code frames of ``rows``, at most `most_frames` each: [R, ...] -> [R, time, ...], an array of its own."""
        ...


class _FrontEnd:
    most_frames = 1

    def __init__(self, mel: NumpyLogMel, rows: int) -> None:
        self._mel, self._past = mel, mel.initial_state(rows)

    @property
    def row_bytes(self) -> int:
        return int(self._past[0].nbytes)

    def reset(self, row: int) -> None:
        self._past[row] = 0

    def step(self, rows: list[int], frame: NDArray[Any]) -> NDArray[Any]:
        mel, self._past[rows] = self._mel(frame, self._past[rows])
        return mel


class _Whole:
    """A graph that does all of it: HiFi-GAN."""

    def __init__(self, graph: SteppedGraph, length: int) -> None:
        """``length``: of a code frame, along the time axis of what it takes."""
        self._graph, self._length = graph, length

    @property
    def row_bytes(self) -> int:
        return self._graph.row_bytes

    @property
    def most_frames(self) -> int:
        return MOST_FRAMES if self._graph.takes_many else 1

    def reset(self, row: int) -> None:
        self._graph.reset(row)

    def step(self, rows: list[int], frames: NDArray[Any]) -> NDArray[Any]:
        return self._said(rows, frames)[0].copy()

    def _said(self, rows: list[int], frames: NDArray[Any]) -> Arrays:
        if frames.shape[1] > self._length:
            return self._graph.step_many(rows, frames)
        return self._graph.step(rows, frames)


class _Encode(_Whole):
    def step(self, rows: list[int], frames: NDArray[Any]) -> NDArray[Any]:
        return self._said(rows, frames)[0][:, None].astype(np.int16)


class _Decode(_Whole):
    def _said(self, rows: list[int], frames: NDArray[Any]) -> Arrays:
        return super()._said(rows, frames) if frames.shape[1] > 1 else self._graph.step(rows, frames[:, 0])


class _Vocos(_Whole):
    """The graph gives spectra, numpy makes sound of them."""

    def __init__(self, graph: SteppedGraph, length: int, inverse: NumpyInverseSTFT, rows: int) -> None:
        super().__init__(graph, length)
        self._inverse, self._owed = inverse, inverse.initial_state(rows)

    @property
    def row_bytes(self) -> int:
        return super().row_bytes + int(self._owed[0].nbytes)

    def reset(self, row: int) -> None:
        super().reset(row)
        self._owed[row] = 0

    def step(self, rows: list[int], frames: NDArray[Any]) -> NDArray[Any]:
        real, imaginary = self._said(rows, frames)
        spectrum = np.empty(real.shape, np.complex64)
        spectrum.real, spectrum.imag = real, imaginary
        pcm, self._owed[rows] = self._inverse(spectrum, self._owed[rows])
        return np.clip(pcm, -1, 1, out=pcm)
