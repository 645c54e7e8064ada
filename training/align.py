"""Train the aligner: which symbol is spoken when, for recordings that come with a text alone.

    python -m sottovoce.training.align --spoken SYNTH [SYNTH ...] --speech runs/lj --out runs/align
    python -m sottovoce.training.align --spoken SYNTH --out runs/tiny --steps 20 --width 32     # seconds, for the tests

``--spoken`` are folders of a teacher's speech with the times of its symbols (``manifest.jsonl``); a twentieth of it is held
out, and the error of forced alignment on it is printed at the end. ``--speech`` are folders of ``training.prepare`` whose
clips have texts: the aligner gets used to people by the sum over all paths. Resumes where ``--out`` has a state; ends by
writing ``OUT/aligner.safetensors``, which ``training.talk_data`` aligns with.
"""

import argparse
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from sottovoce.models.config import BASE
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole

from . import command
from .aligner import CLASS_OF, CLASSES, SILENCE, SPACE, Aligner, AlignerConfig, along, forced, forward_sum, save_aligner
from .quality import Sound
from .run import Run, clip_gradients, cosine_lr
from .takes import BadTake, Take, recorded, sound, symbol_ids, synthesised, timed
from .talk_slots import n_slots, slots_of
from .talk_text import Reader

MEL = BASE.mel
SLOT_MS = 1000 * MEL.hop / MEL.rate_hz
HELD_OUT = 20  # one take in so many
GAIN_SPREAD = 1.0  # natural-log units, about 9 dB: the level says nothing about the symbol
LONGEST_S = 15.0
NOTHING = -1  # class of slots that lie beyond a take


@dataclass(frozen=True)
class Config:
    """What the command line may change."""

    steps: int
    batch: int = 16
    clip_s: float = 2.5
    lr: float = 2e-3
    speech_batch: int = 4
    "Recordings a step, whole ones."
    speech_weight: float = 0.3
    speech_from: float = 0.3
    "Share of the steps before people are listened to: a path through noise teaches nothing."
    shape: AlignerConfig = field(default_factory=AlignerConfig)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """A take as the aligner takes it in."""

    mel: NDArray[np.float16]
    "[M, T] log-mel."
    symbols: NDArray[np.int64]
    slots: NDArray[np.int64]
    "[P]; none where only the text is known."

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class of each slot [T]."""
        return np.repeat(CLASS_OF[self.symbols], self.slots)


class Ear:
    """Samples to log-mel on the grid of ``talk_slots``, whatever codec the data are for."""

    def __init__(self) -> None:
        self._front_end = LogMel(MEL).eval()

    @torch.no_grad()
    def __call__(self, pcm: Sound) -> Tensor:
        """[T] at 24 kHz -> [M, slots]."""
        total = n_slots(len(pcm), BASE)
        padded = np.pad(pcm, (0, total * MEL.hop - len(pcm)))
        return whole(self._front_end, torch.from_numpy(padded)[None])[0]


def held_out(key: str) -> bool:
    """The same takes whatever other takes there are."""
    return zlib.crc32(key.encode()) % HELD_OUT == 0


def hear(take: Take, ear: Ear, reader: Reader | None = None) -> Heard:
    """Raises BadTake: nothing is to be learnt from it."""
    pcm = sound(take, LONGEST_S)
    mel = ear(pcm)
    if take.has_times:
        given = timed(take, pcm)
        slots = slots_of(given.durations_s, mel.shape[1], MEL)
        return Heard(mel.half().numpy(), given.symbols, slots)
    assert reader
    symbols = symbol_ids(reader.symbols(take.text))
    if mel.shape[1] < 2 * len(symbols):
        raise BadTake(f"text does not fit: {len(symbols)} symbols in {mel.shape[1]} slots")
    return Heard(mel.half().numpy(), symbols, np.zeros(0, np.int64))


def gather(
    takes: Iterable[Take], reader: Reader | None, hours: float, what: str
) -> tuple[list[tuple[str, Heard]], str]:
    """Up to ``hours`` of takes in memory, with their keys; and what was left out and why."""
    ear, found, faults, slots = Ear(), [], Counter[str](), 0
    for take in track(list(takes), f"reading {what}", console=Console(stderr=True)):
        if slots * SLOT_MS / 3.6e6 >= hours:
            break
        try:
            heard = hear(take, ear, reader)
        except BadTake as error:
            faults[str(error).split(":")[0]] += 1
            continue
        found.append((take.key, heard))
        slots += heard.mel.shape[1]
    left_out = ", ".join(f"{name} {count}" for name, count in faults.most_common())
    return found, f"{len(found)} of {what}, {slots * SLOT_MS / 3.6e6:.2f} h" + (
        f"; left out: {left_out}" * bool(left_out)
    )


def spread(takes: Sequence[Take]) -> list[Take]:
    """In an order that depends on each key alone, so that the first hours are of every folder and voice."""
    return sorted(takes, key=lambda take: zlib.crc32(take.key.encode()[::-1]))


def crops(takes: Sequence[Heard], shares: NDArray[np.float64], config: Config, step: int) -> tuple[Tensor, Tensor]:
    """Random stretches: mel [B, M, T] at a random level, and classes int64 [B, T]."""
    random = np.random.default_rng((config.seed, step))
    length = round(1000 * config.clip_s / SLOT_MS)
    mels = np.full((config.batch, MEL.n_mels, length), np.log(MEL.floor), np.float32)
    classes = np.full((config.batch, length), NOTHING, np.int64)
    for row, index in enumerate(random.choice(len(takes), config.batch, p=shares)):
        take = takes[index]
        start = int(random.integers(max(1, take.mel.shape[1] - length + 1)))
        part = take.mel[:, start : start + length].astype(np.float32)
        level = random.uniform(-GAIN_SPREAD, GAIN_SPREAD)
        mels[row, :, : part.shape[1]] = np.maximum(part + level, np.log(MEL.floor))
        classes[row, : part.shape[1]] = take.classes[start : start + length]
    return torch.from_numpy(mels), torch.from_numpy(classes)


def sentences(takes: Sequence[Heard], config: Config, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whole recordings: mel [B, M, T], symbols [B, P], and how long each row really is, in slots and symbols."""
    random = np.random.default_rng((config.seed, step, 1))
    chosen = [takes[i] for i in random.choice(len(takes), config.speech_batch)]
    n_slots_, n_symbols = [t.mel.shape[1] for t in chosen], [len(t.symbols) for t in chosen]
    mels = np.full((len(chosen), MEL.n_mels, max(n_slots_)), np.log(MEL.floor), np.float32)
    symbols = np.zeros((len(chosen), max(n_symbols)), np.int64)
    for row, take in enumerate(chosen):
        mels[row, :, : n_slots_[row]] = take.mel
        symbols[row, : n_symbols[row]] = take.symbols
    return torch.from_numpy(mels), torch.from_numpy(symbols), torch.tensor(n_slots_), torch.tensor(n_symbols)


def train(config: Config, spoken: Sequence[Heard], speech: Sequence[Heard], run: Run) -> Aligner:
    """The whole procedure; ``run`` owns the folder, the log and resuming.

    Raises:
        Diverged: a number is not finite.
        CheckpointError: the state is of another shape, or damaged.
        ValueError: nothing to learn from.
    """
    if not spoken:
        raise ValueError("no speech with times to learn from")
    torch.manual_seed(config.seed)
    aligner = Aligner(config.shape)
    counts = sum(np.bincount(take.classes, minlength=CLASSES) for take in spoken)
    aligner.seen.copy_(torch.from_numpy(np.asarray(counts) + 1.0))
    optimiser = torch.optim.AdamW(aligner.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=0.01)
    lengths = np.array([take.mel.shape[1] for take in spoken], np.float64)
    run.resume(net=aligner, optimiser=optimiser)
    aligner.train()
    for step in run.steps():
        cosine_lr(optimiser, config.lr, step, config.steps)
        mel, classes = crops(spoken, lengths / lengths.sum(), config, step)
        logits = aligner(mel)
        loss = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), ignore_index=NOTHING, label_smoothing=0.02)
        known = classes != NOTHING
        numbers = {"loss": loss, "right": (logits.argmax(-1) == classes)[known].float().mean()}
        if speech and step >= config.speech_from * config.steps:
            mel, symbols, slots, n_symbols = sentences(speech, config, step)
            paths = forward_sum(along(aligner.scores(aligner(mel)), symbols), slots, n_symbols)
            numbers["speech"] = -(paths / slots).mean()
            loss = loss + config.speech_weight * numbers["speech"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_gradients(aligner, 1.0)
        optimiser.step()
        run.log(**numbers, gradient=norm)
    return aligner.eval()


@dataclass(frozen=True, slots=True)
class Errors:
    """How far forced alignment is from the truth, in milliseconds."""

    boundaries: int
    mean_ms: float
    p95_ms: float
    word_mean_ms: float
    "Of the beginnings of words, which is what listeners see."
    word_p95_ms: float
    score: float
    "Mean fit of the right texts, and"
    wrong_score: float
    "of the texts of other takes: what tells a wrong transcript."

    def __str__(self) -> str:
        return (
            f"{self.boundaries} boundaries: mean error {self.mean_ms:.1f} ms, 95 % within {self.p95_ms:.0f} ms; beginnings of "
            f"words: mean {self.word_mean_ms:.1f} ms, 95 % within {self.word_p95_ms:.0f} ms; "
            f"fit {self.score:.2f}, of wrong texts {self.wrong_score:.2f}"
        )


def evaluate(aligner: Aligner, takes: Sequence[Heard]) -> Errors:
    """Forced alignment against the true times of ``takes``. Raises ValueError: there are none."""
    if not takes:
        raise ValueError("no held-out speech to measure on; give --spoken more of it")
    errors, of_words, scores, wrong = [], [], [], []
    for i, take in enumerate(takes):
        mel = torch.from_numpy(take.mel.astype(np.float32))
        slots, score = forced(aligner, mel, take.symbols)
        difference = np.abs(np.cumsum(slots) - np.cumsum(take.slots))[:-1] * SLOT_MS
        before = take.symbols[:-1]
        begins = ((before == SPACE) | (before == SILENCE)) & (CLASS_OF[take.symbols[1:]] > SPACE)
        errors.append(difference)
        of_words.append(difference[begins])
        scores.append(score)
        other = takes[(i + 1) % len(takes)].symbols
        if len(takes) > 1 and len(other) <= mel.shape[1]:
            wrong.append(forced(aligner, mel, other)[1])
    every, words = np.concatenate(errors), np.concatenate(of_words)
    return Errors(
        len(every),
        float(every.mean()),
        float(np.percentile(every, 95)),
        float(words.mean()) if len(words) else 0.0,
        float(np.percentile(words, 95)) if len(words) else 0.0,
        float(np.mean(scores)),
        float(np.mean(wrong)) if wrong else 0.0,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spoken", type=Path, nargs="+", required=True, help="folders of a teacher's speech")
    parser.add_argument("--speech", type=Path, nargs="*", default=[], help="prepared folders of recordings with texts")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=2.0, help="of each kind, at most; an hour takes 92 MB of memory")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop this call after so long; resume later"
    )
    parser.add_argument("--batch", type=int, default=Config.batch)
    parser.add_argument("--clip-s", type=float, default=Config.clip_s)
    parser.add_argument("--lr", type=float, default=Config.lr)
    parser.add_argument("--width", type=int, default=AlignerConfig.width)
    parser.add_argument("--blocks", type=int, default=AlignerConfig.blocks)
    parser.add_argument("--lexicon", type=Path, help="words said otherwise, as for the talker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.set_defaults(device="cpu")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    shape = AlignerConfig(n_mels=MEL.n_mels, width=args.width, blocks=args.blocks)
    config = Config(args.steps, args.batch, args.clip_s, args.lr, shape=shape, seed=args.seed)
    with command.session(args) as run:
        reader = Reader(args.lexicon) if args.speech else None
        spoken, told = gather(
            spread([t for folder in args.spoken for t in synthesised(folder)]), None, args.hours, "takes"
        )
        print(told)
        people: list[tuple[str, Heard]] = []
        if args.speech:
            people, told = gather(
                spread([t for folder in args.speech for t in recorded(folder)]), reader, args.hours, "recordings"
            )
            print(told)
        learnt = [heard for key, heard in spoken if not held_out(key)]
        aligner = train(config, learnt, [heard for _, heard in people], run)
        found = evaluate(aligner, [heard for key, heard in spoken if held_out(key)])
        print(f"held out {len(spoken) - len(learnt)} takes, {found}")
        notes = {"steps": str(run.step), "trained_s": f"{run.trained_s:.0f}", "errors": json.dumps(_rounded(found))}
        save_aligner(args.out / "aligner.safetensors", aligner, notes)


def _rounded(found: Errors) -> dict[str, float]:
    return {name: round(float(getattr(found, name)), 2) for name in Errors.__slots__}


if __name__ == "__main__":
    main()
