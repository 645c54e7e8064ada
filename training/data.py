"""Pack a folder of audio for training, and draw random stretches of it.

    python -m sottovoce.training.data CORPUS/train --out runs/data

Writes ``pcm.npy`` (int16, 24 kHz mono, all clips joined) and ``clips.json`` (where each begins, its weight and bandwidth).
A ``manifest.csv`` with columns ``file``, ``orig_sr`` is used where there is one; else every audio file below the folder.
"""

import argparse
import csv
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

RATE_HZ = 24_000
WIDEBAND_WEIGHT = 1.0
NARROWBAND_WEIGHT = 0.6  # clips that stop at 8 kHz: worth their speakers, but they teach nothing above
LEVEL_SPREAD_DB = 5.0
SUFFIXES = {".flac", ".opus", ".ogg", ".wav", ".mp3"}


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording inside ``pcm.npy``."""

    file: str
    start: int
    n_samples: int
    wideband: bool


def pack(folder: Path, out: Path, limit: int | None = None) -> list[Clip]:
    """Decode, mix down and resample every clip of ``folder`` into ``out``; unreadable files are named and left out.

    Raises:
        ValueError: nothing readable was found.
    """
    files, wideband = _listed(folder)
    clips: list[Clip] = []
    pieces: list[NDArray[np.int16]] = []
    start = 0
    for name in files[:limit]:
        try:
            audio, rate_hz = soundfile.read(folder / name, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            print(f"left out {name}: {error}", file=sys.stderr)
            continue
        mono = soxr.resample(audio.mean(1), rate_hz, RATE_HZ)
        if len(mono) < RATE_HZ // 2 or not np.isfinite(mono).all():
            print(f"left out {name}: shorter than half a second, or not finite", file=sys.stderr)
            continue
        pieces.append((mono.clip(-1, 1) * 32767).astype(np.int16))
        clips.append(Clip(name, start, len(mono), wideband.get(name, rate_hz > 16_000)))
        start += len(mono)
    if not clips:
        raise ValueError(f"{folder}: no readable audio of half a second or more")
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "pcm.npy", np.concatenate(pieces))
    (out / "clips.json").write_text(json.dumps([asdict(clip) for clip in clips]))
    return clips


def _listed(folder: Path) -> tuple[list[str], dict[str, bool]]:
    manifest = folder / "manifest.csv"
    if not manifest.exists():
        found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        return found, {}
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["file"] for row in rows], {row["file"]: int(row["orig_sr"]) > 16_000 for row in rows}


class Speech:
    """Random stretches of packed speech. The same seed and number of draws give the same batches, wherever one resumes."""

    def __init__(self, folder: Path, rate_hz: int, n_samples: int, batch: int, seed: int = 0) -> None:
        """Draws [batch, n_samples] at ``rate_hz``.

        Raises:
            ValueError: ``folder`` holds no clip that is long enough.
        """
        self.pcm = np.load(folder / "pcm.npy", mmap_mode="r")
        clips = [Clip(**row) for row in json.loads((folder / "clips.json").read_text())]
        self.rate_hz, self.n_samples, self.batch, self.seed = rate_hz, n_samples, batch, seed
        self.source_samples = -(-n_samples * RATE_HZ // rate_hz)
        self.clips = [clip for clip in clips if clip.n_samples >= self.source_samples]
        if not self.clips:
            raise ValueError(f"{folder}: no clip of {n_samples / rate_hz:.2f} s")
        weights = [c.n_samples * (WIDEBAND_WEIGHT if c.wideband else NARROWBAND_WEIGHT) for c in self.clips]
        self.shares = np.array(weights) / sum(weights)

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch number ``step``: pcm [batch, n_samples] at a random level, and wideband [batch] bool."""
        random = np.random.default_rng((self.seed, step % 2**32))
        chosen = random.choice(len(self.clips), self.batch, p=self.shares)
        rows = []
        for index in chosen:
            clip = self.clips[index]
            start = clip.start + random.integers(clip.n_samples - self.source_samples + 1)
            row = self.pcm[start : start + self.source_samples].astype(np.float32) / 32768
            if self.rate_hz != RATE_HZ:
                row = soxr.resample(row, RATE_HZ, self.rate_hz)[: self.n_samples]
            level = 10 ** (random.normal(0, LEVEL_SPREAD_DB) / 20)
            rows.append((row * level).clip(-1, 1))
        wideband = torch.tensor([self.clips[i].wideband for i in chosen])
        return torch.from_numpy(np.stack(rows)), wideband


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/data"))
    parser.add_argument("--limit", type=int, help="take only the first N files")
    args = parser.parse_args()
    clips = pack(args.folder, args.out, args.limit)
    hours = sum(clip.n_samples for clip in clips) / RATE_HZ / 3600
    print(f"{len(clips)} clips, {hours:.2f} hours in {args.out}")


if __name__ == "__main__":
    main()
