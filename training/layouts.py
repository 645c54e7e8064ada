"""What is in a folder of speech: its audio files, and what is known of each.

Five layouts are told apart by what the folder holds, in this order:

* ``manifest.csv``: columns ``file``, and where known ``speaker``, ``transcript``, ``language``, ``orig_sr``
* ``manifest.jsonl``: one object a line with ``file``, and where known ``voice``, ``text``, ``language``
* LJ Speech: ``metadata.csv`` with lines ``id|text|normalised text``, and ``wavs/``
* LibriTTS: ``speaker/chapter/*.wav``, each with a ``.normalized.txt`` beside it
* any other folder: every audio file in it, with the text of a ``.txt`` of the same name where there is one
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

READABLE = (
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".aifc",
    ".au",
    ".snd",
    ".caf",
    ".w64",
    ".rf64",
)
FOREIGN = (
    ".m4a",
    ".aac",
    ".wma",
    ".webm",
    ".mp4",
)  # libsndfile does not read them: listed to be named, not passed over
SUFFIXES = frozenset(READABLE + FOREIGN)


class LayoutError(ValueError):
    """A folder cannot be read as speech; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Item:
    """One audio file, before anyone has opened it."""

    folder: str
    file: str
    "Path relative to ``folder``, with slashes."
    speaker: str
    text: str = ""
    language: str = ""
    declared_rate_hz: int = 0
    "Rate of the original recording where a manifest tells it; 0: not known."
    fault: str = ""
    "Why the text could not be had; empty: it could, or there is none."


def items(folder: Path) -> tuple[str, list[Item]]:
    """The name of the layout, and the files in a fixed order.

    Raises:
        LayoutError: not a folder, a manifest that cannot be read, or no audio at all.
    """
    if not folder.is_dir():
        raise LayoutError(f"{folder}: not a folder")
    if (folder / "manifest.csv").is_file():
        name, found = "manifest.csv", list(_from_csv(folder))
    elif (folder / "manifest.jsonl").is_file():
        name, found = "manifest.jsonl", list(_from_jsonl(folder))
    elif (folder / "metadata.csv").is_file():
        name, found = "LJ Speech", list(_from_lj_speech(folder))
    elif next(folder.rglob("*.normalized.txt"), None):
        name, found = "LibriTTS", [_beside(folder, path, ".normalized.txt", 2) for path in audio_files(folder)]
    else:
        name, found = "plain", [_beside(folder, path, ".txt", None) for path in audio_files(folder)]
    if not found:
        raise LayoutError(f"{folder}: no audio in it (looked for {' '.join(READABLE)})")
    return name, found


def audio_files(folder: Path) -> list[Path]:
    """Every file below ``folder`` that is named like audio, sorted; what is hidden or in a hidden folder is not taken."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not _hidden(path.relative_to(folder)))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _from_csv(folder: Path) -> Iterator[Item]:
    path = folder / "manifest.csv"
    reader = csv.DictReader(_lines(path))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise LayoutError(f"{path}: not a table, near line {reader.line_num + 1} ({error})") from None
    for row in rows:
        if not row.get("file"):
            raise LayoutError(f"{path}: needs a column 'file' with a path in every row; it has {list(row)}")
        rate = row.get("orig_sr") or "0"
        if not rate.isdecimal():
            raise LayoutError(f"{path}: orig_sr {rate!r} of {row['file']} is not a whole number of Hz")
        text = row.get("transcript") or row.get("text") or ""
        speaker = row.get("speaker") or folder.name
        yield Item(str(folder), row["file"], speaker, text.strip(), row.get("language") or "", int(rate))


def _from_jsonl(folder: Path) -> Iterator[Item]:
    path = folder / "manifest.jsonl"
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            file = row["file"]
        except (ValueError, KeyError, TypeError):
            raise LayoutError(f"{path}: line {number} is not an object with 'file'") from None
        speaker = row.get("voice") or row.get("speaker") or folder.name
        yield Item(str(folder), str(file), str(speaker), str(row.get("text") or "").strip(), row.get("language") or "")


def _from_lj_speech(folder: Path) -> Iterator[Item]:
    path = folder / "metadata.csv"
    by_stem = {audio.stem: audio.relative_to(folder).as_posix() for audio in audio_files(folder)}
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        name, *texts = line.rstrip("\r\n").split("|")
        if not texts:
            raise LayoutError(f"{path}: line {number} has no '|' between file and text")
        stem = name.removesuffix(".wav")
        text = next((text for text in reversed(texts) if text.strip()), "")  # the normalised one, where there is one
        yield Item(str(folder), by_stem.get(stem, f"wavs/{stem}.wav"), folder.name, text.strip())


def _beside(folder: Path, path: Path, suffix: str, speaker_depth: int | None) -> Item:
    """The file with its text beside it. The speaker is the folder ``speaker_depth`` above, or the first below ``folder``."""
    inner = path.relative_to(folder).parts
    if speaker_depth:
        speaker = path.parts[-1 - speaker_depth] if len(inner) > speaker_depth else folder.name
    else:
        speaker = inner[0] if len(inner) > 1 else folder.name
    beside, text, fault = path.with_suffix(suffix), "", ""
    if beside.is_file():
        try:
            text = beside.read_text(encoding="utf-8-sig").strip()
        except UnicodeDecodeError:
            fault = f"{beside.name} is not UTF-8"
    return Item(str(folder), "/".join(inner), speaker, text, fault=fault)


def _lines(path: Path) -> Iterable[str]:
    try:
        return io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
