"""Turn folders of speech into training data, and tell what is wrong with them.

    python -m sottovoce.training.prepare SPEECH [MORE ...] --out runs/data

Each folder may have any layout that ``layouts`` knows. Every file is decoded, mixed down, resampled to 24 kHz, trimmed,
brought to an active level of -26 dBFS and appended to shards; ``quality_rules`` then decide what is kept. Interrupt it and
give the same command again: it goes on where it was. A folder given later is added. Writes into ``--out``:

    pcm-*.s16       the sound          clips.json     what is kept, for training
    index.jsonl     all measures       manifest.csv   every file: kept, or why not
    report.html     plots, spectrograms and sound to look at and listen to
"""

import argparse
import csv
import dataclasses
import json
import re
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .data import CLIPS, Clip
from .layouts import Item, LayoutError, items
from .quality import (
    FRAME,
    RATE_HZ,
    Measures,
    Sound,
    active_level,
    bandwidth,
    clipped_share,
    decibels,
    fingerprint,
    frame_powers,
    noise_floor,
    spectrum,
    speech_threshold,
)
from .quality_rules import Limits, Verdict, judge
from .shards import Record, ShardError, Writer

WIDEBAND_HZ = 9_500  # between what 16 kHz sources measure (at most 9) and others (at least 10)
LEVEL_DB = -26.0  # active level, as in the ITU's speech databases
PEAK = 0.99
PAD_FRAMES = 8  # 160 ms of what surrounds the speech stay: onsets and tails are faint
WINDOW_S = 120  # read at once of a long recording, or twice its longest piece
CUT = re.compile(
    r"(?:data|SSND) : (\d+) \(should be (\d+)\)"
)  # libsndfile's log: the header promises more than there is
ENDLESS_BYTES = 0x7FFFFFFF  # what programs write that do not know the length beforehand

Report = Callable[[Path, Sequence[Record], Sequence[Verdict]], Path]


@dataclass(frozen=True, slots=True)
class Piece:
    """Sound ready to be stored, and its record without a place."""

    record: Record
    pcm: NDArray[np.int16]


def examine(item: Item, at: int, longest_s: float) -> tuple[list[Piece], int | None]:
    """Read a file from frame ``at`` on, one window at most; the pieces, and where to go on (None: it is finished).

    A recording that is longer than ``longest_s`` is cut at its quietest moments; one with a text cannot be cut.
    """
    if item.fault:
        return [_failed(item, f"text unreadable: {item.fault}")], None
    path = Path(item.folder) / item.file
    if not path.is_file():
        return [_failed(item, "missing: no such file")], None
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz, promised = file.samplerate, file.frames
            window = int(max(WINDOW_S, 2 * longest_s) * rate_hz)
            if at:
                file.seek(at)
            audio = file.read(window, dtype="float32", always_2d=True)
            kind, cut = f"{file.format} {file.subtype}", CUT.search(file.extra_info)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        return [_failed(item, f"broken: {str(error).split(': ')[-1]}")], None
    expected = min(promised - at, window)
    if (cut and int(cut[2]) < int(cut[1]) < ENDLESS_BYTES) or len(audio) < 0.98 * expected:
        return [_failed(item, "broken: cut off, its header promises more sound than there is")], None
    if not len(audio):
        return [_failed(item, "broken: no sound in it")], None
    if not np.isfinite(audio).all():
        return [_failed(item, "broken: not all samples are finite")], None
    if item.text and promised > longest_s * rate_hz:
        return [_failed(item, f"too long: {promised / rate_hz:.1f} s with a single text")], None
    native = audio.mean(1)
    native -= native.mean()
    mono = soxr.resample(native, rate_hz, RATE_HZ)
    more = len(audio) == window and at + window < promised
    stretches, done = quiet_cuts(mono, int(longest_s * RATE_HZ), more)
    clipped = clipped_share(native)
    pieces = [_piece(item, stretch, rate_hz, audio.shape[1], kind, clipped) for stretch in stretches]
    return pieces, at + round(done * rate_hz / RATE_HZ) if more else None


def quiet_cuts(mono: Sound, longest: int, more: bool) -> tuple[list[Sound], int]:
    """Cut [T] where it is quietest, into stretches of ``longest`` samples at most; and how many samples they are.

    Where ``more`` sound follows, what remains after the last cut is left for the next window.
    """
    stretches, at = [], 0
    while len(mono) - at > longest:
        powers = frame_powers(mono[at + longest // 2 : at + longest])
        cut = at + longest // 2 + int(np.argmin(powers)) * FRAME
        stretches.append(mono[at:cut])
        at = cut
    if more:
        return stretches, at
    return [*stretches, mono[at:]], len(mono)


def _failed(item: Item, why: str) -> Piece:
    return Piece(_record(item, 0, why, None), np.zeros(0, np.int16))


def _record(item: Item, n_samples: int, fault: str, measures: Measures | None) -> Record:
    known = (item.folder, item.file, 0, item.speaker, item.text, item.language, item.declared_rate_hz)
    return Record(*known, -1, n_samples, fault, measures)


def _piece(item: Item, mono: Sound, rate_hz: int, channels: int, kind: str, clipped: float) -> Piece:
    """Trim, level and measure one stretch."""
    powers = frame_powers(mono)
    level_db, floor_db = active_level(powers), noise_floor(powers)
    threshold_db = speech_threshold(level_db, floor_db)
    heard = np.flatnonzero(decibels(powers) > threshold_db)
    first = max(0, int(heard[0]) - PAD_FRAMES) if len(heard) else 0
    last = int(heard[-1]) + 1 + PAD_FRAMES if len(heard) else len(powers)
    trimmed = mono[first * FRAME : last * FRAME]
    peak = float(np.abs(trimmed).max(initial=1e-6))
    gain = min(10 ** ((LEVEL_DB - level_db) / 20), PEAK / peak)
    power = spectrum(trimmed)
    measures = Measures(
        rate_hz=rate_hz,
        channels=channels,
        format=kind,
        seconds=round(len(trimmed) / RATE_HZ, 4),
        trimmed_s=round((len(mono) - len(trimmed)) / RATE_HZ, 4),
        level_db=round(level_db, 2),
        gain_db=round(20 * float(np.log10(gain)), 2),
        snr_db=round(level_db - floor_db, 2),
        clipped=round(clipped, 6),
        silence=round(float((decibels(powers[first:last]) <= threshold_db).mean()), 4),
        bandwidth_hz=round(bandwidth(power)),
        fingerprint=fingerprint(power),
    )
    pcm = np.round(trimmed * gain * 32767).astype(np.int16)
    return Piece(_record(item, len(pcm), "", measures), pcm)


def gather(found: Sequence[Item], writer: Writer, longest_s: float, jobs: int = 1) -> Iterator[list[Record]]:
    """Examine and store every file that ``writer`` does not have yet; yields the records of each, in order."""
    have = {(record.folder, record.file) for record in writer.records}
    todo = (item for item in found if (item.folder, item.file) not in have)
    if jobs == 1:
        for item in todo:
            yield _store(item, examine(item, 0, longest_s), writer, longest_s)
        return
    with ProcessPoolExecutor(jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        ahead: deque[tuple[Item, Future[tuple[list[Piece], int | None]]]] = deque()

        def submit(most: int) -> None:
            ahead.extend((item, pool.submit(examine, item, 0, longest_s)) for item in islice(todo, most))

        try:
            submit(2 * jobs)  # and no more at once: what they return waits in memory
            while ahead:
                item, future = ahead.popleft()
                submit(1)
                yield _store(item, future.result(), writer, longest_s)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _store(item: Item, begun: tuple[list[Piece], int | None], writer: Writer, longest_s: float) -> list[Record]:
    """Append a file's pieces, window after window, and commit them together."""
    records: list[Record] = []
    pieces, at = begun
    while True:
        for piece in pieces:
            records.append(dataclasses.replace(piece.record, piece=len(records), start=writer.sound(piece.pcm)))
        if at is None:
            break
        pieces, at = examine(item, at, longest_s)
    writer.commit(records)
    return records


def finish(out: Path, records: Sequence[Record], limits: Limits) -> list[Verdict]:
    """Judge everything and write ``clips.json`` and ``manifest.csv``.

    Raises:
        ValueError: nothing can be kept.
    """
    verdicts = judge(records, limits)
    pairs = list(zip(records, verdicts, strict=True))
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file", "kept", "reasons", "remarks", *_known(records[0]), *_fields(Measures)])
        writer.writeheader()
        for record, verdict in pairs:
            row: dict[str, Any] = {"file": named(record), "kept": "yes" if verdict.kept else "no", **_known(record)}
            row |= {"reasons": "; ".join(verdict.reasons), "remarks": "; ".join(verdict.remarks)}
            writer.writerow(row | (dataclasses.asdict(record.measures) if record.measures else {}))
    clips = [_clip(record) for record, verdict in pairs if verdict.kept]
    if not clips:
        first = "; ".join(verdicts[0].reasons)
        raise ValueError(f"{out}: nothing could be kept of {len(records)} clips, see manifest.csv (the first: {first})")
    partial = out / "clips.partial"
    partial.write_text(json.dumps([dataclasses.asdict(clip) for clip in clips]), encoding="utf-8")
    partial.replace(out / CLIPS)
    return verdicts


def named(record: Record) -> str:
    """The file, and the piece of it where it was cut."""
    return f"{record.file}#{record.piece}" if record.piece else record.file


def _fields(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _known(record: Record) -> dict[str, str]:
    return {"folder": record.folder, "speaker": record.speaker, "language": record.language, "text": record.text}


def _clip(record: Record) -> Clip:
    assert record.measures
    bandwidth_hz = record.measures.bandwidth_hz
    wideband = bandwidth_hz > WIDEBAND_HZ and not 0 < record.declared_rate_hz <= 16_000
    source = Path(record.folder).name
    place = (named(record), record.start, record.n_samples, wideband)
    return Clip(*place, source, record.speaker, record.text, record.language, bandwidth_hz)


def pack(folder: Path, out: Path, limits: Limits | None = None, longest_s: float = 30.0) -> list[Verdict]:
    """The whole of it for one folder, without progress or report.

    Raises:
        ValueError: nothing was found, or nothing could be kept.
    """
    _, found = items(folder)
    with Writer(out, {"longest_s": longest_s}) as writer:
        for _ in gather(found, writer, longest_s):
            pass
        return finish(out, writer.records, limits or Limits())


def _run(args: argparse.Namespace, limits: Limits, report: Report | None) -> None:
    found: list[Item] = []
    for folder in args.folders:
        layout, inside = items(folder.resolve())
        texts = sum(bool(item.text) for item in inside)
        print(f"{folder}: {layout}, {len(inside)} files, {texts} with a text")
        inside = [item if item.language else dataclasses.replace(item, language=args.language) for item in inside]
        found += inside[: args.limit]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Writer(args.out, {"longest_s": args.longest_s}) as writer:
        had = len({(record.folder, record.file) for record in writer.records})
        if had:
            print(f"goes on after {had} files")
        seconds = sum(record.n_samples for record in writer.records) / RATE_HZ
        with Progress(*columns, console=Console(stderr=True)) as progress:
            files = {(item.folder, item.file) for item in found}
            done = len(files & {(record.folder, record.file) for record in writer.records})
            task = progress.add_task("reading", total=len(files), completed=done)
            for records in gather(found, writer, args.longest_s, args.jobs):
                seconds += sum(record.n_samples for record in records) / RATE_HZ
                progress.update(task, advance=1, description=f"{seconds / 3600:.2f} h")
        verdicts = finish(args.out, writer.records, limits)
        _summary(args.out, writer.records, verdicts)
        if report:
            report(args.out, writer.records, verdicts)
            print(f"look at {args.out / 'report.html'}")


def _reporter() -> Report:
    """What draws the report; asked for before hours of reading, not after them. Exits where matplotlib is not there."""
    try:
        from .quality_report import write_report
    except ImportError as error:
        sys.exit(f"prepare: no report without matplotlib ({error}); pip install 'sottovoce[report]', or --no-report")
    return write_report


def _summary(out: Path, records: Sequence[Record], verdicts: Sequence[Verdict]) -> None:
    kept = [record for record, verdict in zip(records, verdicts, strict=True) if verdict.kept]
    hours = sum(record.n_samples for record in kept) / RATE_HZ / 3600
    print(f"kept {len(kept)} of {len(records)} clips, {hours:.2f} hours in {out}")
    why = Counter(reason.split(":")[0] for verdict in verdicts for reason in verdict.reasons)
    what = Counter(remark.split(":")[0] for verdict in verdicts for remark in verdict.remarks)
    for title, counts in (("left out", why), ("remarks", what)):
        if counts:
            print(f"{title}: " + ", ".join(f"{name} {n}" for name, n in counts.most_common()))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("runs/data"))
    parser.add_argument("--limit", type=int, help="only the first N files of each folder")
    parser.add_argument("--language", default="en", help="of the texts, where no manifest says so")
    parser.add_argument("--longest-s", type=float, default=30.0, help="cut longer recordings (1 to 300 s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that decode")
    parser.add_argument("--no-report", dest="report", action="store_false", help="measure and write, but draw nothing")
    for field in dataclasses.fields(Limits):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=float, default=field.default, help="limit; default %(default)s")
    args = parser.parse_args(argv)
    if not 1 <= args.longest_s <= 300 or args.jobs < 1:
        parser.error("--longest-s is 1 to 300, --jobs at least 1")
    limits = Limits(**{name: getattr(args, name) for name in _fields(Limits)})
    try:
        _run(args, limits, _reporter() if args.report else None)
    except (LayoutError, ShardError, ValueError) as error:
        sys.exit(f"prepare: {error}")
    except KeyboardInterrupt:
        sys.exit("prepare: interrupted; the same command goes on from here")


if __name__ == "__main__":
    main()
