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
        groups: dict[tuple[Kind, tuple[int, ...], np.dtype[Any]], list[int]] = {}
        for i, piece in enumerate(work):
            self._rows.check(piece.row)
            groups.setdefault((piece.kind, piece.data.shape, piece.data.dtype), []).append(i)
        if len({(piece.row, piece.kind) for piece in work}) < len(work):
            raise ValueError("two pieces of work for the same row and kind in one step")
        batches = [self._batch(kind, [work[i].data for i in members]) for (kind, *_), members in groups.items()]
        answers: list[NDArray[Any] | None] = [None] * len(work)
        for ((kind, *_), members), batch in zip(groups.items(), batches, strict=True):
            for i in members:
                if work[i].fresh:
                    self._reset(work[i].row, kind)
            rows = [work[i].row for i in members]
            for i, answer in zip(members, self._run(kind, rows, batch), strict=True):
                answers[i] = answer
        return [answer for answer in answers if answer is not None]

    def _batch(self, kind: Kind, pieces: list[NDArray[Any]]) -> NDArray[Any]:
        """Pieces of one shape and type, checked: all at once, as there may be hundreds. Raises ValueError."""
        n_frames(self._descriptor, kind, pieces[0])
        batch = pieces[0][None] if len(pieces) == 1 else np.concatenate(pieces).reshape(len(pieces), *pieces[0].shape)
        if len(pieces) > 1:
            n_frames(self._descriptor, kind, batch.reshape(-1, *batch.shape[2:]))
        return batch

    def _frame_length(self, kind: Kind) -> int:
        """Along the time axis of what ``kind`` takes, for one code frame."""
        if kind == "mel":
            return self._descriptor.frame_samples
        return 1 if kind == "decode" else self._descriptor.mels_per_frame

    @abstractmethod
    def _run(self, kind: Kind, rows: list[int], batch: NDArray[Any]) -> NDArray[Any]:
        """One model over ``batch`` [R, time, ...], and its rows' states moved on; the answer has the same axes."""

    @abstractmethod
    def _reset(self, row: int, kind: Kind) -> None:
        """Put one row's state at its beginning."""
