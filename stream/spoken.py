"""A word that is read, and a clause of them. Without the libraries that know how words sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from textwrap import wrap


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word as it was written, and as it sounds."""

    text: str
    "``original[start_char:end_char]``"
    phonemes: str
    "Without the punctuation about the word; with a space where several words are said for it."
    start_char: int
    end_char: int
    before: str = ""
    "Punctuation that shapes the melody, in symbols: an opening quote or bracket."
    after: str = ""


def joined(words: Sequence[Spoken]) -> tuple[str, list[range]]:
    """The phonemes of a clause as the talker reads them, and for each word the range of its symbols among them."""
    line = ""
    places = []
    for word in words:
        if line:
            line += " "
        line += word.before
        places.append(range(len(line), len(line) + len(word.phonemes)))
        line += word.phonemes + word.after
    return line, places


def shortened(word: Spoken, most_symbols: int) -> Iterator[Spoken]:
    """``word``, or the parts of one that is longer (a number of a hundred digits), each with its share of the text."""
    lines = wrap(word.phonemes, most_symbols, break_on_hyphens=False)
    if len(lines) <= 1:
        yield word
        return
    said = list(accumulate(map(len, lines), initial=0))
    chars = [word.start_char + len(word.text) * n // said[-1] for n in said]
    for number, (line, (start, end)) in enumerate(zip(lines, pairwise(chars), strict=True)):
        text = word.text[start - word.start_char : end - word.start_char]
        part = replace(word, text=text, phonemes=line, start_char=start, end_char=end)
        yield replace(
            part, before=word.before if number == 0 else "", after=word.after if number == len(lines) - 1 else ""
        )
