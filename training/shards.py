"""Sound and its index on disk: files that only grow, so that an interrupted run goes on where it stopped.

``pcm-0000.s16`` and so on hold int16 mono at 24 kHz; ``index.jsonl`` has the settings in its first line and then one line a
file, with its records. A file counts once its line is whole; sound without a line is cut off when the folder is opened again.
"""

import dataclasses
import json
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .quality import Measures

SHARD_SAMPLES = 24_000 * 3600  # one hour, 173 MB
INDEX = "index.jsonl"


class ShardError(ValueError):
    """A data folder cannot be read or gone on with; the message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One piece of one file: where its sound is, and all that is known of it."""

    folder: str
    file: str
    piece: int
    "0, 1, ... where a long recording was cut."
    speaker: str
    text: str
    language: str
    declared_rate_hz: int
    start: int
    "First sample, counted over all shards."
    n_samples: int
    "0: no sound could be taken."
    fault: str
    "Why it could not be read; empty: it could."
    measures: Measures | None


class Shards:
    """All samples of a data folder as one row, mapped from disk: ``pcm-*.s16``, or the ``pcm.npy`` of earlier versions."""

    def __init__(self, folder: Path) -> None:
        """Raises: ShardError: the folder holds no samples."""
        paths = sorted(path for path in folder.glob("pcm-*.s16") if path.stat().st_size)
        if (folder / "pcm.npy").exists():
            self.parts: list[NDArray[np.int16]] = [np.load(folder / "pcm.npy", mmap_mode="r")]
        elif paths:
            self.parts = [np.memmap(path, dtype="<i2", mode="r") for path in paths]
        else:
            raise ShardError(f"{folder}: no prepared speech; make it with python -m sottovoce.training.prepare")
        self.ends = np.cumsum([len(part) for part in self.parts]).tolist()

    def __len__(self) -> int:
        return int(self.ends[-1])

    def read(self, start: int, n_samples: int) -> NDArray[np.int16]:
        """Samples from ``start`` on; they lie in one shard, as every clip does."""
        part = bisect_right(self.ends, start)
        inner = start - (self.ends[part - 1] if part else 0)
        return self.parts[part][inner : inner + n_samples]


class Writer:
    """Appends clips to a folder, or goes on with one."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Open ``folder``, new or left by an earlier call with the same ``settings``.

        Raises:
            ShardError: it was written by an earlier version, or with other settings.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "pcm.npy").exists():
            raise ShardError(
                f"{folder}: holds data of an earlier version, which trainings may be using; choose another --out"
            )
        self.records: list[Record] = []
        path = folder / INDEX
        if path.exists():
            self._read_index(path, settings)
        if not path.exists():
            path.write_text(json.dumps({"settings": settings}) + "\n", encoding="utf-8")
        self._cut_back()
        self._index = path.open("a", encoding="utf-8")
        self._shard = self._shard_path().open("ab")

    def _read_index(self, path: Path, settings: dict[str, Any]) -> None:
        raw = path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]  # a line without its end was being written when the run died
        first, *lines = whole.decode("utf-8").removesuffix("\n").split("\n")
        if not first:  # it died before the first line was whole
            path.unlink()
            return
        before = json.loads(first)["settings"]
        if before != settings:
            changed = ", ".join(f"{k} was {before.get(k)}" for k in settings if before.get(k) != settings[k])
            raise ShardError(
                f"{self.folder}: was begun with other settings ({changed}); give the same, or another --out"
            )
        sizes = [p.stat().st_size // 2 for p in sorted(self.folder.glob("pcm-*.s16"))]
        kept = len(first.encode()) + 1
        for line in lines:
            records = [_record(row) for row in json.loads(line)]
            if max(record.start + record.n_samples for record in records) > sum(sizes):
                break  # its line reached the disk before its sound did
            self.records += records
            kept += len(line.encode()) + 1
        with path.open("r+b") as file:
            file.truncate(kept)

    def _cut_back(self) -> None:
        """Remove sound that no record owns, and find out which shard is open."""
        self.position = max((r.start + r.n_samples for r in self.records), default=0)
        self.number, self.filled, before = 0, 0, 0
        for number, path in enumerate(sorted(self.folder.glob("pcm-*.s16"))):
            size = path.stat().st_size // 2
            if before >= self.position and number:
                path.unlink()
                continue
            self.number, self.filled = number, min(size, self.position - before)
            with path.open("r+b") as file:
                file.truncate(self.filled * 2)
            before += size

    def _shard_path(self) -> Path:
        return self.folder / f"pcm-{self.number:04d}.s16"

    def sound(self, pcm: NDArray[np.int16]) -> int:
        """Append samples and return where they start; they count only once a record names them."""
        if self.filled and self.filled + len(pcm) > SHARD_SAMPLES:
            self._shard.close()
            self.number, self.filled = self.number + 1, 0
            self._shard = self._shard_path().open("ab")
        self._shard.write(pcm.astype("<i2").tobytes())
        start = self.position
        self.position += len(pcm)
        self.filled += len(pcm)
        return start

    def commit(self, records: list[Record]) -> None:
        """All records of one file, after their sound: one line, so that it is there as a whole or not at all."""
        self._shard.flush()
        self._index.write(json.dumps([dataclasses.asdict(record) for record in records]) + "\n")
        self._index.flush()
        self.records += records

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._shard.close()
        self._index.close()


def _record(row: dict[str, Any]) -> Record:
    measures = row.pop("measures")
    return Record(**row, measures=Measures(**measures) if measures else None)
