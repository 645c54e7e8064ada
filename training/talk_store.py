"""What a talker learns from, on disk: codes, symbols and slots in files that only grow, and an index of utterances.

``codes.s16`` holds int16 [frames, Q], ``symbols.u8`` and ``slots.u16`` one number a symbol, ``about.json`` what they mean;
``index.jsonl`` has a line an utterance, those that were dropped included. An utterance counts once its line is whole: what
lies behind the last one is cut off when the folder is opened again, so an interrupted run goes on to the same bytes.
"""

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sottovoce.models.config import Preset
from sottovoce.models.symbols import SYMBOLS

FILES = {"codes": ("codes.s16", "<i2"), "symbols": ("symbols.u8", "u1"), "slots": ("slots.u16", "<u2")}
INDEX, ABOUT = "index.jsonl", "about.json"


class TalkDataError(ValueError):
    """A folder of talker data cannot be read or gone on with; the message says why."""


@dataclass(frozen=True, slots=True)
class About:
    """What the numbers of a folder mean."""

    codec: str
    "Preset of the codec."
    model_hash: str
    "Of the very weights that wrote the codes."
    rate_hz: int
    hop: int
    mels_per_frame: int
    books: int
    book_size: int
    symbols: tuple[str, ...] = SYMBOLS

    @staticmethod
    def of(preset: Preset, model_hash: str) -> "About":
        time = (preset.rate_hz, preset.mel.hop, preset.mels_per_frame)
        return About(preset.name, model_hash, *time, preset.books, preset.book_size)

    @property
    def frame_s(self) -> float:
        """Seconds of a code frame."""
        return self.hop * self.mels_per_frame / self.rate_hz


@dataclass(frozen=True, slots=True)
class Utterance:
    """One line of the index."""

    key: str
    "Folder and file that it was made of."
    voice: str
    text: str
    teacher: str = ""
    "Who spoke it; empty: a person."
    n_frames: int = 0
    n_symbols: int = 0
    first_frame: int = -1
    first_symbol: int = -1
    fault: str = ""
    "Why it was dropped; empty: it was kept."


class TalkWriter:
    """Appends utterances to a folder, or goes on with one."""

    def __init__(self, folder: Path, about: About) -> None:
        """Raises TalkDataError: the folder was begun with another codec or alphabet."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.about = folder, about
        path = folder / ABOUT
        if path.exists() and (before := read_about(folder)) != about:
            changed = [f.name for f in dataclasses.fields(About) if getattr(before, f.name) != getattr(about, f.name)]
            raise TalkDataError(f"{folder}: was begun with another {', '.join(changed)}; choose another --out")
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(dataclasses.asdict(about)), encoding="utf-8")
            partial.replace(path)
        self.utterances = read_index(folder) if (folder / INDEX).exists() else []
        self._cut_back()
        self._files = {name: (folder / file).open("ab") for name, (file, _) in FILES.items()}
        self._index = (folder / INDEX).open("a", encoding="utf-8")

    def _cut_back(self) -> None:
        """Remove what no whole line of the index owns, and lines whose numbers are not there."""
        kinds = {name: np.dtype(kind).itemsize for name, (_, kind) in FILES.items()}
        kinds["codes"] *= self.about.books
        have = {}
        for name, (file, _) in FILES.items():
            path = self.folder / file
            have[name] = path.stat().st_size // kinds[name] if path.exists() else 0
        whole = []
        self.n_frames = self.n_symbols = 0
        for one in self.utterances:
            frames, symbols = self.n_frames + one.n_frames, self.n_symbols + one.n_symbols
            if frames > have["codes"] or symbols > min(have["symbols"], have["slots"]):
                break  # its line reached the disk before its numbers did
            whole.append(one)
            self.n_frames, self.n_symbols = frames, symbols
        self.utterances = whole
        partial = (self.folder / INDEX).with_suffix(".partial")
        partial.write_text("".join(_line(one) for one in whole), encoding="utf-8")
        partial.replace(self.folder / INDEX)
        for name, (file, _) in FILES.items():
            with (self.folder / file).open("ab") as opened:
                opened.truncate(kinds[name] * (self.n_frames if name == "codes" else self.n_symbols))

    def add(
        self, named: Utterance, codes: NDArray[np.int64], symbols: NDArray[np.int64], slots: NDArray[np.int64]
    ) -> None:
        """Append codes [T, Q], and symbols and slots [P].

        Raises:
            ValueError: the shapes do not fit each other, or a number does not fit its file.
        """
        about = self.about
        if codes.ndim != 2 or codes.shape[1] != about.books or slots.shape != symbols.shape or not len(symbols):
            raise ValueError(f"codes {codes.shape}, symbols {symbols.shape}, slots {slots.shape}")
        if slots.sum() != len(codes) * about.mels_per_frame or slots.min() < 0 or slots.max() >= 2**16:
            raise ValueError(f"{int(slots.sum())} slots for {len(codes)} frames of {about.mels_per_frame}")
        if codes.min() < 0 or codes.max() >= about.book_size or symbols.min() < 0 or symbols.max() >= len(SYMBOLS):
            raise ValueError("codes or symbols outside their tables")
        for name, numbers in (("codes", codes), ("symbols", symbols), ("slots", slots)):
            self._files[name].write(numbers.astype(FILES[name][1]).tobytes())
            self._files[name].flush()
        counts = dataclasses.replace(named, n_frames=len(codes), n_symbols=len(symbols))
        self._commit(dataclasses.replace(counts, first_frame=self.n_frames, first_symbol=self.n_symbols))

    def drop(self, named: Utterance, fault: str) -> None:
        """Note that an utterance is not used, and why: it is not tried again."""
        self._commit(dataclasses.replace(named, fault=fault))

    def _commit(self, one: Utterance) -> None:
        self._index.write(_line(one))
        self._index.flush()
        self.utterances.append(one)
        self.n_frames += one.n_frames
        self.n_symbols += one.n_symbols

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in (*self._files.values(), self._index):
            file.close()


class TalkData:
    """A finished folder, or several that were written with the same codec, mapped from disk."""

    def __init__(self, *folders: Path) -> None:
        """Raises TalkDataError: a folder holds no talker data, or they were written by different codecs."""
        self.about = read_about(folders[0])
        self._parts: list[dict[str, NDArray[Any]]] = []
        self.utterances: list[Utterance] = []
        self._part_of: list[int] = []
        for folder in folders:
            if read_about(folder) != self.about:
                raise TalkDataError(f"{folder}: written with another codec or alphabet than {folders[0]}")
            kept = [one for one in read_index(folder) if not one.fault]
            if not kept:
                raise TalkDataError(f"{folder}: holds no utterance")
            self._part_of += [len(self._parts)] * len(kept)
            self.utterances += kept
            self._parts.append(_mapped(folder, self.about.books, kept[-1]))

    def __len__(self) -> int:
        return len(self.utterances)

    def codes(self, index: int) -> NDArray[np.int16]:
        """[T, Q] of an utterance."""
        one = self.utterances[index]
        part: NDArray[np.int16] = self._parts[self._part_of[index]]["codes"]
        return part[one.first_frame : one.first_frame + one.n_frames]

    def symbols(self, index: int) -> NDArray[np.int64]:
        """Ids [P] of an utterance."""
        return self._per_symbol("symbols", index)

    def slots(self, index: int) -> NDArray[np.int64]:
        """[P], the slots of each symbol."""
        return self._per_symbol("slots", index)

    def _per_symbol(self, name: str, index: int) -> NDArray[np.int64]:
        one = self.utterances[index]
        part = self._parts[self._part_of[index]][name]
        return part[one.first_symbol : one.first_symbol + one.n_symbols].astype(np.int64)

    @property
    def hours(self) -> float:
        return sum(one.n_frames for one in self.utterances) * self.about.frame_s / 3600

    @cached_property
    def voices(self) -> Counter[str]:
        """Code frames of every voice."""
        counts: Counter[str] = Counter()
        for one in self.utterances:
            counts[one.voice] += one.n_frames
        return counts


def read_about(folder: Path) -> About:
    """Raises TalkDataError: there is none, or it is damaged."""
    path = folder / ABOUT
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return About(**{**fields, "symbols": tuple(fields["symbols"])})
    except OSError:
        make = f"make it with python -m sottovoce.training.talk_data --out {folder}"
        raise TalkDataError(f"{folder}: no {ABOUT}; {make}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise TalkDataError(f"{path}: damaged ({error})") from None


def read_index(folder: Path) -> list[Utterance]:
    """Every whole line. Raises TalkDataError: there is no index, or a line of another kind."""
    path = folder / INDEX
    if not path.exists():
        raise TalkDataError(f"{folder}: no {INDEX}")
    raw = path.read_bytes()
    lines = raw[: raw.rfind(b"\n") + 1].decode("utf-8").split("\n")[:-1]  # one without its end was being written
    try:
        return [Utterance(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise TalkDataError(f"{path}: a damaged line ({error})") from None


def _line(one: Utterance) -> str:
    return json.dumps(dataclasses.asdict(one), ensure_ascii=False) + "\n"


def _mapped(folder: Path, books: int, last: Utterance) -> dict[str, NDArray[Any]]:
    """Raises TalkDataError: a file is missing or too short for the index."""
    parts: dict[str, NDArray[Any]] = {}
    for name, (file, kind) in FILES.items():
        wide = books if name == "codes" else 1
        wanted = wide * (last.first_frame + last.n_frames if name == "codes" else last.first_symbol + last.n_symbols)
        path = folder / file
        if not path.exists() or path.stat().st_size < wanted * np.dtype(kind).itemsize:
            raise TalkDataError(f"{path}: shorter than the index says")
        mapped = np.memmap(path, dtype=kind, mode="r", shape=(wanted,))
        parts[name] = mapped.reshape(-1, books) if name == "codes" else mapped
    return parts
