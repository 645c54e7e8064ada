"""Words that are to be pronounced otherwise: a text file, one word a line.

    # comment
    word<TAB>phonemes            in every accent
    word<TAB>phonemes<TAB>gb     in this one only (us or gb)

Encoded in UTF-8. A word has no white space. Written in small letters it stands for every spelling in capitals too, else for
this spelling alone; a word with its 's is found as well. The phonemes are those of ``models/symbols.py``, with stress marks.
"""

from __future__ import annotations

from pathlib import Path

from .errors import UsageError
from .numerals import Accent

ALPHABET = frozenset(" ˈˌːbdfhjklmnpstvwzðŋɡɹʃʒʤʧθTAIOQWYaiuyæɑɒɐɔəɛɜɪʊʌᵊᵻ")
"What a word may consist of: the talker's symbols without punctuation; a test holds the two equal."
ACCENTS = ("us", "gb")
VOWELLESS = frozenset("ptkfθ")
HISSING = frozenset("szʃʒʧʤ")


class Lexicon:
    """Pronunciations that come before every rule."""

    def __init__(self, entries: dict[str, str]) -> None:
        self._entries = entries

    def get(self, word: str) -> str | None:
        """Phonemes of ``word``, or None."""
        found = self._entries.get(word) or self._entries.get(word.lower())
        if found or not word.lower().endswith("'s"):
            return found
        stem = self.get(word[:-2])
        if stem is None:
            return None
        if stem[-1] in HISSING:
            return stem + "ᵻz"
        return stem + ("s" if stem[-1] in VOWELLESS else "z")


def read_lexicon(path: Path, accent: Accent) -> Lexicon:
    """The entries of a file for ``accent``; of two for one word the later one counts.

    Raises:
        UsageError: the file cannot be read, or a line of it is wrong; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UsageError(f"cannot read the lexicon {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read the lexicon {path}: it is not UTF-8 text") from error
    entries: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            word, phonemes, only = _parse(line)
        except ValueError as wrong:
            raise UsageError(f"{path}, line {number}: {wrong}") from None
        if only in (None, accent):
            entries[word] = phonemes
    return Lexicon(entries)


def _parse(line: str) -> tuple[str, str, str | None]:
    word, *fields = (field.strip() for field in line.split("\t"))
    if not 1 <= len(fields) <= 2:
        raise ValueError("expected a word, a tab and its phonemes")
    phonemes, only = fields[0], fields[1] if len(fields) > 1 else None
    if not word or len(word.split()) > 1:
        raise ValueError(f"{word!r} is not one word")
    if not phonemes:
        raise ValueError(f"{word!r} has no phonemes")
    for symbol in phonemes:
        if symbol not in ALPHABET:
            raise ValueError(f"{symbol!r} in {phonemes!r} is not a phoneme of the talker's alphabet")
    if only is not None and only not in ACCENTS:
        raise ValueError(f"{only!r} is not an accent; choose us or gb")
    return word, phonemes, only
