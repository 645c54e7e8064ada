"""Write texts for a teacher to speak: given lines, sentences of our own making, and what brings rare sounds.

    python -m sottovoce.training.talk_texts --lines ljspeech.txt --each 400 --out runs/texts.txt

One text a line, shuffled, none twice. Prints how many phonemes and diphones they cover. The lines that are given must be free
to use, the rest is ours; words for rare sounds come from the lexicon of hibari-tts (Apache-2.0).
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import track

from sottovoce.models.symbols import CONSONANTS, MARKS, VOWELS

from .diphones import Coverage, inside, top_up
from .talk_sentences import KINDS, made
from .talk_text import Reader

LONGEST = 240  # characters; a teacher says what is longer in pieces
SPEAKABLE = set(CONSONANTS + VOWELS + MARKS)
FLAPS = str.maketrans({"ɾ": "T", "ʔ": "t"})  # as the front end writes them


def lexicon_words() -> dict[str, str]:
    """Plain words of the front end's lexicon with their phonemes. Raises ModuleNotFoundError: hibari-tts is not installed."""
    packed = resources.files("hibari").joinpath("assets/lexicon_us_gold.json.gz").read_bytes()
    entries: dict[str, str | dict[str, str]] = json.loads(gzip.decompress(packed))
    plain = {word: said if isinstance(said, str) else said.get("DEFAULT") for word, said in entries.items()}
    found = {word: said.translate(FLAPS) for word, said in plain.items() if said}
    return {
        word: said
        for word, said in found.items()
        if word.isascii() and word.isalpha() and word.islower() and len(word) > 2 and set(said) <= SPEAKABLE
    }


def read_lines(path: Path) -> list[str]:
    """The texts of a file. Raises ValueError: not readable, not UTF-8, or empty."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a text in UTF-8 ({error})") from None
    if not any(lines):
        raise ValueError(f"{path}: no line in it")
    return [line for line in lines if line]


def covered(texts: Iterable[str], reader: Reader) -> Coverage:
    """What ``texts`` say."""
    coverage = Coverage()
    for text in texts:
        coverage.add(reader.symbols(text))
    return coverage


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=Path, nargs="*", default=[], help="files of texts, one a line")
    parser.add_argument("--first", type=int, help="only so many of the given lines, drawn at random")
    parser.add_argument("--each", type=int, default=300, help=f"sentences of each kind: {' '.join(KINDS)}")
    parser.add_argument("--least", type=int, default=8, help="how often every diphone should come")
    parser.add_argument("--most-added", type=int, default=1000, help="sentences of words for rare diphones, at most")
    parser.add_argument("--lexicon", type=Path, help="words said otherwise, as for the talker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    random = Random(args.seed)
    try:
        given = [line for path in args.lines for line in read_lines(path)]
        if args.first is not None:
            given = random.sample(given, min(args.first, len(given)))
        texts = [*given, *(text for kind in KINDS for text in made(kind, args.each, args.seed))]
        n_made, before = len(texts) - len(given), len(texts)
        texts = list(dict.fromkeys(text for text in texts if len(text) <= LONGEST))
        words = lexicon_words()
        coverage = covered(track(texts, "reading", console=Console(stderr=True)), reader := Reader(args.lexicon))
    except (ValueError, ModuleNotFoundError) as error:
        sys.exit(f"talk_texts: {error}")
    print(f"{len(given)} lines given, {n_made} made, {before - len(texts)} too long or twice")
    print(coverage.report(inside(words), args.least))
    added = top_up(coverage, words, args.least, args.most_added, args.seed)
    texts += added
    random.shuffle(texts)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    print(f"{len(added)} sentences added for rare diphones, then:")
    print(covered(texts, reader).report(inside(words), args.least))
    print(
        f"{len(texts)} texts, {sum(map(len, texts))} characters, about {sum(map(len, texts)) / 15 / 3600:.1f} h, in {args.out}"
    )


if __name__ == "__main__":
    main()
