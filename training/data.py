"""Draw random stretches from prepared speech.

``prepare`` writes what is read here: sound in shards, and ``clips.json``, which says where each kept clip begins and what is
known of it. ``python -m sottovoce.training.data FOLDER --out runs/data`` is the same command under its older name.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from .quality import RATE_HZ as RATE_HZ
from .shards import Shards

WIDEBAND_WEIGHT = 1.0
NARROWBAND_WEIGHT = 0.6  # clips that stop at 8 kHz: worth their speakers, but they teach nothing above
LEVEL_SPREAD_DB = 5.0
CLIPS = "clips.json"


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording inside the shards. What an earlier version did not write is empty."""

    file: str
    start: int
    n_samples: int
    wideband: bool
    source: str = ""
    "Name of the folder it came from."
    speaker: str = ""
    text: str = ""
    language: str = ""
    bandwidth_hz: float = 0.0


def read_clips(folder: Path) -> list[Clip]:
    """What ``folder`` holds.

    Raises:
        ValueError: it was not prepared, or not to the end.
    """
    path = folder / CLIPS
    if not path.exists():
        raise ValueError(
            f"{folder}: no {CLIPS}; make it with python -m sottovoce.training.prepare SPEECH --out {folder}"
        )
    return [Clip(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


class Speech:
    """Random stretches of prepared speech. The same seed and number of draws give the same batches, wherever one resumes."""

    def __init__(
        self, folder: Path, rate_hz: int, n_samples: int, batch: int, seed: int = 0, speed_spread: float = 0.0
    ) -> None:
        """Draws [batch, n_samples] at ``rate_hz``.

        ``speed_spread`` 0.1 plays every row between 0.9 and 1.1 times as fast, pitch and all (Ko et al. 2015); it changes
        input and target alike, so it belongs here and not to ``augment``.

        Raises:
            ValueError: ``folder`` holds no clip that is long enough, or ``speed_spread`` is not in [0, 0.5].
        """
        if not 0 <= speed_spread <= 0.5:
            raise ValueError(f"speed_spread {speed_spread}: 0 to 0.5")
        clips = read_clips(folder)
        self.pcm = Shards(folder)
        self.rate_hz, self.n_samples, self.batch, self.seed = rate_hz, n_samples, batch, seed
        self.speed_spread = speed_spread
        self.source_samples = self._needed(1.0)
        self.clips = [clip for clip in clips if clip.n_samples >= self._needed(1 + speed_spread)]
        if not self.clips:
            raise ValueError(f"{folder}: no clip of {n_samples / rate_hz:.2f} s")
        weights = [c.n_samples * (WIDEBAND_WEIGHT if c.wideband else NARROWBAND_WEIGHT) for c in self.clips]
        self.shares = np.array(weights) / sum(weights)

    @property
    def hours(self) -> float:
        """Of all clips that can be drawn."""
        return sum(clip.n_samples for clip in self.clips) / RATE_HZ / 3600

    def _needed(self, speed: float) -> int:
        """Samples at RATE_HZ that become ``n_samples``, or a few more."""
        if speed == 1.0:
            return -(-self.n_samples * RATE_HZ // self.rate_hz)
        return int(np.ceil(self.n_samples * RATE_HZ * speed / self.rate_hz)) + 2

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch number ``step``: pcm [batch, n_samples] at a random level, and wideband [batch] bool."""
        random = np.random.default_rng((self.seed, step % 2**32))
        chosen = random.choice(len(self.clips), self.batch, p=self.shares)
        rows = []
        for index in chosen:
            row = self._stretch(self.clips[index], random)
            level = 10 ** (random.normal(0, LEVEL_SPREAD_DB) / 20)
            rows.append((row * level).clip(-1, 1))
        wideband = torch.tensor([self.clips[i].wideband for i in chosen])
        return torch.from_numpy(np.stack(rows)), wideband

    def _stretch(self, clip: Clip, random: np.random.Generator) -> NDArray[np.float32]:
        speed = random.uniform(1 - self.speed_spread, 1 + self.speed_spread) if self.speed_spread else 1.0
        needed = self._needed(speed)
        start = clip.start + random.integers(clip.n_samples - needed + 1)
        row = self.pcm.read(int(start), needed).astype(np.float32) / np.float32(32768)
        if self.rate_hz != RATE_HZ * speed:
            row = soxr.resample(row, RATE_HZ * speed, self.rate_hz)[: self.n_samples]
        return row


if __name__ == "__main__":
    from .prepare import main

    main()
