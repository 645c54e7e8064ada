"""The engine made of torch modules; the only file here that knows torch.

All rows of a kind share one state tree whose first axis is the row. A step picks out the rows that have work,
runs them as one batch and writes their states back: rows come and go without touching their neighbours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.models.capture import Step, capture
from sottovoce.models.checkpoint import load_codec
from sottovoce.models.codec import Codec
from sottovoce.models.streaming import State, Streaming, select_rows, write_rows
from sottovoce.models.weight_file import WEIGHTS, CheckpointError

from .batch_engine import BatchEngine, describe
from .engine import Kind
from .errors import WeightsError


class TorchEngine(BatchEngine):
    """One codec for ``rows`` streams on the CPU, in float32."""

    def __init__(
        self,
        preset: str = "base",
        rows: int = 1,
        threads: int = 1,
        vocoder: Literal["neural", "griffin-lim"] | None = None,
        weights: Path | None = None,
        *,
        codec: Codec | None = None,
    ) -> None:
        """Loads the weights and runs every model once, so that the first frame is as quick as the others.

        Args:
            preset: which codec.
            rows: how many streams at once.
            threads: of torch, for the whole process; one is best for single frames.
            vocoder: None takes the neural one where its weights are there.
            weights: folder of the weight files; None: those of the package.
            codec: one that is in memory already, in place of loading ``preset``.

        Raises:
            WeightsError: the weights are missing, unreadable or do not fit.
        """
        if codec is None:
            try:
                codec = load_codec(preset, WEIGHTS if weights is None else weights, vocoder)
            except CheckpointError as error:
                raise WeightsError(f"cannot load the weights of {preset}: {error}") from error
        torch.set_num_threads(threads)
        self._models: dict[Kind, Streaming] = {
            "mel": codec.mel,
            "encode": codec.encoder,
            "decode": codec.decoder,
            "vocode": codec.vocoder,
        }
        super().__init__(describe(codec.preset, codec.model_hash, codec.delay), rows)
        with torch.inference_mode():
            self._fresh: dict[Kind, State] = {kind: m.initial_state(1) for kind, m in self._models.items()}
            self._states: dict[Kind, State] = {kind: m.initial_state(rows) for kind, m in self._models.items()}
        self._captured: dict[tuple[Kind, tuple[int, ...]], Step] = {}
        self._warm_up()

    @torch.inference_mode()
    def _run(self, kind: Kind, rows: list[int], data: NDArray[Any]) -> NDArray[Any]:
        batch = torch.from_numpy(data)
        if kind == "decode":
            batch = batch.long()
        elif kind != "mel":
            batch = batch.transpose(1, 2).contiguous()  # [R, M, t], as models want it
        whole = self._states[kind]
        if rows == list(range(self.rows)):  # everybody: no need to copy states out and in
            answer, self._states[kind] = self._model(kind, batch)(batch, whole)
        else:
            chosen = torch.tensor(rows)
            answer, part = self._model(kind, batch)(batch, select_rows(whole, chosen))
            write_rows(whole, chosen, part)
        if kind in ("mel", "decode"):
            answer = answer.transpose(1, 2)  # [R, t, M]
        elif kind == "encode":
            answer = answer.to(torch.int16)
        result: NDArray[Any] = answer.contiguous().numpy()
        return result

    def _model(self, kind: Kind, batch: Tensor) -> Step:
        """The captured graph where there is one for this shape, else the model itself: both say the same."""
        return self._captured.get((kind, tuple(batch.shape)), self._models[kind])

    @torch.inference_mode()
    def _reset(self, row: int, kind: Kind) -> None:
        write_rows(self._states[kind], torch.tensor([row]), self._fresh[kind])

    @torch.inference_mode()
    def _warm_up(self) -> None:
        """The first call of a model allocates and chooses kernels; nobody should wait for that.

        Captures the step that almost every call is: one row, one frame.
        """
        shape = self._descriptor
        frame = {
            "mel": torch.zeros(1, shape.frame_samples),
            "encode": torch.zeros(1, shape.n_mels, shape.mels_per_frame),
            "decode": torch.zeros(1, 1, shape.books, dtype=torch.int64),
            "vocode": torch.zeros(1, shape.n_mels, shape.mels_per_frame),
        }
        for kind, model in self._models.items():
            model(frame[kind], self._fresh[kind])
            self._captured[kind, tuple(frame[kind].shape)] = capture(model, frame[kind], self._fresh[kind])
