"""Measure a talker on sixty sentences, beside the programs that people use today.

    python -m sottovoce.training.talk_evaluate runs/base-talker/base-talker.safetensors --voices heart --out runs/eval-talk
    python -m sottovoce.training.talk_evaluate TALKER --spoken SYNTH --piper joe.onnx    # beside a teacher's speech, and piper

For every voice and every program that is installed: word error rate through a recogniser and DNSMOS, each with a 95 % interval
over sentences, the real-time factor, and the sentences that were cut, skipped, repeated or babbled. Writes the sound with a
``manifest.jsonl`` (file, text, what was heard, flags) into ``--out``, and ``table.md``. What was said and measured before is
not said again while the weights, the settings and the texts stay the same.
"""

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import torch
from rich.console import Console
from rich.progress import track

from sottovoce.models.checkpoint import load_codec, load_talker
from sottovoce.models.sampling import Sampling
from sottovoce.models.talker_file import read_about
from sottovoce.models.weight_file import WEIGHTS, CheckpointError

from . import metrics as judges
from .bootstrap import Estimate, Tallies, estimate
from .metrics import RATE_HZ, WORDS, Metric
from .recordings import Pcm, resampled
from .store import Store, digest
from .tables import cell
from .takes import BadTake, sound, synthesised
from .talk_flags import flags
from .talk_peers import PeerFailed, TextPeer, peers
from .talk_play import Speaker
from .talk_prompts import PROMPTS, Prompt
from .talk_text import Reader

METRICS = (WORDS, "dnsmos")
T = TypeVar("T")
Say = Callable[[str], tuple[Pcm, int, float]]
"""A text -> samples [T], their rate, seconds that it took."""


@dataclass(frozen=True, slots=True)
class System:
    """Something that speaks texts."""

    name: str
    key: str
    "Changes whenever the same text may sound otherwise."
    say: Say


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    sentences: int
    seconds: float
    took_s: float
    "0: not measured."
    metrics: dict[str, Estimate]
    flagged: dict[str, list[str]] = field(default_factory=dict)
    "Texts by what was wrong with them."
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence as a system said it."""

    prompt: Prompt
    file: str
    pcm: Pcm
    rate_hz: int
    took_s: float


def ours(
    path: Path, weights: Path, names: Sequence[str], sampling: Sampling, speed: float, lexicon: Path | None
) -> list[System]:
    """The talker in ``path`` in each of the voices ``names``; all it has where none is named.

    Raises:
        CheckpointError: weights are missing or do not fit each other.
        ValueError: there is no such voice.
    """
    about = read_about(path)
    codec = load_codec(about.config.codec, weights, "neural")
    talker, _ = load_talker(path, codec.preset, codec.model_hash)
    speaker = Speaker(talker, codec, Reader(lexicon))
    file = hashlib.sha256(path.read_bytes()).hexdigest()
    chosen = list(names) or [voice.name for voice in about.voices]

    def say(voice: int, text: str) -> tuple[Pcm, int, float]:
        said = speaker.say(text, voice, sampling, speed)
        return said.pcm, codec.preset.rate_hz, said.talk_s + said.play_s

    settings = f"{asdict(sampling)} {speed} {codec.model_hash} {lexicon.read_text('utf-8') if lexicon else ''}"
    return [
        System(f"ours {name}", digest("talker 1", file, settings, name), partial(say, about.voice(name)))
        for name in chosen
    ]


def theirs(peer: TextPeer) -> System:
    """A program as a system."""
    return System(peer.name, digest("peer 1", peer.name, *peer.arguments), peer.say)


def teacher(folder: Path) -> System:
    """A folder of the same texts that were spoken elsewhere. Raises ValueError: no manifest."""
    takes = {take.text: take for take in synthesised(folder)}

    def say(text: str) -> tuple[Pcm, int, float]:
        if text not in takes:
            raise PeerFailed(f"{folder.name}: does not say {text!r:.60}")
        try:
            return sound(takes[text], 600), 24_000, 0.0
        except BadTake as error:
            raise PeerFailed(f"{folder.name}: {error}") from None

    return System(f"teacher {folder.name}", digest("teacher 1", str(folder.resolve())), say)


def speak(system: System, prompts: Sequence[Prompt], out: Path) -> list[Utterance]:
    """Every prompt, from ``out`` where it has been said before. Raises PeerFailed."""
    folder = out / "".join(char if char.isalnum() or char in "-_" else "-" for char in system.name)
    folder.mkdir(parents=True, exist_ok=True)
    spoken = []
    for number, prompt in enumerate(_shown(prompts, f"{system.name}: speaking")):
        wav = folder / f"{number:02d}.wav"
        note = wav.with_suffix(".json")
        key = digest(system.key, prompt.text)
        found = json.loads(note.read_text()) if note.exists() and wav.exists() else {}
        if found.get("key") != key:
            pcm, rate_hz, took_s = system.say(prompt.text)
            note.unlink(missing_ok=True)
            soundfile.write(wav, np.clip(pcm, -1, 1), rate_hz, subtype="PCM_16")
            found = {"key": key, "took_s": took_s}
            note.write_text(json.dumps(found))
        pcm, rate_hz = soundfile.read(wav, dtype="float32")
        spoken.append(Utterance(prompt, f"{folder.name}/{wav.name}", pcm, rate_hz, found["took_s"]))
    return spoken


def measure(
    system: System, spoken: Sequence[Utterance], metrics: Sequence[Metric], missing: dict[str, str], store: Store,
    normalise: Callable[[str], str],
) -> tuple[Row, list[dict[str, object]]]:  # fmt: skip
    """What every metric says of a system; and its lines of the manifest."""
    heard = [resampled(one.pcm, one.rate_hz, RATE_HZ) for one in spoken]
    lines: list[dict[str, object]] = [
        {"file": one.file, "text": one.prompt.text, "kind": one.prompt.kind, "voice": system.name,
         "seconds": round(len(one.pcm) / one.rate_hz, 3)}
        for one in spoken
    ]  # fmt: skip
    tallies: dict[str, Tallies] = {}
    flagged: dict[str, list[str]] = {}
    for metric in metrics:
        rows = []
        for i, one in enumerate(_shown(spoken, f"{system.name}: {metric.title}")):
            key = digest(metric.name, metric.version, heard[i].tobytes())
            value = store.value(key, partial(metric.judge, heard[i], heard[i]))
            rows.append(metric.score(value, one.prompt.words))
            lines[i][metric.name if metric.name != WORDS else "heard"] = value
            if metric.name == WORDS and isinstance(value, str):
                wrong = flags(normalise(one.prompt.words).split(), normalise(value).split())
                lines[i]["flags"] = wrong
                for flag in wrong:
                    flagged.setdefault(flag, []).append(one.prompt.text)
        tallies[metric.name] = np.array(rows, np.float64)
    estimates = {name: estimate(found) for name, found in tallies.items() if found[:, 1].any()}
    seconds = sum(len(one.pcm) / one.rate_hz for one in spoken)
    took_s = sum(one.took_s for one in spoken)
    return Row(system.name, len(spoken), seconds, took_s, estimates, flagged, missing), lines


def as_table(rows: Sequence[Row]) -> str:
    """All rows as Markdown; below, which sentences went wrong."""
    head = [
        "what",
        "sentences",
        *(judges.TITLES[name] for name in METRICS),
        "real-time factor",
        "cut, skipped, repeated, babbled",
    ]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for row in rows:
        cells = [cell(name, row.metrics[name]) if name in row.metrics else "n/a" for name in METRICS]
        counts = ", ".join(str(len(row.flagged.get(flag, []))) for flag in ("cut", "skipped", "repeated", "babbled"))
        factor = f"{row.took_s / row.seconds:.3f}" if row.took_s else ""
        known = counts if WORDS in row.metrics else "n/a"
        lines.append(f"| {' | '.join([row.name, str(row.sentences), *cells, factor, known])} |")
    wrong = [
        f"{row.name}, {flag}: {text:.80}"
        for row in rows
        for flag, texts in sorted(row.flagged.items())
        for text in texts
    ]
    reasons = sorted({f"{judges.TITLES[name]}: {why}" for row in rows for name, why in row.missing.items()})
    return "\n".join([*lines, *(["", *wrong] if wrong else []), *(["", *reasons] if reasons else [])])


def _shown(of: Sequence[T], what: str) -> Iterable[T]:
    return track(of, what, console=Console(stderr=True), transient=True)


def _parser() -> argparse.ArgumentParser:
    usual = Sampling()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("talker", type=Path)
    parser.add_argument("--codec", type=Path, default=WEIGHTS, help="folder of the weights of codec and vocoder")
    parser.add_argument("--voices", nargs="*", default=[], help="default: all that it has")
    parser.add_argument("--temperature", type=float, default=usual.temperature)
    parser.add_argument("--top-k", type=int, default=usual.top_k)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--lexicon", type=Path, help="words said otherwise")
    parser.add_argument(
        "--spoken", type=Path, nargs="*", default=[], help="folders of a teacher that spoke the same texts"
    )
    parser.add_argument("--piper", type=Path, help="ONNX model of a piper voice")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--limit", type=int, help="only the first N texts")
    parser.add_argument("--texts", action="store_true", help="print the texts, for a teacher to speak, and end")
    parser.add_argument("--recogniser", type=Path, help="a CTranslate2 Whisper folder; default: the PyPI packages")
    parser.add_argument("--metrics", nargs="*", choices=METRICS, default=list(METRICS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/eval-talk"))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    prompts = PROMPTS[: args.limit]
    if args.texts:
        print("\n".join(prompt.text for prompt in prompts))
        return
    torch.set_num_threads(args.threads)
    try:
        sampling = Sampling(args.temperature, args.top_k, args.seed)
        systems = ours(args.talker, args.codec, args.voices, sampling, args.speed, args.lexicon)
        systems += map(teacher, args.spoken)
    except (CheckpointError, ValueError) as error:
        sys.exit(f"talk_evaluate: {error}")
    absent: dict[str, str] = {}
    for peer in peers(args.piper) if args.peers else ():
        if why := peer.missing():
            absent[peer.name] = why
        else:
            systems.append(theirs(peer))
    metrics, missing = judges.load(args.metrics, args.recogniser, args.threads)
    for name, why in (missing | absent).items():
        print(f"talk_evaluate: without {name}: {why}", file=sys.stderr)
    normalise = _normaliser() if WORDS in args.metrics and WORDS not in missing else str.lower
    store, rows, manifest = Store(args.out), [], []
    for system in systems:
        try:
            spoken = speak(system, prompts, args.out)
        except (PeerFailed, ValueError) as error:
            absent[system.name] = str(error)
            print(f"talk_evaluate: without {system.name}: {error}", file=sys.stderr)
            continue
        row, lines = measure(system, spoken, metrics, missing, store, normalise)
        rows.append(row)
        manifest += lines
    command = "python -m sottovoce.training.talk_evaluate " + shlex.join(sys.argv[1:] if argv is None else argv)
    below = f"{command}: {len(prompts)} texts, {date.today().isoformat()}, torch {torch.__version__}, {args.threads} threads"
    not_run = "\n".join(f"Not run: {name}: {why}" for name, why in absent.items())
    text = "\n\n".join(part for part in (as_table(rows), not_run, below) if part)
    print(text)
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    (args.out / "manifest.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in manifest), encoding="utf-8"
    )


def _normaliser() -> Callable[[str], str]:
    """As the word error rate takes words."""
    from whisper_normalizer.english import EnglishTextNormalizer

    made = EnglishTextNormalizer()
    return lambda text: str(made(text)).strip()


if __name__ == "__main__":
    main()
