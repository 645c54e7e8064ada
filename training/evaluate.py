"""Measure a codec on a folder of speech that it was not trained on, beside the codecs that people use today.

    python -m sottovoce.training.evaluate CORPUS/dev --books 8 4 2 --words --copy --out runs/eval
    python -m sottovoce.training.evaluate CORPUS/dev --every 12 --loss 0 0.05 0.1 0.2 --metrics pesq estoi --peers none

For every preset, vocoder, number of books and loss rate, for the originals, and for every peer whose Debian packages are there:
PESQ-WB, ESTOI, ViSQOL, log-mel distance, speaker similarity, and with ``--metrics all`` DNSMOS and word error rate, each with a
95 % interval over clips; bytes really written; the perplexity of every book. Then who beats whom. Writes the decoded clips,
``table.json``, ``table.md``, ``quality.png``, ``loss.png`` and ``clips/*.png`` to ``--out``; what lies there already is not
measured again.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from sottovoce.models.checkpoint import load_codec
from sottovoce.models.weight_file import WEIGHTS, CheckpointError

from . import metrics as judges
from .bootstrap import Tallies, estimate
from .clip_pictures import clip_picture, spread
from .lag import aligned, median_lag
from .metrics import RATE_HZ, Metric
from .ours import CopySynthesis, Encoder, Ours, Wire, perplexities
from .peers import PEERS, Original, Peer, PeerError
from .plots import loss_picture, quality_picture
from .recordings import Pcm, Recording, read_folder, resampled
from .rows import Row
from .store import Carried, Store, System, digest
from .tables import as_table, limit_table, perplexity_table, verdict_table
from .verdicts import BAR, Limit, Verdict, copy_limits, judge, limits


@dataclass(frozen=True, slots=True)
class Measured:
    """A row, and what of it pairs with other rows clip by clip."""

    row: Row
    tallies: dict[str, Tallies]
    system: System
    decoded: Sequence[Pcm]
    "Every clip as it was judged, at `RATE_HZ`."


class Evaluation:
    """One folder of clips, and the metrics that every system meets."""

    def __init__(
        self, recordings: Sequence[Recording], metrics: Sequence[Metric], missing: dict[str, str], store: Store
    ) -> None:
        self.recordings, self.metrics, self.missing, self.store = recordings, metrics, missing, store
        self.originals = [recording.at(RATE_HZ) for recording in recordings]
        self.console = Console(stderr=True)

    def measure(self, system: System) -> Measured:
        """Every clip through ``system``, and what every metric says of it. Raises PeerError."""
        carried = [self.store.carried(system, recording) for recording in self._shown(system.name, "decoding")]
        heard = [resampled(clip.pcm, clip.rate_hz, RATE_HZ) for clip in carried]
        lag = 0
        if isinstance(system, Peer):  # ours comes out in line, by the delay that the model states
            lag = median_lag(list(zip(self.originals, heard, strict=True)), RATE_HZ)
        decoded = [aligned(pcm, lag, len(original)) for pcm, original in zip(heard, self.originals, strict=True)]
        tallies = {metric.name: self._tallies(system.name, metric, decoded) for metric in self.metrics}
        missing = self.missing | {
            name: "no clip could be measured" + (" (no transcripts)" if name == judges.WORDS else "")
            for name, found in tallies.items()
            if not found[:, 1].any()
        }
        estimates = {name: estimate(found) for name, found in tallies.items() if found[:, 1].any()}
        row = replace(_described(system, carried), lag_ms=1000 * lag / RATE_HZ, metrics=estimates, missing=missing)
        return Measured(row, tallies, system, decoded)

    def _tallies(self, name: str, metric: Metric, decoded: Sequence[Pcm]) -> Tallies:
        rows = []
        for i, recording in enumerate(self._shown(name, metric.title)):
            if metric.needs_text and not recording.text:
                rows.append((0.0, 0.0))
                continue
            original, clip = self.originals[i], decoded[i]
            judged = [clip.tobytes(), *([original.tobytes()] if metric.needs_original else [])]
            key = digest(metric.name, metric.version, *judged)
            value = self.store.value(key, partial(metric.judge, original, clip))
            rows.append(metric.score(value, recording.text))
        return np.array(rows, np.float64)

    def _shown(self, name: str, what: str) -> Iterable[Recording]:
        return track(self.recordings, f"{name}: {what}", console=self.console, transient=True)


def _described(system: System, carried: Sequence[Carried]) -> Row:
    """What is known of a row before anybody has listened."""
    sizes = [clip.size for clip in carried]
    seconds = sum(size.seconds for size in sizes)

    def bits_per_s(n_bytes: int) -> float | None:
        return 8 * n_bytes / seconds if n_bytes else None

    row = Row(
        system.name,
        "original",
        "original",
        len(carried),
        seconds,
        bits_per_s=bits_per_s(sum(size.payload_bytes for size in sizes)),
        packet_bits_per_s=bits_per_s(sum(size.packet_bytes for size in sizes)),
        file_bits_per_s=bits_per_s(sum(size.file_bytes for size in sizes)),
    )
    if isinstance(system, Ours):
        frames = sum(size.frames for size in sizes)
        return replace(
            row,
            kind="ours",
            family=f"{system.descriptor.preset} {system.vocoder}",
            frames=frames,
            books=system.books,
            loss=system.wire.loss,
            lost_share=sum(size.lost_frames for size in sizes) / frames,
            delay_ms=system.descriptor.delay_ms,
            perplexity=perplexities([clip.compressed for clip in carried]),
        )
    if isinstance(system, CopySynthesis):
        return replace(row, kind="copy", family=system.name)
    if isinstance(system, Peer):
        return replace(row, kind="peer", family=system.family)
    return row


def our_systems(args: argparse.Namespace) -> list[System]:
    """Every preset, vocoder, number of books and loss rate. Raises CheckpointError."""
    systems: list[System] = []
    for preset in args.presets:
        for vocoder in args.vocoders:
            encoder = Encoder(load_codec(preset, args.weights, vocoder))
            if args.copy:
                systems.append(CopySynthesis(encoder, vocoder))
            for books in dict.fromkeys(min(books, encoder.descriptor.books) for books in args.books):
                systems += [Ours(encoder, vocoder, books, Wire(loss, args.seed)) for loss in args.loss]
    return systems


def peers_here(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """The peers of ``names`` that can run; and for each of the others, why not. ``all`` and ``none`` are names too."""
    wanted = [peer for name, peer in PEERS.items() if name in names or "all" in names]
    missing = {peer.name: why for peer in wanted if (why := peer.missing())}
    return [peer for peer in wanted if peer.name not in missing], missing


def draw_clips(recordings: Sequence[Recording], measured: Sequence[Measured], n: int, folder: Path) -> None:
    """A picture each of ``n`` clips, with every system that loses no packets. Raises ImportError: no matplotlib."""
    shown = [one for one in measured if not one.row.loss]
    for i in spread(len(recordings), n):
        name = recordings[i].name
        clip_picture(name, [(one.row.name, one.decoded[i]) for one in shown], folder / f"{Path(name).name}.png")


def judged(measured: Sequence[Measured], metrics: Sequence[Metric]) -> tuple[list[Verdict], list[Limit]]:
    """The pairings of the bar whose two sides are there, and the limits of our rows."""
    tables = {one.row.name: one.tallies for one in measured}
    verdicts: list[Verdict] = []
    kept: list[Limit] = []
    for one in measured:
        system = one.system
        if isinstance(system, CopySynthesis):
            kept += copy_limits(system.name, tables)
        elif isinstance(system, Ours) and not system.wire.loss:
            preset, books = system.descriptor.preset, system.books
            kept += limits(one.row, preset, system.descriptor.book_size, tables)
            verdicts += [
                judge(system.name, pair.peer, pair.level, tables, metrics)
                for pair in BAR
                if (pair.preset, pair.books) == (preset, books) and pair.peer in tables
            ]
    return verdicts, kept


def main(argv: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    began = time.monotonic()
    asked = {*args.metrics, *([judges.WORDS] if args.words else [])}
    names = [name for name in judges.NAMES if name in asked or "all" in asked]
    try:
        recordings = read_folder(args.folder, args.limit, args.every)
        systems = our_systems(args)
    except (CheckpointError, ValueError) as error:
        sys.exit(f"evaluate: {error}")
    peers, absent = peers_here(args.peers)
    metrics, missing = judges.load(names, args.recogniser, args.threads)
    for name, why in (missing | absent).items():
        print(f"evaluate: without {name}: {why}", file=sys.stderr)
    evaluation = Evaluation(recordings, metrics, missing, Store(args.out))
    measured = []
    for system in [Original(), *systems, *peers]:
        try:
            measured.append(evaluation.measure(system))
        except PeerError as error:
            absent[system.name] = str(error)
            print(f"evaluate: without {system.name}: {error}", file=sys.stderr)
            continue
        print(f"{system.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    rows = [one.row for one in measured]
    verdicts, kept = judged(measured, metrics)
    conditions = {
        "command": "python -m sottovoce.training.evaluate " + shlex.join(sys.argv[1:] if argv is None else argv),
        "date": date.today().isoformat(),
        "folder": args.folder.name,
        "clips": len(recordings),
        "seconds": sum(recording.seconds for recording in recordings),
        "judges": {metric.name: metric.version for metric in metrics},
        "torch": torch.__version__,
        "threads": args.threads,
        "wall_s": time.monotonic() - began,
    }
    text = "\n\n".join(
        part
        for part in (
            as_table(rows),
            perplexity_table(rows),
            verdict_table(verdicts),
            limit_table(kept),
            "\n".join(f"Not run: {name}: {why}" for name, why in absent.items()),
            f"{conditions['command']}: {len(recordings)} clips of {conditions['folder']}, {conditions['date']}, "
            f"torch {torch.__version__}, {args.threads} threads, {conditions['wall_s']:.0f} s",
        )
        if part
    )
    print(text)
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    whole = {
        "conditions": conditions,
        "rows": [asdict(row) for row in rows],
        "verdicts": [asdict(verdict) | {"beaten": verdict.beaten} for verdict in verdicts],
        "limits": [asdict(limit) for limit in kept],
        "not_run": absent,
    }
    (args.out / "table.json").write_text(json.dumps(whole, indent=1, allow_nan=False), encoding="utf-8")
    try:
        quality_picture(rows, args.out / "quality.png")
        loss_picture(rows, args.out / "loss.png")
        draw_clips(recordings, measured, args.pictures, args.out / "clips")
    except ImportError as error:
        print(f"evaluate: without pictures: {error}; pip install 'sottovoce[evaluate]'", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--presets", nargs="+", default=["base", "micro"])
    parser.add_argument("--vocoders", nargs="+", choices=["neural", "griffin-lim"], default=["neural"])
    parser.add_argument("--books", nargs="+", type=_count, default=[8, 4, 2], help="more than a preset has: all it has")
    parser.add_argument("--loss", nargs="+", type=_share, default=[0.0], help="shares of packets to lose, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="of the losses")
    parser.add_argument("--copy", action="store_true", help="measure the vocoders alone too, on the originals' mel")
    parser.add_argument("--peers", nargs="+", choices=["all", "none", *PEERS], default=["all"])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=Path("runs/eval"))
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=[*judges.NAMES, "all"],
        default=[name for name in judges.KINDS if name not in judges.SLOW],
        help="default: all but the slow ones, wer and dnsmos",
    )
    parser.add_argument("--words", action="store_true", help="measure the word error rate too")
    parser.add_argument("--recogniser", type=Path, help="a CTranslate2 Whisper folder; default: the PyPI packages")
    parser.add_argument("--limit", type=_count, help="only the first N clips")
    parser.add_argument("--every", type=_count, default=1, help="only every Nth clip")
    parser.add_argument("--pictures", type=_count, default=5, help="clips to draw")
    parser.add_argument("--threads", type=_count, default=torch.get_num_threads())
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be 0 to 1, not {text}")
    return share


if __name__ == "__main__":
    main()
