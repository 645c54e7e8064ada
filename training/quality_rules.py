"""What is left out of training, what is only remarked on, and why.

After the list of checks that data sets for speech synthesis need: noise, clipping, silence, one rate and format, true
bandwidth, texts that fit their sound, broken files, lengths, duplicates. Reads measures, never sound: other limits are a
matter of seconds.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .quality import RATE_HZ
from .shards import Record


@dataclass(frozen=True)
class Limits:
    """What a clip must keep to."""

    shortest_s: float = 0.5
    least_level_db: float = -60.0
    "Active level in dBFS; below: silence."
    least_snr_db: float = 15.0
    "Speech above the quietest tenth of the clip."
    most_clipped: float = 0.0005
    "Share of samples in flat tops."
    most_silence: float = 0.6
    "Share of pauses."
    least_bandwidth_hz: float = 2500.0
    text_factor: float = 2.2
    "How much faster or slower than usual for its language a text may be spoken."
    text_spreads: float = 5.0
    "And how many robust standard deviations it must be away to be left out."


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one record. It is kept where there is no reason against it."""

    reasons: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def kept(self) -> bool:
        return not self.reasons


COPY_BITS = 38  # of 256: other recordings differ in about 128, give or take 8
COPY_LENGTH, COPY_LENGTH_S = 1.01, 0.06  # as much longer may a copy be: trimming goes in steps of 20 ms
ONES = np.unpackbits(np.arange(2**16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16).sum(1).astype(np.uint8)
SHORT_TEXT_LETTERS = 4  # so many letters may be drawn out twice as far: "Ah, indeed."
FEW_TEXTS = 8  # too few to know what is usual
USUAL_LETTERS_PER_S = (2.0, 35.0)  # from syllabaries to alphabets, all languages
ODD_SHARE, USUAL_SHARE = 0.1, 0.8
UPSAMPLED = 0.75  # of what the file's rate could hold


def judge(records: Sequence[Record], limits: Limits) -> list[Verdict]:
    """A verdict for each record, in order. Each reason begins with the name of its check, then a colon."""
    reasons: list[list[str]] = [_alone(record, limits) for record in records]
    remarks: list[list[str]] = [_remarks(record) for record in records]
    for index, words in _misfit_texts(records, limits).items():
        reasons[index].append(words)
    for index, words in _copies(records, [not why for why in reasons]).items():
        reasons[index].append(words)
    for index, words in _odd_formats(records).items():
        remarks[index].append(words)
    return [Verdict(tuple(why), tuple(what)) for why, what in zip(reasons, remarks, strict=True)]


def _alone(record: Record, limits: Limits) -> list[str]:
    """What can be seen without the others."""
    if record.fault or not record.measures:
        return [record.fault]
    m = record.measures
    if m.level_db < limits.least_level_db:
        return [f"silent: {m.level_db:.0f} dBFS"]
    checks = {
        f"too short: {m.seconds:.2f} s": m.seconds < limits.shortest_s,
        f"noisy: {m.snr_db:.0f} dB above its floor": m.snr_db < limits.least_snr_db,
        f"clipped: {m.clipped:.2%} of samples": m.clipped > limits.most_clipped,
        f"silence: {m.silence:.0%} pauses": m.silence > limits.most_silence,
        f"muffled: nothing above {m.bandwidth_hz:.0f} Hz": m.bandwidth_hz < limits.least_bandwidth_hz,
    }
    return [words for words, true in checks.items() if true]


def _remarks(record: Record) -> list[str]:
    if not record.measures:
        return []
    m = record.measures
    could_hz = min(m.rate_hz, RATE_HZ) / 2
    checks = {
        f"upsampled: {m.bandwidth_hz / 1000:.1f} kHz in a file of {m.rate_hz} Hz": m.bandwidth_hz
        < UPSAMPLED * could_hz,
        "text: figures or signs that are not letters": any(
            c.isdecimal() or c in "\ufffd<>{}[]@#%&=" for c in record.text
        ),
    }
    return [words for words, true in checks.items() if true]


def letters_per_s(record: Record) -> float:
    """Letters of the text a second of speech, pauses not counted."""
    assert record.measures
    letters = sum(character.isalnum() for character in record.text)
    return letters / (record.measures.seconds * (1 - record.measures.silence) + 1e-3)


def _misfit_texts(records: Sequence[Record], limits: Limits) -> dict[int, str]:
    """Texts that are far too long or short for their sound: against the median of their language, robustly."""
    by_language: dict[str, dict[int, float]] = defaultdict(dict)
    for index, record in enumerate(records):
        if record.measures and record.text:
            by_language[record.language][index] = letters_per_s(record)
    found: dict[int, str] = {}
    for rates in by_language.values():
        logs = np.log(np.maximum(list(rates.values()), 1e-3))
        usual = float(np.median(logs))
        spread = 1.4826 * float(np.median(np.abs(logs - usual)))
        reach = max(limits.text_spreads * spread, float(np.log(limits.text_factor)))
        for index, rate in rates.items():
            letters = sum(character.isalnum() for character in records[index].text)
            own = reach * (1 + SHORT_TEXT_LETTERS / max(letters, 1))
            low, high = (np.exp(usual - own), np.exp(usual + own)) if len(logs) >= FEW_TEXTS else USUAL_LETTERS_PER_S
            if not low <= rate <= high:
                found[index] = f"text does not fit: {rate:.1f} letters/s, usual are {low:.1f} to {high:.1f}"
    return found


def _copies(records: Sequence[Record], good: Sequence[bool]) -> dict[int, str]:
    """Recordings that are there before, in whatever format or level: much the same fingerprint at the same length.

    Only among those that are ``good`` otherwise: a clean copy must not go for the sake of one that is left out itself.
    """
    by_length = sorted(
        (r.measures.seconds, i, r.measures.fingerprint)
        for i, r in enumerate(records)
        if good[i] and r.measures and r.n_samples
    )
    if not by_length:
        return {}
    seconds = np.array([row[0] for row in by_length])
    words = np.frombuffer(bytes.fromhex("".join(row[2] for row in by_length)), dtype=np.uint16).reshape(-1, 16)
    ends = np.searchsorted(seconds, seconds * COPY_LENGTH + COPY_LENGTH_S, side="right")
    found: dict[int, str] = {}
    for at, end in enumerate(ends):
        alike = np.flatnonzero(ONES[words[at + 1 : end] ^ words[at]].sum(1) <= COPY_BITS) + at + 1
        for other in alike:
            first, second = sorted((by_length[at][1], by_length[int(other)][1]))
            found.setdefault(second, f"duplicate: of {records[first].file}")
    return found


def _odd_formats(records: Sequence[Record]) -> dict[int, str]:
    """Files of another rate, format or number of channels than nearly all of their folder."""
    found: dict[int, str] = {}
    by_folder: dict[str, dict[int, str]] = defaultdict(dict)
    for index, record in enumerate(records):
        if record.measures:
            m = record.measures
            by_folder[record.folder][index] = f"{m.format}, {m.rate_hz} Hz, {m.channels} channels"
    for kinds in by_folder.values():
        counts = Counter(kinds.values())
        usual, often = counts.most_common(1)[0]
        if often >= USUAL_SHARE * len(kinds):
            for index, kind in kinds.items():
                if kind != usual and counts[kind] <= max(1, ODD_SHARE * len(kinds)):
                    found[index] = f"inconsistent: {kind}, where the folder is {usual}"
    return found
