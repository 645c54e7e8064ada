"""How right the times are that a talker gives its words, from the first to the last of a long text: against forced alignment.

    python -m sottovoce.training.talk_times base-talker.safetensors --aligner runs/align/aligner.safetensors --minutes 10

The text is the long one of ``talk_prompts``, as often as it takes. Every passage is aligned by itself in the sound, a little
wider than the talker says it lies: an error that grows would show. Prints the error of word beginnings by
minute.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.models.alignment import round_slots
from sottovoce.models.checkpoint import load_codec, load_talker
from sottovoce.models.codec import Codec
from sottovoce.models.config import BASE
from sottovoce.models.sampling import Sampling
from sottovoce.models.talker import Talker
from sottovoce.models.talker_file import read_about
from sottovoce.models.weight_file import WEIGHTS, CheckpointError

from .align import Ear
from .aligner import CLASS_OF, SILENCE, SPACE, Aligner, forced, load_aligner
from .talk_play import Speaker
from .talk_prompts import PROMPTS
from .talk_text import Reader

SLOT_MS = 1000 * BASE.mel.hop / BASE.mel.rate_hz
ASIDE = 8  # slots that a passage is looked for beyond its beginning and end


@dataclass(frozen=True, slots=True)
class Passage:
    """What was said at once."""

    symbols: NDArray[np.int64]
    "[P]"
    slots: NDArray[np.int64]
    "[P], a whole number of frames in all."


class Told(Speaker):
    """A speaker that remembers when it meant to say what."""

    def __init__(self, talker: Talker, codec: Codec, reader: Reader) -> None:
        super().__init__(talker, codec, reader)
        self.passages: list[Passage] = []

    def _condition(self, symbols: NDArray[np.int64], voice: int, speed: float) -> Tensor:
        condition = super()._condition(symbols, voice, speed)
        _, durations = self.talker.clause(torch.from_numpy(symbols)[None], torch.tensor([voice]))
        slots = round_slots(durations[0].numpy(), symbols, self.talker.config.mels_per_frame, speed)
        slots[-1] += condition.shape[1] * self.talker.config.mels_per_frame - slots.sum()
        self.passages.append(Passage(symbols, slots))
        return condition


def word_errors_ms(aligner: Aligner, mel: Tensor, passages: Sequence[Passage], delay_ms: float) -> NDArray[np.float64]:
    """When each word begins in ``mel`` [M, T], less when it was to begin; with that, in slots: [words, 2].

    ``delay_ms`` is the codec's, which the times that the talker tells have in them.
    """
    found, begin = [], 0
    for passage in passages:
        n = int(passage.slots.sum())
        first, last = max(begin - ASIDE, 0), min(begin + n + ASIDE, mel.shape[1])
        if len(passage.symbols) <= last - first:
            slots, _ = forced(aligner, mel[:, first:last], passage.symbols)
            heard = first + np.cumsum(slots)[:-1]
            meant = begin + np.cumsum(passage.slots)[:-1]
            before, after = passage.symbols[:-1], passage.symbols[1:]
            begins = ((before == SPACE) | (before == SILENCE)) & (CLASS_OF[after] > SPACE)
            found.append(np.stack([(heard - meant)[begins] * SLOT_MS - delay_ms, meant[begins].astype(float)], 1))
        begin += n
    return np.concatenate(found)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("talker", type=Path)
    parser.add_argument("--aligner", type=Path, required=True, help="weights of training.align")
    parser.add_argument("--codec", type=Path, default=WEIGHTS, help="folder of the weights of codec and vocoder")
    parser.add_argument("--voice", type=int, default=0, help="its number")
    parser.add_argument("--minutes", type=float, default=0.0, help="0: the text of 300 words once")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        about = read_about(args.talker)
        codec = load_codec(about.config.codec, args.codec)
        talker, _ = load_talker(args.talker, codec.preset, about.model_hash)
        aligner = load_aligner(args.aligner)
    except (CheckpointError, ValueError) as error:
        sys.exit(f"talk_times: {error}")
    text = PROMPTS[-1].text
    speaker = Told(talker, codec, Reader())
    once = speaker.say(text, args.voice, Sampling())
    seconds = len(once.pcm) / BASE.mel.rate_hz
    if (times := round(60 * args.minutes / seconds)) > 1:
        speaker.passages.clear()
        once = speaker.say(" ".join([text] * times), args.voice, Sampling())
        seconds = len(once.pcm) / BASE.mel.rate_hz
    delay_ms = 1000 * codec.delay / BASE.mel.rate_hz
    errors = word_errors_ms(aligner, Ear()(once.pcm), speaker.passages, delay_ms)
    minutes = errors[:, 1] * SLOT_MS / 60_000
    print(
        f"{seconds:.1f} s, {len(errors)} words, error of their beginnings in ms: mean, mean of its size, 95 % of sizes"
    )
    for minute in range(int(minutes.max()) + 1):
        some = errors[(minutes >= minute) & (minutes < minute + 1), 0]
        if len(some):
            size = np.abs(some)
            print(
                f"minute {minute + 1}: {some.mean():+.1f} {size.mean():.1f} {np.percentile(size, 95):.1f} ({len(some)} words)"
            )


if __name__ == "__main__":
    main()
