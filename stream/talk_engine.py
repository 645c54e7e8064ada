"""An engine that also talks: a codec's engine, with the talker's ONNX graphs beside it in the same rows.

One row of the engine is one listener with everything that it needs: who has a row can speak, and the step that is due first
comes first, whether it writes codes or makes sound of them. Rows that have a frame to say step as one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.models.alignment import align, round_slots
from sottovoce.models.config import Preset
from sottovoce.models.onnx_talker import OnnxTalker, build_talker
from sottovoce.models.sampling import Noise, Sampling
from sottovoce.models.symbols import PAUSE, ids
from sottovoce.models.talker_config import TALKERS
from sottovoce.models.talker_file import TalkerAbout, read_about
from sottovoce.models.weight_file import WEIGHTS, CheckpointError, default_path, read_preset

from .descriptor import Descriptor
from .engine import TALK_KINDS, Engine, Work
from .errors import WeightsError
from .onnx_step import SteppedGraph, session
from .talk_work import TAIL_S, Manner, Moment, Reading, Score, Voice

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


def add_talker(codec: Engine, weights: Path | None = None, threads: int = 1) -> TalkEngine:
    """``codec`` and the talker for it from the folder ``weights`` (None: the package's own), ready to step.

    Raises:
        WeightsError: there is no talker for this codec, or its weights do not fit.
    """
    name = codec.descriptor.preset
    path = talker_path(name, weights)
    try:
        preset, _ = read_preset(name, path.parent)
        return TalkEngine(codec, preset, build_talker(path, preset, codec.descriptor.model_hash), threads)
    except CheckpointError as error:
        raise WeightsError(f"cannot load the talker of {name}: {error}") from error


class TalkEngine:
    """An `engine.Engine` with the kinds of ``talk_work.py``.

    Attributes:
        voices: by number.
    """

    def __init__(self, codec: Engine, preset: Preset, talker: OnnxTalker, threads: int = 1) -> None:
        """Runs each graph once, so that the first frame is as quick as the others.

        Args:
            codec: an engine of its own, that nobody else steps.
            preset: of the codec.
            talker: one that speaks its codes.
            threads: of each graph.
        """
        self.voices = _voices(talker.about)
        self._codec, self._config = codec, talker.about.config
        mel = preset.mel
        self._slot_s = mel.hop / mel.rate_hz
        # Slot k stands for a hop about the middle of its window, (k + 1) hop - n_fft / 2 of the sound that the codec heard;
        # what comes out of the codec is later by its delay.
        self._first_slot_s = (mel.hop / 2 - mel.n_fft / 2 + codec.descriptor.delay_samples) / mel.rate_hz
        self._clause = session(talker.clause, threads)
        self._frame = SteppedGraph(talker.frame, codec.rows, threads)
        self._write = SteppedGraph(talker.write, codec.rows, threads)
        self._previous = np.zeros((codec.rows, self._config.books), np.int64)
        self._noises: list[Noise | None] = [None] * codec.rows
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
        return None if of_codec is None else of_codec + self._frame.row_bytes + self._previous[0].nbytes

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
        encodings, durations = self._clause.run(
            ["encodings", "slots"], {"symbols": symbols[None], "voice": np.array([manner.voice])}
        )
        due = durations[0].astype(np.float64)
        due[-1] = max(due[-1], reading.least_pause_s / self._slot_s * manner.speed)
        slots = round_slots(due, symbols, slots_per_frame, manner.speed)
        n_frames = int(slots.sum()) // slots_per_frame
        tail = round(TAIL_S / (self._slot_s * slots_per_frame))
        spoken, progress = align(slots, n_frames + tail, slots_per_frame)
        return Score(
            manner, n_frames, np.cumsum(slots), self._slot_s, self._first_slot_s, encodings[0], spoken, progress
        )

    def _talk(self, work: Sequence[Work]) -> list[NDArray[np.int16]]:
        rows = [piece.row for piece in work]
        if len(set(rows)) < len(rows):
            raise ValueError("two frames for the same row in one step")
        moments: list[Moment] = [piece.data for piece in work]
        noise = np.stack([self._noise(piece).next() for piece in work])
        top_k = np.array([moment.score.manner.top_k for moment in moments])
        condition = np.stack([moment.score.condition(moment.frame) for moment in moments])
        voice = np.array([moment.score.manner.voice for moment in moments])
        (hidden,) = self._frame.step(rows, self._previous[rows], condition, voice)
        codes = self._write.step(rows, hidden, noise, top_k)[0]
        self._previous[rows] = codes
        return list(codes[:, None].astype(np.int16))

    def _noise(self, piece: Work) -> Noise:
        """Of its row; a text that begins makes a new one, and forgets what was said."""
        row, manner = piece.row, piece.data.score.manner
        noise = self._noises[row]
        if noise is None or piece.fresh:
            sampling = Sampling(manner.temperature, manner.top_k, manner.seed)
            noise = self._noises[row] = Noise(sampling, *self._config.frame_shape)
            self._previous[row] = self._config.start_code
            self._frame.reset(row)
        return noise


def _voices(about: TalkerAbout) -> tuple[Voice, ...]:
    return tuple(Voice(voice.name, voice.sex, voice.language, voice.licence) for voice in about.voices)
