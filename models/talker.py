"""The talker: phonemes in, code frames out, one at a time.

symbols --PhonemeEncoder--> encodings --DurationPredictor--> slots --alignment.py--> the condition of every frame
codes of frame t-1, condition of frame t, voice --FrameTransformer--> hidden of frame t --head, Depth--> its books in turn

Frame t hears the codes of frame t-1 and is told the symbols of its own slots: nothing is shifted twice. What speaks and for
how long is settled before the first frame, so no symbol is skipped and no clause goes on for ever.

Where the 11.4 million parameters of ``base`` are (22.8 MB in float16), and why. A frame on one core costs reading the
weights of the transformer once and those of the depth model seven times, so the transformer has most of them: 6.2 M in 6
layers of width 320, narrow enough that there can be six. What the books share in the depth model is small (0.4 M, width
192); its heads, each read once, are larger (1.4 M). The encoder, run once a clause, has 1.9 M. Codes are embedded in 64
numbers, as many as the codec's own vectors have: in the width of the model their tables alone would take 2.6 M in place of
0.5 M.
"""

import numpy as np
import torch
from torch import Tensor, nn

from .alignment import align
from .attention import Turn
from .depth import Depth, Heads
from .frame_transformer import FrameState, FrameTransformer
from .phoneme_encoder import DurationPredictor, PhonemeEncoder, in_slots
from .rvq import Book, ResidualQuantiser
from .talker_config import TalkerConfig


class CodeEmbedding(nn.Module):
    """Codes [..., Q] -> [..., Q, C], of every book by its own table; -1, a code that is not there, is zeros."""

    def __init__(self, config: TalkerConfig) -> None:
        super().__init__()
        self.rows = max(config.book_size, config.start_code + 1)
        self.tables = nn.Parameter(torch.randn(config.books, self.rows, config.code_width))

    def forward(self, codes: Tensor) -> Tensor:
        books = torch.arange(codes.shape[-1], device=codes.device)
        return self.tables[books, codes.clamp(min=0)] * (codes >= 0)[..., None]

    def one(self, codes: Tensor, book: int) -> Tensor:
        """Codes [B] of one book -> [B, C]."""
        return self.tables[book, codes]


class Talker(nn.Module):
    """Shapes: P symbols of a clause, T frames, Q books, V codes of a book, S = ``mels_per_frame`` slots of a frame."""

    def __init__(self, config: TalkerConfig, dropout: float = 0.0) -> None:
        """``dropout`` of the blocks, for training."""
        super().__init__()
        self.config = config
        self.voices = nn.Embedding(config.voices, config.encoder_width)
        self.encoder = PhonemeEncoder(config, dropout)
        self.durations = DurationPredictor(config, dropout)
        self.codes = CodeEmbedding(config)
        self.enter_codes = nn.Linear(config.books * config.code_width, config.width)
        self.enter_condition = nn.Linear(config.mels_per_frame * config.condition_width, config.width)
        self.enter_voice = nn.Linear(config.encoder_width, config.width)
        self.frames = FrameTransformer(config, dropout)
        self.head = nn.Linear(config.width, config.book_size)
        self.depth: Depth | Heads = Depth(config) if config.depth_blocks else Heads(config)

    @torch.no_grad()
    def start(self, quantiser: ResidualQuantiser) -> None:
        """Embed codes at first as the codec's own vectors, of unit spread, so that codes of like sound begin alike.

        Raises:
            ValueError: the vectors are not of ``code_width``, or not as many as the codes.
        """
        for table, book in zip(self.codes.tables, quantiser.books, strict=True):
            assert isinstance(book, Book)
            vectors = book.vectors
            if vectors.shape != (self.config.book_size, self.config.code_width):
                raise ValueError(
                    f"vectors {tuple(vectors.shape)} for {self.config.book_size} x {self.config.code_width}"
                )
            table[: len(vectors)] = (vectors - vectors.mean(0)) / vectors.std()

    # A clause at once

    def encode(self, symbols: Tensor, voice: Tensor, by: Turn | None = None) -> tuple[Tensor, Tensor]:
        """Encodings [B, P, D] and log durations [B, P] (log of one plus the slots).

        Args:
            symbols: int64 [B, P], -1 where a row is filled up.
            voice: int64 [B].
            by: ``encoder.angles`` of P, where they are at hand.
        """
        encodings = self.encoder(symbols, self.voices(voice), by)
        return encodings, self.durations(encodings, symbols)

    def clause(self, symbols: Tensor, voice: Tensor, by: Turn | None = None) -> tuple[Tensor, Tensor]:
        """As ``encode``, with the slots that ``alignment.round_slots`` takes, float32 [B, P], in place of their logarithms."""
        encodings, log_durations = self.encode(symbols, voice, by)
        return encodings, in_slots(log_durations)

    def tell(self, encodings: Tensor, spoken: Tensor, progress: Tensor) -> Tensor:
        """What frames are told, [B, T, S, D + 2].

        Args:
            encodings: [C, P, D] of all clauses of all rows.
            spoken: int64 [B, T * S], the symbol of every slot, counted through the clauses: clause * P + place.
            progress: float32 [B, T, S, 2], as ``alignment.align`` gives it.
        """
        return torch.cat([encodings.flatten(0, 1)[spoken].view(*progress.shape[:-1], -1), progress.to(encodings)], -1)

    def condition(self, encodings: Tensor, slots: Tensor, n_frames: int) -> Tensor:
        """``tell`` for rows of one clause each, encodings [B, P, D], from slots int64 [B, P]."""
        symbol, progress = align(slots.cpu().numpy().astype(np.int64), n_frames, self.config.mels_per_frame)
        symbol += np.arange(len(symbol))[:, None, None] * slots.shape[1]
        spoken = torch.from_numpy(symbol).to(encodings.device).flatten(1)
        return self.tell(encodings, spoken, torch.from_numpy(progress).to(encodings.device))

    # All frames at once, for training

    def logits(
        self, codes: Tensor, symbols: Tensor, slots: Tensor, voice: Tensor, heard: Tensor | None = None
    ) -> Tensor:
        """Logits [B, T, Q, V] of every code, given all codes before it: earlier frames, and earlier books of its frame.

        Args:
            codes: int64 [B, T, Q], -1 where a row is filled up; such frames come last and their logits mean nothing.
            symbols: int64 [B, P], -1 where a row is filled up.
            slots: int64 [B, P] of each symbol, 0 where a row is filled up. Frames after their end speak the last symbol.
            voice: int64 [B].
            heard: what the frames hear in place of ``codes`` before them, where training disturbs these; None: the same.

        Raises:
            ValueError: slots are negative, or a row has none.
        """
        hidden, _ = self.hidden(codes if heard is None else heard, symbols, slots, voice)
        return self.book_logits(hidden, codes)

    def hidden(self, heard: Tensor, symbols: Tensor, slots: Tensor, voice: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [B, T, D] of the frames, and log durations [B, P]; arguments as ``logits``. A loss of both needs the
        encoder only once; ``book_logits`` of some frames saves the cost of the others."""
        encodings, log_durations = self.encode(symbols, voice)
        return self.follow(heard, self.condition(encodings, slots, heard.shape[1]), voice), log_durations

    def follow(self, heard: Tensor, condition: Tensor, voice: Tensor) -> Tensor:
        """Hidden states [B, T, D] of rows from their first frame on, whose conditions [B, T, S, D + 2] ``tell`` gives: for
        rows of many clauses. Frame t hears ``heard`` [B, T, Q] up to frame t - 1."""
        previous = torch.cat([self.start_frame(len(heard))[:, None], heard[:, :-1]], 1)
        hidden: Tensor = self.frames(self.enter(previous, condition, voice), self.initial_state(len(heard)))[0]
        return hidden

    def book_logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Logits [..., Q, V] from hidden [..., D] and the true codes [..., Q] of the same frames."""
        flat = hidden.flatten(0, -2)
        others = self.depth(flat, self.codes(codes.flatten(0, -2)))
        return torch.cat([self.head(flat)[:, None], others], 1).view(*hidden.shape[:-1], *self.config.frame_shape)

    # Frame by frame

    def start_frame(self, batch: int) -> Tensor:
        """Codes int64 [B, Q] that come before the first frame."""
        config = self.config
        return torch.full((batch, config.books), config.start_code, device=self.voices.weight.device)

    def initial_state(self, batch: int) -> FrameState:
        """Of ``step``: rows are picked, copied and reset by ``streaming.select_rows`` and ``write_rows``."""
        return self.frames.initial_state(batch)

    def enter(self, previous: Tensor, condition: Tensor, voice: Tensor) -> Tensor:
        """Input of the transformer [B, T, D]: codes before each frame [B, T, Q], conditions [B, T, S, D + 2], voice [B]."""
        told: Tensor = self.enter_condition(condition.flatten(2)) + self.enter_voice(self.voices(voice))[:, None]
        heard: Tensor = self.enter_codes(self.codes(previous).flatten(2))
        return heard + told

    def step(
        self, previous: Tensor, condition: Tensor, voice: Tensor, state: FrameState, by: Turn | None = None
    ) -> tuple[Tensor, FrameState]:
        """One frame of every row: hidden [B, D] and the next state.

        Args:
            previous: codes of the frame before, int64 [B, Q]; at first ``start_frame``.
            condition: of this frame, float32 [B, S, D + 2].
            voice: int64 [B].
            by: ``frames.angles(1)``, where they are at hand.
        """
        hidden, state = self.frames(self.enter(previous[:, None], condition[:, None], voice), state, by)
        return hidden[:, 0], state

    def write(self, hidden: Tensor, noise: Tensor, top_k: Tensor, most: int | None = None) -> tuple[Tensor, Tensor]:
        """The books of one frame, each chosen in turn: codes int64 [B, Q] and their logits [B, Q, V].

        Args:
            hidden: [B, D] from ``step``.
            noise: [B, Q, V] from ``sampling.Noise``; zeros choose the likeliest.
            top_k: int64 [B], from 1 on; more than V means all.
            most: no row asks for more, V at most; None: look, which waits for the device.
        """
        most = min(int(top_k.max()), self.config.book_size) if most is None else most
        codes: list[Tensor] = []
        logits: list[Tensor] = []
        total = self.depth.start(hidden)
        for book in range(self.config.books):
            if book:
                found, total = self.depth.step(total, self.codes.one(codes[-1], book - 1), book)
            else:
                found = self.head(hidden)
            logits.append(found)
            codes.append(_choose(found, noise[:, book], top_k, most))
        return torch.stack(codes, 1), torch.stack(logits, 1)


def _choose(logits: Tensor, noise: Tensor, top_k: Tensor, most: int) -> Tensor:
    """Codes [B]: the largest of logits + noise [B, V] among the ``top_k`` [B] largest logits (see ``sampling.py``)."""
    ordered = logits.topk(most, -1).values
    least = ordered.gather(-1, top_k.clamp(max=most)[:, None] - 1)
    return (logits + noise).masked_fill(logits < least, -torch.inf).argmax(-1)
