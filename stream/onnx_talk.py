"""The talker's steps by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.models.config import Preset
from sottovoce.models.onnx_talker import OnnxTalker, build_talker
from sottovoce.models.sampling import gumbel
from sottovoce.models.talker_file import TalkerAbout

from .onnx_step import SteppedGraph, session
from .talk_engine import Draw


class OnnxTalk:
    """A `talk_engine.Talks` on the processor."""

    def __init__(self, talker: OnnxTalker, rows: int, threads: int = 1) -> None:
        """``threads``: of each graph."""
        self._config = talker.about.config
        self._about = talker.about
        self._clause = session(talker.clause, threads)
        self._frame = SteppedGraph(talker.frame, rows, threads)
        self._write = SteppedGraph(talker.write, rows, threads)
        self._previous = np.full((rows, self._config.books), self._config.start_code, np.int64)

    @classmethod
    def load(cls, path: Path, preset: Preset, model_hash: str, rows: int, threads: int) -> OnnxTalk:
        """From a weight file, for the codec of that preset and hash. Raises CheckpointError."""
        return cls(build_talker(path, preset, model_hash), rows, threads)

    @property
    def about(self) -> TalkerAbout:
        return self._about

    @property
    def row_bytes(self) -> int:
        return self._frame.row_bytes + int(self._previous[0].nbytes)

    def clause(self, symbols: NDArray[np.int64], voice: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        given: dict[str, Any] = {"symbols": symbols[None], "voice": np.array([voice])}
        encodings, slots = self._clause.run(["encodings", "slots"], given)
        return encodings[0], slots[0]

    def reset(self, row: int) -> None:
        self._previous[row] = self._config.start_code
        self._frame.reset(row)

    def step(
        self, rows: list[int], condition: NDArray[np.float32], voice: NDArray[np.int64], draw: Draw
    ) -> NDArray[np.int16]:
        (hidden,) = self._frame.step(rows, self._previous[rows], condition, voice)
        noise = gumbel(draw.uniform, draw.temperature[:, None, None])
        codes = self._write.step(rows, hidden, noise, draw.top_k)[0]
        self._previous[rows] = codes
        return codes.astype(np.int16)
