"""Utterances before they become training data: where each one's sound lies, what is said, and when, where that is known.

Two sources: folders that a teacher spoke into (``manifest.jsonl`` with ``phones`` and ``durations`` in seconds), and folders
that ``training.prepare`` wrote, whose clips have a text but no times.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from sottovoce.models.symbols import PAUSE, UnknownSymbol, ids

from .data import read_clips
from .prepare import LEVEL_DB, PEAK
from .quality import RATE_HZ, Sound, active_level, clipped_share, decibels, frame_powers
from .shards import Shards

MANIFEST = "manifest.jsonl"
PAUSES = {"<s>", "</s>"}
CLIPPED = 0.0005  # share of samples in flat tops, as in ``quality_rules``
QUIETEST_DB = -60.0
LARGEST_GAP_S = 0.03  # between the sum of durations and the length of the file; a teacher's grid is 25 ms


class BadTake(ValueError):
    """An utterance that nothing is to be learnt from; the message begins with the kind of fault, before a colon."""


class TakesError(ValueError):
    """A folder of takes cannot be read."""


@dataclass(frozen=True, slots=True)
class Take:
    """One utterance."""

    key: str
    "Names it among all takes: folder and file."
    voice: str
    text: str
    teacher: str = ""
    "Who spoke it; empty: a person."
    file: str = ""
    "Sound file; empty: the shards of ``folder``."
    folder: str = ""
    start: int = 0
    n_samples: int = 0
    phones: tuple[str, ...] = ()
    durations_s: tuple[float, ...] = ()
    "Symbols and their times, as a teacher tells them."

    @property
    def has_times(self) -> bool:
        """Whether times are told, and not to be found by an aligner."""
        return bool(self.teacher or self.phones)


@dataclass(frozen=True, slots=True)
class Timed:
    """The sound of a take with the times of its symbols."""

    pcm: Sound
    "[T] float32 at 24 kHz."
    symbols: NDArray[np.int64]
    durations_s: NDArray[np.float64]
    "[P] each, they add up to the sound."


def synthesised(folder: Path) -> Iterator[Take]:
    """What a teacher spoke, in the manifest's order; a last line that is still being written is left out.

    Raises:
        TakesError: no manifest, or a line of another kind.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise TakesError(f"{folder}: no {MANIFEST}; a teacher's folder has one")
    raw = path.read_bytes()
    for number, line in enumerate(raw[: raw.rfind(b"\n") + 1].decode("utf-8").split("\n")[:-1], 1):
        try:
            row = json.loads(line)
            phones, durations = tuple(map(str, row["phones"] or ())), tuple(map(float, row["durations"] or ()))
            file = str(folder / row["file"])
            yield Take(
                f"{folder.name}/{row['file']}", row["voice"], row["text"], row["teacher"], file,
                phones=phones, durations_s=durations,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise TakesError(f"{path}: line {number} is not an utterance with its times ({error!r})") from None


def recorded(folder: Path) -> Iterator[Take]:
    """The clips of a prepared folder that have a text. Raises ValueError: not prepared, or no clip has one."""
    clips = [clip for clip in read_clips(folder) if clip.text]
    if not clips:
        raise TakesError(f"{folder}: no clip has a text; prepare it anew from recordings with transcripts")
    for clip in clips:
        voice = clip.speaker or clip.source
        place = {"folder": str(folder), "start": clip.start, "n_samples": clip.n_samples}
        yield Take(f"{folder.name}/{clip.file}", voice, clip.text, **place)  # type: ignore[arg-type]


def sound(take: Take, longest_s: float) -> Sound:
    """Its samples at 24 kHz and an active level of -26 dBFS.

    Raises:
        BadTake: not readable, too long, too short, silent, clipped, or not finite.
    """
    if take.file:
        try:
            audio, rate_hz = soundfile.read(take.file, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
            raise BadTake(f"not readable: {str(error).split(': ')[-1]}") from None
        pcm = audio.mean(1) if len(audio) else np.zeros(0, np.float32)
        if rate_hz != RATE_HZ:
            pcm = soxr.resample(pcm, rate_hz, RATE_HZ)
    else:
        pcm = Shards(Path(take.folder)).read(take.start, take.n_samples).astype(np.float32) / 32768
    seconds = len(pcm) / RATE_HZ
    if seconds > longest_s:
        raise BadTake(f"too long: {seconds:.1f} s")
    if seconds < 0.1:
        raise BadTake(f"too short: {seconds:.2f} s")
    if not np.isfinite(pcm).all():
        raise BadTake("not finite: its samples")
    if (share := clipped_share(pcm)) > CLIPPED:
        raise BadTake(f"clipped: {100 * share:.2f} % of the samples")
    powers = frame_powers(pcm)
    level_db = active_level(powers)
    if level_db < QUIETEST_DB or decibels(powers).max() < QUIETEST_DB:
        raise BadTake(f"silent: {level_db:.0f} dBFS")
    gain = min(10 ** ((LEVEL_DB - level_db) / 20), PEAK / float(np.abs(pcm).max()))
    return (pcm * gain).astype(np.float32)


def symbol_ids(phones: tuple[str, ...]) -> NDArray[np.int64]:
    """Ids [P]; begin and end marks are the same pause. Raises BadTake: a symbol is not in our table."""
    try:
        return ids([PAUSE if phone in PAUSES else phone for phone in phones])
    except UnknownSymbol as error:
        raise BadTake(f"unknown symbol: {error.symbol!r}") from None


def timed(take: Take, pcm: Sound) -> Timed:
    """A synthesised take with its times.

    Raises:
        BadTake: without times, of an unknown symbol, or times that are not those of the sound.
    """
    if not take.phones or len(take.phones) != len(take.durations_s):
        raise BadTake(f"without times: {len(take.phones)} symbols, {len(take.durations_s)} durations")
    symbols, durations_s = symbol_ids(take.phones), np.array(take.durations_s, np.float64)
    if symbols[0] or symbols[-1] or not symbols.any():
        raise BadTake("without pauses: at its beginning and end, and sounds between them")
    seconds = len(pcm) / RATE_HZ
    if not np.isfinite(durations_s).all() or durations_s.min() < 0:
        raise BadTake("without times: a duration is negative or not finite")
    if abs(float(durations_s.sum()) - seconds) > LARGEST_GAP_S:
        raise BadTake(f"durations: they sum to {durations_s.sum():.3f} s, the file has {seconds:.3f} s")
    return Timed(pcm, *one_pause(symbols, durations_s))


def one_pause(
    symbols: NDArray[np.int64], durations_s: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where a sentence's end mark meets the next one's beginning, one pause of both lengths."""
    first = np.ones(len(symbols), bool)
    first[1:] = (symbols[1:] != 0) | (symbols[:-1] != 0)
    return symbols[first], np.add.reduceat(durations_s, np.flatnonzero(first))


def lead_cut(given: Timed, lead_s: float) -> Timed:
    """With at most ``lead_s`` of the pause at its beginning: a talker that is to answer at once must not learn to wait."""
    cut = round((given.durations_s[0] - lead_s) * RATE_HZ)
    if given.symbols[0] != 0 or cut <= 0:
        return given
    durations_s = given.durations_s.copy()
    durations_s[0] -= cut / RATE_HZ
    return Timed(given.pcm[cut:], given.symbols, durations_s)
