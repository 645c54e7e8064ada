"""What engines made of models share: rows, and pieces of the same kind and length as one batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.models.config import Preset
from sottovoce.models.weight_file import WEIGHTS, default_path

from .descriptor import Descriptor
from .engine import KINDS, Kind, Rows, Work, n_frames


def describe(preset: Preset, model_hash: str, delay_samples: int) -> Descriptor:
    """What listeners must know of a codec."""
    return Descriptor(
        preset=preset.name,
        model_hash=model_hash,
        rate_hz=preset.rate_hz,
        frame_samples=preset.frame_samples,
        mels_per_frame=preset.mels_per_frame,
        n_mels=preset.n_mels,
        books=preset.books,
        book_size=preset.book_size,
        delay_samples=delay_samples,
    )


def has_vocoder(preset: str, weights: Path | None) -> bool:
    """Whether the folder ``weights`` (None: the package's own) holds a neural vocoder for ``preset``."""
    return default_path(preset, "vocoder", WEIGHTS if weights is None else weights).exists()


class BatchEngine(ABC):
    """An `engine.Engine` whose models take a batch of rows at once."""

    def __init__(self, descriptor: Descriptor, rows: int) -> None:
        self._descriptor = descriptor
        self._rows = Rows(rows)

    @property
    def descriptor(self) -> Descriptor:
        """The loaded codec."""
        return self._descriptor

    @property
    def rows(self) -> int:
        """How many streams it carries at once."""
        return self._rows.count

    def open(self) -> int:
        """Take a free row, with every state at its beginning. Raises NoSlot."""
        row = self._rows.take()
        for kind in KINDS:
            self._reset(row, kind)
        return row

    def close(self, row: int) -> None:
        """Give ``row`` back. Raises ValueError where it is not open."""
        self._rows.give_back(row)

    def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
        """Do the pieces; those of the same kind and length run as one batch.

        Raises:
            ValueError: a closed row, data that does not fit its kind, or two pieces for one (row, kind).
        """
        groups: dict[tuple[Kind, int], list[int]] = {}
        for i, piece in enumerate(work):
            self._rows.check(piece.row)
            n = n_frames(self._descriptor, piece.kind, piece.data)
            groups.setdefault((piece.kind, n), []).append(i)
        if len({(piece.row, piece.kind) for piece in work}) < len(work):
            raise ValueError("two pieces of work for the same row and kind in one step")
        answers: list[NDArray[Any] | None] = [None] * len(work)
        for (kind, _), members in groups.items():
            pieces = [work[i] for i in members]
            for piece in pieces:
                if piece.fresh:
                    self._reset(piece.row, kind)
            batch = np.stack([piece.data for piece in pieces])
            rows = [piece.row for piece in pieces]
            for i, answer in zip(members, self._run(kind, rows, batch), strict=True):
                answers[i] = answer
        return [answer for answer in answers if answer is not None]

    @abstractmethod
    def _run(self, kind: Kind, rows: list[int], batch: NDArray[Any]) -> NDArray[Any]:
        """One model over ``batch`` [R, time, ...], and its rows' states moved on; the answer has the same axes."""

    @abstractmethod
    def _reset(self, row: int, kind: Kind) -> None:
        """Put one row's state at its beginning."""
