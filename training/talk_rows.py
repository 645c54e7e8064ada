"""Batches for the talker: rows of one length, each filled with utterances of one voice that follow each other.

A row begins as a text does, after nothing, and goes on from utterance to utterance without starting anew, as a talker does that
speaks a long text. What the encoder sees at once is a clause: utterances are cut at punctuation, always between sentences
and elsewhere by chance, since texts arrive whole or in pieces. Every clause has a pause at both ends, of no slots where
the cut was made in running speech. Rows are full to the last frame, so nothing is computed that is not learnt from.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.models.symbols import PAUSE, SYMBOLS

from .talk_store import TalkData

HELD_OUT = 100  # one utterance in so many is for checking alone
PAUSE_ID, SPACE_ID = SYMBOLS.index(PAUSE), SYMBOLS.index(" ")
SENTENCE_ENDS = {SYMBOLS.index(symbol) for symbol in ".!?…"}
BORDERS = SENTENCE_ENDS | {SYMBOLS.index(symbol) for symbol in ";:,—"}
LEAST_SYMBOLS = 8  # in front of a cut within a sentence, and behind it
LONG_SYMBOLS = 25  # in front of a cut between two words
LEAD_FRAMES = 2
"""Of the pause between two sentences, what belongs to the second; as ``talk_data`` leaves it in front of the first."""

Integers = NDArray[np.int64]
Clause = tuple[Integers, Integers]
"""Symbols and slots, [P] each."""


@dataclass(frozen=True, slots=True)
class Rows:
    """B rows of T frames that speak C clauses in all; P symbols in the longest, S slots a frame, Q books."""

    codes: Tensor
    "int64 [B, T, Q]."
    voice: Tensor
    "int64 [B]."
    symbols: Tensor
    "int64 [C, P], -1 where a clause is filled up."
    slots: Tensor
    "int64 [C, P], 0 where a clause is filled up. The last clauses may go on behind the end of their row."
    clause_voice: Tensor
    "int64 [C]."
    spoken: Tensor
    "int64 [B, T * S]: the symbol of every slot, counted through the clauses."
    progress: Tensor
    "float32 [B, T, S, 2], see ``models/alignment.py``."

    def to(self, device: torch.device) -> "Rows":
        return Rows(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))


def clauses(
    symbols: Integers, slots: Integers, lead: int, cut_share: float, random: np.random.Generator
) -> list[Clause]:
    """An utterance in pieces as the front end would give them out, whose slots add up to its own.

    Args:
        symbols: [P], between two pauses.
        lead: slots of a pause between sentences that belong to the second one.
        cut_share: how likely a cut is at punctuation within a sentence; and half as likely is one between two words of
            an utterance, since a first clause that becomes too long is cut there.
    """
    symbols, slots = symbols.copy(), slots.copy()
    found: list[Clause] = []
    begin, words = 0, np.flatnonzero(symbols == SPACE_ID)
    words = words[(words > LONG_SYMBOLS) & (words < len(symbols) - LEAST_SYMBOLS)]
    cut_at = int(random.choice(words)) if len(words) and random.random() < cut_share / 2 else -1
    for at in range(1, len(symbols) - 1):
        if symbols[at] == PAUSE_ID and at > begin:
            behind = min(lead, int(slots[at]))
        elif symbols[at] == SPACE_ID and (at == cut_at or random.random() < _share(symbols, at, begin, cut_share)):
            behind = 0
        else:
            continue
        found.append(_clause(symbols[begin:at], slots[begin:at], int(slots[at]) - behind))
        symbols[at], slots[at], begin = PAUSE_ID, behind, at
    found.append(_clause(symbols[begin:-1], slots[begin:-1], int(slots[-1])))
    return found


def _share(symbols: Integers, at: int, begin: int, cut_share: float) -> float:
    """How likely a clause ends at the space ``at``."""
    before = int(symbols[at - 1])
    if before in SENTENCE_ENDS:
        return 1.0
    far = at - begin > LEAST_SYMBOLS and len(symbols) - at > LEAST_SYMBOLS
    return cut_share if before in BORDERS and far else 0.0


def _clause(symbols: Integers, slots: Integers, last: int) -> Clause:
    """With a pause of ``last`` slots at its end."""
    return np.append(symbols, PAUSE_ID), np.append(slots, last)


def held_out(key: str) -> bool:
    """The same utterances whatever others there are."""
    return zlib.crc32(key.encode()) % HELD_OUT == 0


class RowDrawer:
    """The same seed and number of draws give the same batches, wherever one resumes."""

    def __init__(
        self,
        data: TalkData,
        voices: Sequence[str],
        row_s: float,
        batch: int,
        seed: int = 0,
        balance: float = 0.5,
        cut_share: float = 0.5,
        voice_dropout: float = 0.0,
        checking: bool = False,
    ) -> None:
        """Draws ``batch`` rows of ``row_s`` seconds.

        Args:
            voices: their places are their ids; utterances of others are left out.
            balance: 1: a voice is drawn as often as it has sound; 0: all voices alike.
            voice_dropout: share of rows that are given the id behind the last voice: anybody's.
            checking: only what is held out, or else only what is not.

        Raises:
            ValueError: a voice has nothing to draw, or a row is shorter than a frame.
        """
        self.data, self.voices, self.batch, self.seed = data, list(voices), batch, seed
        self.cut_share, self.voice_dropout = cut_share, voice_dropout
        about = data.about
        self.frames = int(row_s / about.frame_s)
        self.lead = LEAD_FRAMES * about.mels_per_frame
        if self.frames < 1:
            raise ValueError(f"rows of {row_s} s are shorter than a frame of {about.frame_s} s")
        by_voice: dict[str, list[int]] = defaultdict(list)
        for index, one in enumerate(data.utterances):
            if held_out(one.key) == checking:
                by_voice[one.voice].append(index)
        have = [voice for voice in self.voices if by_voice[voice]]
        if not have or (not checking and have != self.voices):
            missing = [voice for voice in self.voices if voice not in have]
            raise ValueError(f"no utterance of {', '.join(missing)}{' that is held out' * checking}")
        self._ids = [self.voices.index(voice) for voice in have]
        self._of = [by_voice[voice] for voice in have]
        frames = np.array([sum(data.utterances[i].n_frames for i in indices) for indices in self._of], np.float64)
        self._shares = frames**balance / (frames**balance).sum()

    def draw(self, number: int) -> Rows:
        """Batch number ``number``."""
        random = np.random.default_rng((self.seed, number % 2**32))
        chosen = random.choice(len(self._ids), self.batch, p=self._shares)
        about = self.data.about
        codes = np.empty((self.batch, self.frames, about.books), np.int64)
        spoken = np.empty((self.batch, self.frames * about.mels_per_frame), np.int64)
        progress = np.empty((*spoken.shape, 2), np.float32)
        parts: list[Clause] = []
        voices: list[int] = []
        places: list[tuple[int, int, int]] = []  # row, clause, first slot in the row
        of_rows = np.array([self._ids[which] for which in chosen])
        if self.voice_dropout:
            of_rows[random.random(self.batch) < self.voice_dropout] = len(self.voices)
        for row, which in enumerate(chosen):
            for start, index in self._filled(which, random):
                part = self.data.codes(index)[: self.frames - start]
                codes[row, start : start + len(part)] = part
                slot = start * about.mels_per_frame
                whole = self.data.symbols(index), self.data.slots(index)
                for piece in clauses(*whole, self.lead, self.cut_share, random):
                    if slot >= spoken.shape[1]:
                        break
                    places.append((row, len(parts), slot))
                    parts.append(piece)
                    voices.append(int(of_rows[row]))
                    slot += int(piece[1].sum())
        width = max(len(symbols) for symbols, _ in parts)
        symbols = np.full((len(parts), width), -1, np.int64)
        slots = np.zeros((len(parts), width), np.int64)
        for i, (piece_symbols, piece_slots) in enumerate(parts):
            symbols[i, : len(piece_symbols)], slots[i, : len(piece_slots)] = piece_symbols, piece_slots
        for row, clause, slot in places:
            told, how_far = told_slots(parts[clause][1], spoken.shape[1] - slot)
            spoken[row, slot : slot + len(told)] = clause * width + told
            progress[row, slot : slot + len(told)] = how_far
        shaped = progress.reshape(self.batch, self.frames, about.mels_per_frame, 2)
        arrays = (codes, of_rows, symbols, slots, np.array(voices), spoken, shaped)
        return Rows(*map(torch.from_numpy, arrays))

    def _filled(self, which: int, random: np.random.Generator) -> Iterator[tuple[int, int]]:
        """Utterances of a voice until a row is full: first frame and index."""
        start, pool = 0, self._of[which]
        while start < self.frames:
            index = pool[int(random.integers(len(pool)))]
            yield start, index
            start += self.data.utterances[index].n_frames


def told_slots(slots: Integers, most: int) -> tuple[Integers, NDArray[np.float32]]:
    """The symbol of every slot [K] and its progress [K, 2], as ``models.alignment.align`` gives them, at most ``most``."""
    symbol = np.repeat(np.arange(len(slots)), slots)
    end = np.repeat(np.cumsum(slots), slots)
    slot = np.arange(len(symbol))
    progress = np.log1p(np.stack([slot - (end - slots[symbol]), end - 1 - slot], -1).astype(np.float32))
    return symbol[:most], progress[:most]
