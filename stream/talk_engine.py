"""An engine that also talks: a codec's engine, with a talker beside it in the same rows.

One row of the engine is one listener with everything that it needs: who has a row can speak, and the step that is due first
comes first, whether it writes codes or makes sound of them. Rows that have a frame to say step as one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from sottovoce.models.alignment import align, round_slots
from sottovoce.models.config import Preset
from sottovoce.models.sampling import Noise, Sampling
from sottovoce.models.symbols import PAUSE, ids
from sottovoce.models.talker_config import TALKERS
from sottovoce.models.talker_file import TalkerAbout, read_about
from sottovoce.models.weight_file import WEIGHTS, CheckpointError, default_path, read_preset

from .descriptor import Descriptor
from .engine import TALK_KINDS, Engine, Work
from .errors import WeightsError
from .talk_work import TAIL_S, Manner, Moment, Reading, Score, Voice

MANY_ROWS = 64
DRAWERS = 8
"""Threads that draw random numbers for many rows."""
TRAIN = "train one and put it there, or name the folder that has one with --weights"


def talker_path(codec: str, weights: Path | None = None) -> Path:
    """The weight file of the talker for the preset ``codec`` in the folder ``weights`` (None: the package's own).

    Raises:
        WeightsError: there is none.
    """
    talkers = [config.name for config in TALKERS.values() if config.codec == codec]
    if not talkers:
        raise WeightsError(f"there is no talker for the codec {codec}")
    path = default_path(talkers[0], "talker", WEIGHTS if weights is None else weights)
    if not path.exists():
        raise WeightsError(f"no talker for {codec}: {path} is not there; {TRAIN}")
    return path


def read_voices(codec: str, weights: Path | None = None) -> tuple[Voice, ...]:
    """The voices of that talker, without loading it.

    Raises:
        WeightsError: there is no talker, or it cannot be read.
    """
    try:
        return _voices(read_about(talker_path(codec, weights)))
    except CheckpointError as error:
        raise WeightsError(f"cannot load the talker of {codec}: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """How the codes of R rows are chosen (``models/sampling.py``)."""

    uniform: NDArray[np.float32]
    "[R, Q, V], from 0 to 1."
    temperature: NDArray[np.float32]
    top_k: NDArray[np.int64]


class Talks(Protocol):
    """A talker for the rows of an engine, on the backend of that engine."""

    @property
    def about(self) -> TalkerAbout:
        """What it is, and its voices."""
        ...

    @property
    def row_bytes(self) -> int:
        """What a stream keeps between two steps."""
        ...

    def clause(self, symbols: NDArray[np.int64], voice: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Encodings [P, D] of the symbols [P] of a clause, and how many slots each takes, [P], not whole yet."""
        ...

    def reset(self, row: int) -> None:
        """A row forgets what it said."""
        ...

    def step(
        self, rows: list[int], condition: NDArray[np.float32], voice: NDArray[np.int64], draw: Draw
    ) -> NDArray[np.int16]:
        """Codes [R, Q] of the next frame of ``rows``, told ``condition`` [R, S, D + 2] in the voices [R]."""
        ...


class Codes(Engine, Protocol):
    """An engine for whose codec there may be a talker."""

    def make_talker(self, path: Path) -> Talks:
        """That of a weight file, with as many rows as the engine. Raises CheckpointError."""
        ...


def add_talker(codec: Engine, weights: Path | None = None) -> TalkEngine:
    """``codec`` and the talker for it from the folder ``weights`` (None: the package's own), ready to step.

    Raises:
        WeightsError: there is no talker for this codec, or its weights do not fit.
    """
    name = codec.descriptor.preset
    path = talker_path(name, weights)
    try:
        preset, _ = read_preset(name, path.parent)
        return TalkEngine(codec, preset, cast(Codes, codec).make_talker(path))
    except CheckpointError as error:
        raise WeightsError(f"cannot load the talker of {name}: {error}") from error


class TalkEngine:
    """An `engine.Engine` with the kinds of ``talk_work.py``.

    Attributes:
        voices: by number.
    """

    def __init__(self, codec: Engine, preset: Preset, talker: Talks) -> None:
        """Runs each step once, so that the first frame is as quick as the others.

        Args:
            codec: an engine of its own, that nobody else steps.
            preset: of the codec.
            talker: one that speaks its codes, with as many rows.
        """
        self.voices = _voices(talker.about)
        self._codec, self._talker, self._config = codec, talker, talker.about.config
        mel = preset.mel
        self._slot_s = mel.hop / mel.rate_hz
        # Slot k stands for a hop about the middle of its window, (k + 1) hop - n_fft / 2 of the sound that the codec heard;
        # what comes out of the codec is later by its delay.
        self._first_slot_s = (mel.hop / 2 - mel.n_fft / 2 + codec.descriptor.delay_samples) / mel.rate_hz
        self._noises: list[Noise | None] = [None] * codec.rows
        self._uniform = np.empty((codec.rows, *self._config.frame_shape), np.float32)
        self._drawers = ThreadPoolExecutor(DRAWERS, "sottovoce-draw")  # it has no threads before they are needed
        self._talk([Work(0, "talk", Moment(self._read(Reading("ə", Manner())), 0), 0.0)])
        self._noises[0] = None

    @property
    def descriptor(self) -> Descriptor:
        """The codec."""
        return self._codec.descriptor

    @property
    def rows(self) -> int:
        """How many streams it carries at once."""
        return self._codec.rows

    @property
    def row_bytes(self) -> int | None:
        """What a stream keeps between two steps; None where the codec's engine does not tell."""
        of_codec: int | None = getattr(self._codec, "row_bytes", None)
        return None if of_codec is None else of_codec + self._talker.row_bytes

    def open(self) -> int:
        """Take a free row. Raises NoSlot."""
        row = self._codec.open()
        self._noises[row] = None
        return row

    def close(self, row: int) -> None:
        """Give ``row`` back. Raises ValueError: it is not open."""
        self._codec.close(row)

    def step(self, work: Sequence[Work]) -> list[Any]:
        """Do the pieces, those of a kind as one batch. A row's first frame, and a fresh one, begins a text.

        Raises:
            ValueError: as the codec's engine; a symbol that is no phoneme, a voice that is not there, two frames for one row.
            IndexError: a frame beyond its score.
        """
        answers: dict[int, Any] = {}
        coding = [i for i, piece in enumerate(work) if piece.kind not in TALK_KINDS]
        talking = [i for i, piece in enumerate(work) if piece.kind == "talk"]
        if coding:
            answers.update(zip(coding, self._codec.step([work[i] for i in coding]), strict=True))
        if talking:
            answers.update(zip(talking, self._talk([work[i] for i in talking]), strict=True))
        return [answers[i] if i in answers else self._read(piece.data) for i, piece in enumerate(work)]

    def _read(self, reading: Reading) -> Score:
        manner, slots_per_frame = reading.manner, self._config.mels_per_frame
        if not 0 <= manner.voice < len(self.voices):
            raise ValueError(f"there is no voice number {manner.voice}")
        symbols = ids((PAUSE, *reading.phonemes, PAUSE))
        encodings, durations = self._talker.clause(symbols, manner.voice)
        due = durations.astype(np.float64)
        due[-1] = max(due[-1], reading.least_pause_s / self._slot_s * manner.speed)
        slots = round_slots(due, symbols, slots_per_frame, manner.speed)
        n_frames = int(slots.sum()) // slots_per_frame
        tail = round(TAIL_S / (self._slot_s * slots_per_frame))
        spoken, progress = align(slots, n_frames + tail, slots_per_frame)
        return Score(manner, n_frames, np.cumsum(slots), self._slot_s, self._first_slot_s, encodings, spoken, progress)

    def _talk(self, work: Sequence[Work]) -> list[NDArray[np.int16]]:
        rows = [piece.row for piece in work]
        if len(set(rows)) < len(rows):
            raise ValueError("two frames for the same row in one step")
        moments: list[Moment] = [piece.data for piece in work]
        manners = [moment.score.manner for moment in moments]
        draw = Draw(
            self._drawn([self._noise(piece) for piece in work]),
            np.array([manner.temperature for manner in manners], np.float32),
            np.array([manner.top_k for manner in manners]),
        )
        condition = np.stack([moment.score.condition(moment.frame) for moment in moments])
        voice = np.array([manner.voice for manner in manners])
        return list(self._talker.step(rows, condition, voice, draw)[:, None])

    def _drawn(self, noises: Sequence[Noise]) -> NDArray[np.float32]:
        """Numbers from each, in an array that the next step overwrites. For many rows that takes longer than a GPU does."""
        n, drawn = len(noises), self._uniform[: len(noises)]

        def some(first: int) -> None:
            for i in range(first, n, DRAWERS):
                noises[i].draw(drawn[i])

        if n < MANY_ROWS:
            for noise, place in zip(noises, drawn, strict=True):
                noise.draw(place)
        else:
            list(self._drawers.map(some, range(DRAWERS)))
        return drawn

    def _noise(self, piece: Work) -> Noise:
        """Of its row; a text that begins makes a new one, and forgets what was said."""
        row, manner = piece.row, piece.data.score.manner
        noise = self._noises[row]
        if noise is None or piece.fresh:
            sampling = Sampling(manner.temperature, manner.top_k, manner.seed)
            noise = self._noises[row] = Noise(sampling, *self._config.frame_shape)
            self._talker.reset(row)
        return noise


def _voices(about: TalkerAbout) -> tuple[Voice, ...]:
    return tuple(Voice(voice.name, voice.sex, voice.language, voice.licence) for voice in about.voices)
