"""A picture of a voice before, on and behind the wire: mel in, codes, mel out. The first seconds only."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.errors import SottovoceError, UsageError
from sottovoce.stream.frames import MEL_FLOOR, Codes, Frame, Mel
from sottovoce.stream.pipeline import Taps

from .atomic import replacing, writing

PICTURE_S = 12.0
_FORMATS = (".png", ".svg", ".pdf", ".jpg", ".webp")


class Picture:
    """Collects what passes, then draws it. Memory is bounded by ``PICTURE_S``."""

    def __init__(self, descriptor: Descriptor, path: Path) -> None:
        """Get ready to draw; the ending of ``path`` names the format.

        Raises UsageError: matplotlib is missing, or the ending names no format.
        """
        self._path = path
        self._format = picture_format(path)
        self._figure = matplotlib_figures().Figure(figsize=(10, 6.5), layout="constrained")
        self._descriptor = descriptor
        self._most = int(PICTURE_S * descriptor.frame_rate_hz)
        self._mel_in: list[Mel] = []
        self._codes: list[Codes] = []
        self._mel_out: list[Mel] = []

    @property
    def taps(self) -> Taps:
        """What the pipeline must call."""
        return Taps(
            mel_in=lambda frame: self._keep(self._mel_in, frame),
            codes=lambda frame: self._keep(self._codes, frame),
            mel_out=lambda frame: self._keep(self._mel_out, frame),
        )

    @contextmanager
    def saved(self) -> Iterator[None]:
        """Around all that passes: when it ends well the picture is there.

        Raises SottovoceError: the file cannot be written, told at once where that can be; nothing has passed.
        """
        with replacing(self._path, SottovoceError) as name:
            yield
            if not (self._mel_in and self._codes and self._mel_out):
                raise SottovoceError(f"{self._path}: there is no sound to draw a picture of")
            self._draw()
            with writing(self._path, SottovoceError):
                self._figure.savefig(name, format=self._format, dpi=120)

    def _keep(self, kept: list[NDArray[Any]], frame: Frame[Any]) -> None:
        if len(kept) < self._most:
            kept.append(frame.data)

    def _draw(self) -> None:
        figure, descriptor = self._figure, self._descriptor
        seconds = len(self._codes) * descriptor.frame_ms / 1000
        above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=[3, 2, 3])
        db = 20 / np.log(10)
        for axes, mels, title in ((above, self._mel_in, "mel in"), (below, self._mel_out, "mel out")):
            image = axes.imshow(
                np.concatenate(mels).T * db, origin="lower", aspect="auto", cmap="magma", vmin=MEL_FLOOR * db,
                vmax=float(np.max(np.concatenate(self._mel_in))) * db, interpolation="nearest",
                extent=(0, len(mels) * descriptor.frame_ms / 1000, 0, descriptor.n_mels),
            )  # fmt: skip
            axes.set(title=title, ylabel="mel band")
            figure.colorbar(image, ax=axes, label="dB", pad=0.01)
        codes = np.ma.masked_less(np.concatenate(self._codes).T, 0)  # absent codes stay white
        image = middle.imshow(
            codes, origin="upper", aspect="auto", cmap="twilight", vmin=0, vmax=descriptor.book_size - 1,
            interpolation="nearest", extent=(0, seconds, descriptor.books + 0.5, 0.5),
        )  # fmt: skip
        bits = descriptor.bits_per_code * descriptor.frame_rate_hz
        middle.set(title=f"codes: {bits:.0f} bit/s a book", ylabel="book", yticks=range(1, descriptor.books + 1))
        figure.colorbar(image, ax=middle, label="code", pad=0.01)
        below.set_xlabel("seconds")


def picture_format(path: Path) -> str:
    """What the ending of ``path`` names. Raises UsageError: no kind of picture."""
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise UsageError(f"{path}: the ending {path.suffix!r} names no kind of picture; use one of {known}")
    return suffix[1:]


def matplotlib_figures() -> Any:
    """The module of figures without windows. Raises UsageError: matplotlib is missing."""
    os.environ.pop("MPLBACKEND", None)  # of no use to a figure without a window, and a bad one fails the import
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise UsageError("a picture needs matplotlib; pip install 'sottovoce[report]'") from error
