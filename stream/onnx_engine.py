"""The engine made of ONNX graphs, run by ONNX Runtime: on one core it takes about half of torch's time (``sottovoce bench``),
on disk a seventh.

Every piece is stepped frame by frame, so that cuts in time change no bit.
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
from .onnx_step import SteppedGraph
from .onnx_talk import OnnxTalk


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
        vocode = SteppedGraph(codec.vocode, rows, threads)
        self._models: dict[Kind, _Model] = {
            "mel": _FrontEnd(NumpyLogMel(shape.mel), rows),
            "encode": _Encode(SteppedGraph(codec.encode, rows, threads)),
            "decode": _Decode(SteppedGraph(codec.decode, rows, threads)),
            "vocode": _Vocos(vocode, NumpyInverseSTFT(shape.mel.hop), rows)
            if isinstance(shape.vocoder, VocosConfig)
            else _Whole(vocode),
        }
        self._warm_up()

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
        frames = np.split(batch, batch.shape[1] // length, axis=1)
        return np.concatenate([model.step(rows, frame) for frame in frames], axis=1)

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

    def reset(self, row: int) -> None: ...

    def step(self, rows: list[int], frame: NDArray[Any]) -> NDArray[Any]:
        """One code frame of ``rows``: [R, ...] -> [R, time, ...], an array of its own."""
        ...


class _FrontEnd:
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

    def __init__(self, graph: SteppedGraph) -> None:
        self._graph = graph

    @property
    def row_bytes(self) -> int:
        return self._graph.row_bytes

    def reset(self, row: int) -> None:
        self._graph.reset(row)

    def step(self, rows: list[int], frame: NDArray[Any]) -> NDArray[Any]:
        return self._graph.step(rows, frame)[0].copy()


class _Encode(_Whole):
    def step(self, rows: list[int], frame: NDArray[Any]) -> NDArray[Any]:
        return self._graph.step(rows, frame)[0][:, None].astype(np.int16)


class _Decode(_Whole):
    def step(self, rows: list[int], frame: NDArray[Any]) -> NDArray[Any]:
        return super().step(rows, frame[:, 0])


class _Vocos(_Whole):
    """The graph gives spectra, numpy makes sound of them."""

    def __init__(self, graph: SteppedGraph, inverse: NumpyInverseSTFT, rows: int) -> None:
        super().__init__(graph)
        self._inverse, self._owed = inverse, inverse.initial_state(rows)

    @property
    def row_bytes(self) -> int:
        return super().row_bytes + int(self._owed[0].nbytes)

    def reset(self, row: int) -> None:
        super().reset(row)
        self._owed[row] = 0

    def step(self, rows: list[int], frame: NDArray[Any]) -> NDArray[Any]:
        real, imaginary = self._graph.step(rows, frame)
        spectrum = np.empty(real.shape, np.complex64)
        spectrum.real, spectrum.imag = real, imaginary
        pcm, self._owed[rows] = self._inverse(spectrum, self._owed[rows])
        return np.clip(pcm, -1, 1, out=pcm)
