"""What was decoded and measured before, kept in the output folder so that a second run only does what is new.

Decoded clips lie under ``<out>/<system>/``: the sound as FLAC, the compressed file beside it, and a JSON with the key of what
made them. Measured values lie in ``<out>/measured.jsonl`` under a hash of the very samples they were measured on.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import soundfile

from .recordings import Pcm, Recording

Value = float | str | None
"""What a metric says of a clip: a figure, the words heard, or None: it cannot be measured."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a clip became on its way."""

    seconds: float
    "Of the sound that is in the payload, whole frames."
    payload_bytes: int
    "Of codes alone."
    packet_bytes: int
    "Of packets as they go over a live wire, 0 where they are the payload itself."
    file_bytes: int
    frames: int = 0
    lost_frames: int = 0


@dataclass(frozen=True, slots=True)
class Carried:
    """A clip that has been through a codec."""

    pcm: Pcm
    rate_hz: int
    size: Size
    compressed: bytes
    suffix: str
    "Of the compressed file, such as ``.sv``; empty where there is none."


class System(Protocol):
    """Something that speech passes through."""

    @property
    def name(self) -> str:
        """Names its row and its folder."""

    @property
    def key(self) -> str:
        """Changes whenever the same clip may come out otherwise."""

    def carry(self, recording: Recording) -> Carried:
        """A clip through it."""


def digest(*parts: str | bytes) -> str:
    """A hash of ``parts``, each with its length so that they cannot run into each other."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()[:24]


class Store:
    """The output folder."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out = out
        self._values: dict[str, Value] = {}
        self._file = out / "measured.jsonl"
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                try:
                    self._values.update([json.loads(line)])
                except (ValueError, TypeError):  # the line that a run was writing when it was stopped
                    continue

    def value(self, key: str, measure: Callable[[], Value]) -> Value:
        """What was measured under ``key``; measured now where it was not."""
        if key not in self._values:
            self._values[key] = measure()
            with self._file.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps([key, self._values[key]]))  # ends a broken line before
        return self._values[key]

    def carried(self, system: System, recording: Recording) -> Carried:
        """``recording`` through ``system``, as it is read from the folder, decoded now where it was not."""
        base = self.out / system.name / recording.name  # with its suffix: a.wav and a.flac are two clips
        sound, note = base.with_name(base.name + ".flac"), base.with_name(base.name + ".json")
        key = digest(system.key, recording.name, str(recording.rate_hz), recording.pcm.tobytes())
        found = _noted(note, key)
        if not found or not sound.exists():
            fresh = system.carry(recording)
            base.parent.mkdir(parents=True, exist_ok=True)
            note.unlink(missing_ok=True)  # whoever stops now leaves no note that fits other sound
            soundfile.write(sound, fresh.pcm, fresh.rate_hz)
            if fresh.suffix:
                base.with_name(base.name + fresh.suffix).write_bytes(fresh.compressed)
            found = {"key": key, "suffix": fresh.suffix, "size": asdict(fresh.size)}
            note.write_text(json.dumps(found))
        pcm, rate_hz = soundfile.read(sound, dtype="float32")
        suffix = found["suffix"]
        compressed = base.with_name(base.name + suffix).read_bytes() if suffix else b""
        return Carried(pcm, rate_hz, Size(**found["size"]), compressed, suffix)


def _noted(note: Path, key: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(note.read_text())
    except (OSError, ValueError):
        return None
    return found if found.get("key") == key else None
