"""Turn speech with known texts into what a talker learns from: our codec's codes, and the symbols that each slot speaks.

    python -m sottovoce.training.talk_data --spoken SYNTH [SYNTH ...] --out runs/talk
    python -m sottovoce.training.talk_data --speech runs/lj --aligner runs/align/aligner.safetensors --out runs/talk

``--spoken`` are folders of a teacher's speech with the times of its symbols (``manifest.jsonl``), ``--speech`` folders of
``training.prepare`` whose clips have texts, which the aligner of ``training.align`` puts in time. All books are written, by the
codec in ``--weights``; another codec needs another ``--out``. Interrupt it and give the same command again: it goes on where it
was. What is wrong with an utterance drops it, with a counted reason.
"""

import argparse
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sottovoce.models.checkpoint import load_net
from sottovoce.models.codec import MelCodec, MelToCodes
from sottovoce.models.config import Preset
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.models.weight_file import WEIGHTS, CheckpointError, default_path, model_hash, read_preset

from .align import MEL, Ear
from .aligner import Aligner, forced, load_aligner
from .quality import RATE_HZ, Sound
from .recordings import resampled
from .takes import BadTake, Take, Timed, lead_cut, one_pause, recorded, sound, symbol_ids, synthesised, timed
from .talk_slots import middle_s, n_slots, slots_of
from .talk_store import About, TalkDataError, TalkWriter, Utterance
from .talk_text import Reader

LONGEST_S = 20.0
LEAD_S = 0.06  # two code frames of ``base`` with what the first window adds
LEAST_FIT = 0.5
"""Mean score of a slot; ``training.align`` prints what right and wrong texts get."""


@dataclass(frozen=True)
class Settings:
    """What the command line may change."""

    preset: str = "base"
    weights: Path = WEIGHTS
    aligner: Path | None = None
    lexicon: Path | None = None
    longest_s: float = LONGEST_S
    lead_s: float = LEAD_S
    "Of the pause at the beginning; the rest is cut off."
    least_fit: float = LEAST_FIT


@dataclass(frozen=True, slots=True)
class Made:
    """An utterance, ready to be stored; or why there is none."""

    named: Utterance
    codes: NDArray[np.int64] | None = None
    symbols: NDArray[np.int64] | None = None
    slots: NDArray[np.int64] | None = None
    fault: str = ""


class Encoder:
    """Samples to codes, all books, with the time of every slot known."""

    def __init__(self, net: MelCodec) -> None:
        self.preset = net.preset
        self._front_end = LogMel(net.preset.mel).eval()
        self._codes = MelToCodes(net)
        self.delay = self._codes.delay
        "Samples by which codes would lag their mel."

    @torch.no_grad()
    def __call__(self, pcm: Sound) -> NDArray[np.int64]:
        """[T] at the codec's rate -> int64 [frames, Q], of as many frames as ``n_slots`` says."""
        total = n_slots(len(pcm), self.preset, self.delay) * self.preset.mel.hop
        padded = torch.from_numpy(np.pad(pcm, (0, total - len(pcm))))[None]
        return whole(self._codes, whole(self._front_end, padded))[0].numpy()


class Maker:
    """Takes to utterances. One in every process."""

    def __init__(self, settings: Settings) -> None:
        """Raises CheckpointError: codec or aligner are missing or do not fit."""
        torch.set_num_threads(1)
        self.settings = settings
        self.encoder = Encoder(load_net(default_path(settings.preset, "codec", settings.weights)))
        self.aligner: Aligner | None = load_aligner(settings.aligner) if settings.aligner else None
        self.reader = Reader(settings.lexicon) if settings.aligner else None
        self._ear = Ear()

    def __call__(self, take: Take) -> Made:
        named = Utterance(take.key, take.voice, take.text, take.teacher)
        try:
            pcm = sound(take, self.settings.longest_s)
            given = timed(take, pcm) if take.has_times else self._aligned(take, pcm)
            return self._encoded(named, lead_cut(given, self.settings.lead_s))
        except BadTake as error:
            return Made(named, fault=str(error))

    def _encoded(self, named: Utterance, given: Timed) -> Made:
        preset = self.encoder.preset
        pcm = resampled(given.pcm, RATE_HZ, preset.rate_hz)
        codes = self.encoder(pcm)
        total = len(codes) * preset.mels_per_frame
        slots = slots_of(given.durations_s, total, preset.mel, self.encoder.delay)
        return Made(named, codes, given.symbols, slots)

    def _aligned(self, take: Take, pcm: Sound) -> Timed:
        """Raises BadTake: nothing is said, in symbols that do not fit the sound."""
        assert self.aligner
        assert self.reader
        symbols = symbol_ids(self.reader.symbols(take.text))
        if not symbols.any():
            raise BadTake("no text: nothing of it is spoken")
        mel = self._ear(pcm)
        try:
            slots, fit = forced(self.aligner, mel, symbols)
        except ValueError as error:
            raise BadTake(f"text does not fit: {error}") from None
        if fit < self.settings.least_fit:
            raise BadTake(f"text does not fit: {fit:.2f} where {self.settings.least_fit} is the least")
        return Timed(pcm, *one_pause(symbols, seconds_of(slots, len(pcm))))


def seconds_of(slots: NDArray[np.int64], n_samples: int) -> NDArray[np.float64]:
    """Durations [P] of symbols in seconds, that add up to the sound, from slots of the aligner.

    A boundary lies half-way between the middles of the slots at its sides.
    """
    ends = np.cumsum(slots)
    edges = middle_s(ends, MEL) - 0.5 * MEL.hop / MEL.rate_hz
    edges[-1] = n_samples / RATE_HZ
    durations: NDArray[np.float64] = np.diff(np.clip(edges, 0, n_samples / RATE_HZ), prepend=0.0)
    return durations


_maker: Maker | None = None


def _begin(settings: Settings) -> None:
    global _maker
    _maker = Maker(settings)


def _make(take: Take) -> Made:
    assert _maker
    return _maker(take)


def make_all(takes: Sequence[Take], settings: Settings, jobs: int) -> Iterator[Made]:
    """Every take in order, by ``jobs`` processes."""
    if jobs == 1:
        maker = Maker(settings)
        yield from map(maker, takes)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (settings,)) as pool:
        todo, ahead = iter(takes), deque[Future[Made]]()
        try:
            while True:
                ahead.extend(pool.submit(_make, take) for take in islice(todo, 4 * jobs - len(ahead)))
                if not ahead:
                    return
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def about(settings: Settings) -> tuple[Preset, About]:
    """The codec. Raises CheckpointError: there is none."""
    preset, tensors = read_preset(settings.preset, settings.weights)
    return preset, About.of(preset, model_hash(preset, tensors))


def write(takes: Sequence[Take], settings: Settings, out: Path, jobs: int = 1, progress: Progress | None = None) -> str:
    """Add all ``takes`` that ``out`` does not have yet; returns what it holds then, in words.

    Raises:
        CheckpointError: codec or aligner are missing or do not fit.
        TalkDataError: ``out`` was begun with another codec.
        ValueError: two takes have one name.
    """
    twice = [key for key, count in Counter(take.key for take in takes).items() if count > 1]
    if twice:
        raise ValueError(f"{len(twice)} utterances of one name, the first {twice[0]}; give folders of different names")
    _, what = about(settings)
    with TalkWriter(out, what) as writer:
        have = {one.key for one in writer.utterances}
        todo = [take for take in takes if take.key not in have]
        task = progress.add_task("encoding", total=len(takes), completed=len(takes) - len(todo)) if progress else None
        for made in make_all(todo, settings, jobs):
            if made.fault:
                writer.drop(made.named, made.fault)
            else:
                assert made.codes is not None and made.symbols is not None and made.slots is not None  # noqa: PT018
                writer.add(made.named, made.codes, made.symbols, made.slots)
            if progress and task is not None:
                progress.update(task, advance=1, description=f"{writer.n_frames * what.frame_s / 3600:.2f} h")
        return summary(writer.utterances, what)


def summary(utterances: Sequence[Utterance], what: About) -> str:
    """What was kept and what was not, by voice and by reason."""
    kept = [one for one in utterances if not one.fault]
    hours: Counter[str] = Counter()
    for one in kept:
        hours[one.voice] += one.n_frames
    total = sum(hours.values()) * what.frame_s / 3600
    lines = [f"kept {len(kept)} of {len(utterances)} utterances, {total:.2f} h of {what.codec} {what.model_hash}"]
    lines += [f"  {voice}: {frames * what.frame_s / 60:.1f} min" for voice, frames in hours.most_common()]
    faults = Counter(one.fault.split(":")[0] for one in utterances if one.fault)
    lines += [f"dropped: {', '.join(f'{fault} {count}' for fault, count in faults.most_common())}"] if faults else []
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spoken", type=Path, nargs="*", default=[], help="folders of a teacher's speech")
    parser.add_argument("--speech", type=Path, nargs="*", default=[], help="prepared folders of recordings with texts")
    parser.add_argument("--aligner", type=Path, help="weights of training.align, for --speech")
    parser.add_argument("--preset", default=Settings.preset, help="codec")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the codec's weights")
    parser.add_argument("--lexicon", type=Path, help="words said otherwise, as for the talker")
    parser.add_argument("--voices", nargs="+", help="only these")
    parser.add_argument("--longest-s", type=float, default=LONGEST_S, help="longer utterances are dropped")
    parser.add_argument("--lead-s", type=float, default=LEAD_S, help="of silence at the beginning, at most")
    parser.add_argument("--least-fit", type=float, default=LEAST_FIT, help="of a text and its recording")
    parser.add_argument("--limit", type=int, help="only the first N of each folder")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.spoken and not args.speech:
        parser.error("give --spoken or --speech, or both")
    if args.speech and not args.aligner:
        parser.error("--speech needs --aligner: recordings do not say when each symbol is spoken")
    if args.jobs < 1 or args.longest_s <= 0 or args.lead_s < 0:
        parser.error("--jobs from 1 on, --longest-s above and --lead-s not below zero")
    settings = Settings(
        args.preset, args.weights, args.aligner, args.lexicon, args.longest_s, args.lead_s, args.least_fit
    )
    try:
        folders = [*map(synthesised, args.spoken), *map(recorded, args.speech)]
        takes = [take for folder in folders for take in islice(folder, args.limit)]
        takes = [take for take in takes if not args.voices or take.voice in args.voices]
        if not takes:
            raise TalkDataError("no utterance of these voices")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            told = write(takes, settings, args.out, args.jobs, progress)
        print(told)
    except (CheckpointError, ValueError) as error:
        sys.exit(f"talk_data: {error}")
    except KeyboardInterrupt:
        sys.exit("talk_data: interrupted; the same command goes on from here")


if __name__ == "__main__":
    main()
