"""A talker at work, for training and evaluation: rows with their true times, and whole texts clause by clause."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.models.alignment import conditions as told_frames
from sottovoce.models.alignment import round_slots
from sottovoce.models.codec import Codec
from sottovoce.models.sampling import Noise, Sampling
from sottovoce.models.streaming import State, whole
from sottovoce.models.symbols import ids
from sottovoce.models.talker import Talker
from sottovoce.stream.clauses import Clauses

from .recordings import Pcm
from .talk_loss import conditions
from .talk_rows import Rows
from .talk_text import Reader


@torch.no_grad()
def write(
    talker: Talker,
    condition: Tensor,
    voice: Tensor,
    noises: Sequence[Noise],
    top_k: int,
    previous: Tensor,
    state: State,
) -> tuple[Tensor, Tensor, State]:
    """Frames one after the other: codes int64 [B, T, Q], the last frame's, and the next state.

    Args:
        condition: [B, T, S, D + 2].
        previous: codes [B, Q] of the frame before.
    """
    frames = []
    most = torch.full((len(voice),), top_k, device=voice.device)
    for told in condition.unbind(1):
        hidden, state = talker.step(previous, told, voice, state)
        noise = torch.from_numpy(np.stack([one.next() for one in noises])).to(voice.device)
        previous, _ = talker.write(hidden, noise, most)
        frames.append(previous)
    return torch.stack(frames, 1), previous, state


@torch.no_grad()
def said(talker: Talker, rows: Rows, n: int, device: torch.device, sampling: Sampling = Sampling()) -> Tensor:  # noqa: B008
    """The first ``n`` rows in the talker's own words, spoken at their true times: codes int64 [n, T, Q]."""
    rows = rows.to(device)
    encodings, _ = talker.encode(rows.symbols, rows.clause_voice)
    condition, voice = conditions(encodings, rows)[:n], rows.voice[:n]
    books = (talker.config.books, talker.config.book_size)
    noises = [Noise(Sampling(sampling.temperature, sampling.top_k, sampling.seed + row), *books) for row in range(n)]
    start, state = talker.start_frame(n), talker.initial_state(n)
    return write(talker, condition, voice, noises, sampling.top_k, start, state)[0]


@dataclass(frozen=True, slots=True)
class Said:
    """A text that was spoken."""

    pcm: Pcm
    "[T] at the codec's rate."
    codes: NDArray[np.int64]
    "[frames, Q]."
    talk_s: float
    "That the talker took, and"
    play_s: float
    "that decoder and vocoder took."


class Speaker:
    """Texts to sound, as the product does it, in one piece."""

    def __init__(self, talker: Talker, codec: Codec, reader: Reader) -> None:
        self.talker, self.codec, self.reader = talker.eval(), codec, reader

    @torch.no_grad()
    def say(self, text: str, voice: int, sampling: Sampling, speed: float = 1.0) -> Said:
        """The whole of ``text``, clause after clause.

        Raises:
            ValueError: nothing of it is spoken, or ``speed`` is not a positive number.
        """
        began = time.perf_counter()
        talker, config = self.talker, self.talker.config
        cutter = Clauses()
        noise = Noise(sampling, config.books, config.book_size)
        previous, state = talker.start_frame(1), talker.initial_state(1)
        frames = []
        for clause in (*cutter.push(text), *cutter.end()):
            symbols = ids(self.reader.symbols(clause.text))
            if not symbols.any():
                continue
            condition = self._condition(symbols, voice, speed)
            number = torch.tensor([voice])
            codes, previous, state = write(talker, condition, number, [noise], sampling.top_k, previous, state)
            frames.append(codes)
        if not frames:
            raise ValueError(f"nothing of {text!r:.60} is spoken")
        codes = torch.cat(frames, 1)
        talked = time.perf_counter()
        pcm = whole(self.codec.vocoder, whole(self.codec.decoder, codes))[0].numpy()
        return Said(pcm, codes[0].numpy(), talked - began, time.perf_counter() - talked)

    def _condition(self, symbols: NDArray[np.int64], voice: int, speed: float) -> Tensor:
        """Of one clause, [1, T, S, D + 2]."""
        slots_per_frame = self.talker.config.mels_per_frame
        encodings, durations = self.talker.clause(torch.from_numpy(symbols)[None], torch.tensor([voice]))
        slots = round_slots(durations[0].numpy(), symbols, slots_per_frame, speed)
        return torch.from_numpy(told_frames(encodings[0].numpy(), slots, slots_per_frame))[None]
