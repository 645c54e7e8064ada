"""The talker's steps by torch: its rows stay on the device, as those of the codec (``torch_engine.py``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.models.checkpoint import load_talker
from sottovoce.models.config import Preset
from sottovoce.models.fixed_step import FixedStep, FixedSteps, Record
from sottovoce.models.frame_transformer import FrameState
from sottovoce.models.resident import Resident
from sottovoce.models.talker import Talker
from sottovoce.models.talker_file import TalkerAbout

from .talk_engine import Draw

Told = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Condition [R, S, D + 2], voice int64 [R], uniform [R, Q, V], temperature [R] and top-k int64 [R]."""
State = tuple[Tensor, FrameState]
"""Codes of the frame before, int64 [R, Q], and what the transformer keeps."""

LENGTHS = (32, 64, 128, 320)
"""Of clauses that are read in a step of fixed shape, filled up; longer ones are read as long as they are."""


class TorchTalk:
    """A `talk_engine.Talks` on the processor or a GPU, in float32."""

    def __init__(
        self, talker: Talker, about: TalkerAbout, rows: int, device: torch.device, record: Record | None = None
    ) -> None:
        """Moves ``talker`` to ``device``. ``record``: of steps of fixed shapes; None: each step has the rows that it has."""
        self._talker, self._about, self._device = talker.to(device), about, device
        with torch.inference_mode():
            # What is recorded cannot look how many codes its rows choose among.
            most = None if record is None else about.config.book_size
            self._resident = Resident(_Frame(self._talker, most), rows)
            self._fixed: FixedSteps | None = None
            self._clauses: dict[int, FixedStep] = {}
            if record is not None:
                self._fixed = FixedSteps(self._resident, lambda n: self._nothing(), record)
                self._fixed.warm_up((1,))
                self._clauses = {length: self._clause_step(length, record) for length in reversed(LENGTHS)}

    @classmethod
    def load(
        cls, path: Path, preset: Preset, model_hash: str, rows: int, device: torch.device, record: Record | None
    ) -> TorchTalk:
        """From a weight file, for the codec of that preset and hash. Raises CheckpointError."""
        return cls(*load_talker(path, preset, model_hash), rows, device, record)

    @property
    def about(self) -> TalkerAbout:
        return self._about

    @property
    def row_bytes(self) -> int:
        return self._resident.row_bytes

    @torch.inference_mode()
    def clause(self, symbols: NDArray[np.int64], voice: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        n, who = len(symbols), np.array([voice])
        length = min((length for length in self._clauses if length >= n), default=None)
        if length is None:
            told, voices = (torch.from_numpy(part).to(self._device) for part in (symbols[None], who))
            encodings, slots = (part.cpu().numpy() for part in self._talker.clause(told, voices))
        else:
            filled = np.full((1, length), -1)
            filled[0, :n] = symbols
            encodings, slots = self._clauses[length]((filled, who), 1)
        return encodings[0, :n], slots[0, :n]

    @torch.inference_mode()
    def reset(self, row: int) -> None:
        self._resident.reset(row)

    @torch.inference_mode()
    def step(
        self, rows: list[int], condition: NDArray[np.float32], voice: NDArray[np.int64], draw: Draw
    ) -> NDArray[np.int16]:
        told = condition, voice, draw.uniform, draw.temperature, draw.top_k
        if self._fixed is not None:
            codes: NDArray[np.int16] = self._fixed(rows, told)
            return codes
        given = tuple(torch.from_numpy(part) for part in told)
        chosen: NDArray[np.int16] = self._resident.step(given, torch.tensor(rows)).numpy()
        return chosen

    def _clause_step(self, length: int, record: Record) -> FixedStep:
        by = self._talker.encoder.angles(length)
        symbols = torch.zeros(1, length, dtype=torch.int64, device=self._device)
        return FixedStep(lambda told: self._talker.clause(told[0], told[1], by), (symbols, symbols[:, 0]), record)

    def _nothing(self) -> Told:
        """What a row is told, of the right shapes."""
        config = self._about.config
        some = torch.zeros(1, config.mels_per_frame, config.condition_width), torch.zeros(1, dtype=torch.int64)
        chance = torch.zeros(1, *config.frame_shape), torch.zeros(1), torch.ones(1, dtype=torch.int64)
        a, b, c, d, e = (part.to(self._device) for part in (*some, *chance))
        return a, b, c, d, e


class _Frame:
    """One frame of the talker, its codes chosen, as a streaming module."""

    delay = 0

    def __init__(self, talker: Talker, most: int | None) -> None:
        """``most``: codes that a row may choose among, as `Talker.write` has it."""
        self._talker, self._most = talker, most
        self._by = talker.frames.angles(1)  # a graph cannot fetch them from the host

    def initial_state(self, batch: int) -> State:
        return self._talker.start_frame(batch), self._talker.initial_state(batch)

    def __call__(self, told: Told, state: State) -> tuple[Tensor, State]:
        condition, voice, uniform, temperature, top_k = told
        previous, past = state
        talker, tiny = self._talker, torch.finfo(uniform.dtype).tiny
        hidden, past = talker.step(previous, condition, voice, past, self._by)
        noise = -temperature[:, None, None] * (-(uniform + tiny).log() + tiny).log()  # `sampling.gumbel`
        codes, _ = talker.write(hidden, noise, top_k, self._most)
        return codes.to(torch.int16), (codes, past)
