"""The clips of a folder that something is measured on: sound as it was recorded, and what is said where it is known."""

import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from .layouts import items

Pcm = NDArray[np.float32]
"""Mono sound [T] in [-1, 1]."""

SHORTEST_S = 0.5
"""Below, PESQ and ESTOI have too few frames to speak of."""
SILENT = 1e-3
"""A peak below this holds nothing to compare."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A clip at the rate of its file."""

    name: str
    "Path below the folder."
    pcm: Pcm
    rate_hz: int
    text: str = ""
    "What is said; empty where it is not known."

    @property
    def seconds(self) -> float:
        return len(self.pcm) / self.rate_hz

    def at(self, rate_hz: int) -> Pcm:
        """The same sound at ``rate_hz``."""
        return resampled(self.pcm, self.rate_hz, rate_hz)


def resampled(pcm: Pcm, from_hz: int, to_hz: int) -> Pcm:
    """``pcm`` at another rate, within [-1, 1]."""
    other: Pcm = pcm if from_hz == to_hz else soxr.resample(pcm, from_hz, to_hz)
    return np.clip(other, -1, 1).astype(np.float32)


def read_folder(folder: Path, limit: int | None = None, every: int = 1) -> list[Recording]:
    """The clips of ``folder``, in any of the layouts of ``layouts.py``.

    Clips that cannot be measured are named on stderr with the reason, and left out.

    Args:
        limit: only the first so many, of those that ``every`` leaves.
        every: only every so-manieth clip, which spreads a small sample over a sorted folder.

    Raises:
        ValueError: no such folder, a manifest that cannot be read, or no clip to measure.
    """
    _, listed = items(folder)
    recordings = []
    for item in listed[::every][:limit]:
        try:
            recordings.append(_read(folder, item.file, item.text))
        except (ValueError, OSError, soundfile.LibsndfileError) as error:
            print(f"left out {item.file}: {error}", file=sys.stderr)
    if not recordings:
        raise ValueError(f"{folder}: no audio of {SHORTEST_S} s or more ({len(listed)} files were listed)")
    return recordings


def _read(folder: Path, name: str, text: str) -> Recording:
    """Raises ValueError, OSError or LibsndfileError: not a clip to measure."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts:  # decoded clips are written under the same name
        raise ValueError("not a file below the folder")
    audio, rate_hz = soundfile.read(folder / name, dtype="float32", always_2d=True)
    pcm: Pcm = audio.mean(1)
    if len(pcm) < SHORTEST_S * rate_hz:
        raise ValueError(f"shorter than {SHORTEST_S} s")
    if not np.isfinite(pcm).all():
        raise ValueError("holds samples that are not finite")
    if np.abs(pcm).max() < SILENT:
        raise ValueError("silent")
    return Recording(name, pcm, rate_hz, text)
