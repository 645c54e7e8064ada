"""Which speech sounds the texts of a data set cover, and which they lack.

The units are phonemes, looked up word by word (gruut: a lexicon, and a trained guess for words that it lacks; stress is not
counted apart). Where gruut or its pack for a language is not installed the units are the letters of the script, and say so:
a poor stand-in, but one that every language has.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
GRUUT_NAMES = {"en": "en-us", "cs": "cs-cz", "de": "de-de", "es": "es-es", "fr": "fr-fr", "it": "it-it", "ru": "ru-ru"}
STRESS = str.maketrans("", "", "ˈˌ")
RARE = 10  # fewer occurrences teach little
LEAST_KNOWN = 0.5  # share of words with phonemes; below, the language's pack is not there

Pronounce = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of the texts in one language."""

    language: str
    units: str
    "What was counted: phonemes, or letters."
    counts: Mapping[str, int]
    missing: tuple[str, ...]
    "Phonemes of the language that no text has; nothing is known of letters."

    @property
    def rare(self) -> tuple[str, ...]:
        return tuple(unit for unit, count in sorted(self.counts.items()) if count < RARE)


def coverage(texts: Iterable[str], language: str) -> Coverage:
    """Count the units of all ``texts``; ``language`` is a code such as en or nl-BE."""
    words = Counter(word for text in texts for word in WORD.findall(text.lower().replace("’", "'")))
    pronounce, inventory = _gruut(language)
    spoken = {word: pronounce(word) for word in words} if pronounce else {}
    if words and sum(bool(phones) for phones in spoken.values()) >= LEAST_KNOWN * len(words):
        counts: Counter[str] = Counter()
        for word, often in words.items():
            for phone in spoken[word]:
                counts[phone.translate(STRESS)] += often
        return Coverage(language, "phonemes", counts, tuple(sorted(inventory - set(counts))))
    letters = Counter(letter for word, often in words.items() for letter in word * often if letter != "'")
    return Coverage(language, "letters", letters, ())


def base_code(language: str) -> str:
    """The language without its region or remarks: en of en-US."""
    found = re.match(r"[a-z]+", language.lower())
    return found[0] if found else ""


def _gruut(language: str) -> tuple[Pronounce | None, set[str]]:
    """How a word is said, and all phonemes there are; None where gruut does not know the language or is not installed."""
    try:
        import gruut
        from gruut.lang import get_settings
        from gruut_ipa.phonemes import Phonemes
    except ImportError:
        return None, set()
    code = base_code(language)
    name = GRUUT_NAMES.get(code, code)
    if not gruut.is_language_supported(name):
        return None, set()
    settings = get_settings(name)
    look_up, guess = settings.lookup_phonemes, settings.guess_phonemes

    def pronounce(word: str) -> list[str]:
        found = look_up(word) if look_up else None
        return list(found or (guess(word) if guess else None) or ())

    return pronounce, {str(phone.text) for phone in Phonemes.from_language(name)}
