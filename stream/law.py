"""The streaming law, held against a running engine: whatever the cuts, the neighbours and the resets, a row says the same.

Each kind of work is given what the kind before it said about a made-up voice, first frame by frame in a row by itself; that is
the reference. Samples and mel may differ from it by 1e-5 of the largest value (more where they are computed in fewer bits),
codes not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clicks import clicks
from .descriptor import Descriptor
from .engine import KINDS, Engine, Kind, Work
from .frames import Pcm

TOLERANCE = 1e-5
LONGEST_PIECE = 7
Chance = np.random.Generator


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check of one kind of work."""

    check: str
    "cuts, rows, resets or clicks."
    kind: str
    worst: float
    "Largest difference over the largest value; of codes, the share that differs; of clicks, the score."
    allowed: float
    n: int
    "Pieces, or seams, that were looked at."

    @property
    def good(self) -> bool:
        """Whether the law holds; a value that is no number breaks it."""
        return self.worst <= self.allowed


def voice(descriptor: Descriptor, n_frames: int, seed: int = 0) -> Pcm:
    """Something like speech: a gliding pitch with formants, syllables, hiss and pauses; at most 0.5."""
    chance, n = np.random.default_rng(seed), n_frames * descriptor.frame_samples
    t = np.arange(n) / descriptor.rate_hz
    pitch_hz = 130 + 50 * np.sin(2 * np.pi * 0.7 * t) + 15 * np.sin(2 * np.pi * 5 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / descriptor.rate_hz
    voiced = np.zeros(n)
    for harmonic in range(1, 25):
        hz = harmonic * pitch_hz
        formants = sum(np.exp(-(((hz - centre) / 250) ** 2)) for centre in (600 + 200 * np.sin(3 * t), 1500.0, 2600.0))
        voiced += np.sin(harmonic * phase) * (0.02 + formants) * (hz < descriptor.rate_hz / 2)
    loud = np.clip(np.sin(2 * np.pi * 2.3 * t) + 0.6, 0, 1)
    pcm = loud * voiced + 0.05 * (1.2 - loud) * chance.standard_normal(n)
    result: Pcm = (0.5 * pcm / np.abs(pcm).max()).astype(np.float32)
    return result


def check_engine(engine: Engine, n_frames: int, seed: int = 0, tolerance: float = TOLERANCE) -> Iterator[Verdict]:
    """All checks, which take and give back all rows. At least two rows, forty frames.

    Args:
        tolerance: of decoder and vocoder, where they compute in fewer bits than float32 (`rounding`).

    Raises:
        ValueError: fewer rows or frames.
        NoSlot: a row is taken.
    """
    if engine.rows < 2 or n_frames < 40:
        raise ValueError(f"the law needs two rows and forty frames, not {engine.rows} and {n_frames}")
    rows = [engine.open() for _ in range(engine.rows)]
    chance = np.random.default_rng(seed)
    try:
        heard = [_reference(engine, rows[0], voice(engine.descriptor, n_frames, seed + i)) for i in range(len(rows))]
        allowed: dict[Kind, float] = {"mel": TOLERANCE, "encode": 0.0, "decode": tolerance, "vocode": tolerance}
        for kind in KINDS:
            yield replace(_cuts(engine, rows[0], kind, heard[0], chance), allowed=allowed[kind])
        for resets in (False, True):
            for kind in KINDS:
                yield replace(_rows(engine, rows, kind, heard, chance, resets), allowed=allowed[kind])
        yield _clicks(engine.descriptor, heard[0]["vocode"].answer)
    finally:
        for row in rows:
            engine.close(row)


@dataclass(frozen=True, slots=True)
class _Said:
    given: NDArray[Any]
    answer: NDArray[Any]


Heard = dict[Kind, _Said]


def _reference(engine: Engine, row: int, pcm: Pcm) -> Heard:
    """What each kind says to what the kind before it said, a frame at a time."""
    heard: Heard = {}
    data: NDArray[Any] = pcm
    for kind in KINDS:
        unit = _unit(engine.descriptor, kind)
        pieces = np.split(data, len(data) // unit)
        answers = [engine.step([Work(row, kind, piece, 0.0, fresh=i == 0)])[0] for i, piece in enumerate(pieces)]
        heard[kind] = _Said(data, np.concatenate(answers))
        data = heard[kind].answer
    return heard


def _unit(descriptor: Descriptor, kind: Kind) -> int:
    return {"mel": descriptor.frame_samples, "decode": 1}.get(kind, descriptor.mels_per_frame)


def _cuts(engine: Engine, row: int, kind: Kind, heard: Heard, chance: Chance) -> Verdict:
    given, unit = heard[kind].given, _unit(engine.descriptor, kind)
    answers, at = [], 0
    while at < len(given):
        size = unit * int(chance.integers(1, LONGEST_PIECE + 1))
        answers.append(engine.step([Work(row, kind, given[at : at + size], 0.0, fresh=at == 0)])[0])
        at += size
    worst = _difference(kind, np.concatenate(answers), heard[kind].answer)
    return Verdict("cuts", kind, worst, 0.0, len(answers))


def _rows(
    engine: Engine, rows: Sequence[int], kind: Kind, heard: Sequence[Heard], chance: Chance, resets: bool
) -> Verdict:
    """Random rows in random order, each with its own stream; with ``resets`` streams also begin again in between."""
    unit = _unit(engine.descriptor, kind)
    streams = [np.split(one[kind].given, len(one[kind].given) // unit) for one in heard]
    expected = [np.split(one[kind].answer, len(stream)) for one, stream in zip(heard, streams, strict=True)]
    at, worst, n, of = [0] * len(rows), 0.0, 0, list(range(len(rows)))  # row i plays stream of[i]
    for _ in range(2 * len(streams[0])):
        chosen = [int(i) for i in chance.permutation(len(rows))[: chance.integers(1, len(rows) + 1)]]
        work = []
        for i in chosen:
            if at[i] == len(streams[of[i]]) or (resets and at[i] and chance.random() < 0.15):
                at[i], of[i] = 0, int(chance.integers(len(streams)))
            work.append(Work(rows[i], kind, streams[of[i]][at[i]], 0.0, fresh=at[i] == 0))
        for i, answer in zip(chosen, engine.step(work), strict=True):
            worst = max(worst, _difference(kind, answer, expected[of[i]][at[i]]))
            at[i] += 1
            n += 1
    return Verdict("resets" if resets else "rows", kind, worst, 0.0, n)


def _clicks(descriptor: Descriptor, pcm: Pcm) -> Verdict:
    """Of sound that was made a frame at a time; an engine that says nothing, or no numbers, is wrong too."""
    seams = np.arange(descriptor.frame_samples, len(pcm), descriptor.frame_samples)
    try:
        found = clicks(pcm, seams, descriptor.rate_hz)
    except ValueError:
        return Verdict("clicks", "vocode", float("inf"), 0.5, 0)
    return Verdict("clicks", "vocode", found.score, found.allowed, found.seams)


def _difference(kind: Kind, got: NDArray[Any], expected: NDArray[Any]) -> float:
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    if kind == "encode":
        return float((got != expected).mean())
    return float(np.abs(got - expected).max() / max(1.0, float(np.abs(expected).max())))


def rounding(dtype: str) -> float:
    """What `check_engine` allows a decoder and a vocoder that compute in ``dtype``: eight roundings of the largest value, as
    each cut and each batch rounds in another order."""
    return {"float16": 8 * 2.0**-11, "bfloat16": 8 * 2.0**-8}.get(dtype, TOLERANCE)


def check_talker(engine: Engine, step: Callable[[int, int], Work], n_frames: int, seed: int = 0) -> Verdict:
    """Rows of a talker among random neighbours write what they write alone.

    Args:
        engine: one that talks.
        step: (row, frame) -> the work of that frame; the first one begins a text.
    """
    rows, chance = [engine.open() for _ in range(engine.rows)], np.random.default_rng(seed)
    try:
        alone = [[engine.step([step(row, frame)])[0] for frame in range(n_frames)] for row in rows]
        at, wrong, n = [0] * len(rows), 0, 0
        while min(at) < n_frames:
            waiting = [i for i in range(len(rows)) if at[i] < n_frames]
            chosen = [i for i in chance.permutation(waiting)[: chance.integers(1, len(waiting) + 1)]]
            for i, codes in zip(chosen, engine.step([step(rows[i], at[i]) for i in chosen]), strict=True):
                wrong += int((codes != alone[i][at[i]]).sum())
                n += codes.size
                at[i] += 1
        return Verdict("rows", "talk", wrong / n, 0.0, n)
    finally:
        for row in rows:
            engine.close(row)
