"""Which neighbouring sounds a set of texts has, and words that bring those it lacks.

A diphone is two sounds in a row, also across words; ``#`` is the silence at both ends and at punctuation. Stress and length
are not counted apart. What a language can do inside words is taken from a lexicon, what it can do between them from the
sounds that words begin and end with.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from random import Random

from sottovoce.models.symbols import CONSONANTS, MARKS, PAUSE, PUNCTUATION, VOWELS

SILENCE = "#"
Diphone = tuple[str, str]
CARRIERS = (
    "Say {}, {}, and {}.",
    "First {}, then {}, and finally {}.",
    "The words are {}, {}, and {}.",
    "Was it {}, {}, or {}?",
    "Not {}, but {} and {}.",
)


def diphones(symbols: Iterable[str]) -> list[Diphone]:
    """Of one text, with the silence around it."""
    sounds = [SILENCE]
    for symbol in symbols:
        if symbol == PAUSE or symbol in PUNCTUATION:
            sounds += [SILENCE] if sounds[-1] != SILENCE else []
        elif symbol in CONSONANTS + VOWELS:
            sounds.append(symbol)
        elif symbol not in MARKS and symbol != " ":
            raise ValueError(f"{symbol!r} is no symbol of ours")
    sounds += [SILENCE] if sounds[-1] != SILENCE else []
    return list(pairwise(sounds))


class Coverage:
    """Counts over texts."""

    def __init__(self) -> None:
        self.counts: Counter[Diphone] = Counter()
        self.texts = 0

    def add(self, symbols: Iterable[str]) -> None:
        self.counts.update(diphones(symbols))
        self.texts += 1

    @property
    def phonemes(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for (_, second), count in self.counts.items():
            counts[second] += count
        del counts[SILENCE]
        return counts

    def rare(self, wanted: Iterable[Diphone], least: int) -> list[Diphone]:
        """Those of ``wanted`` that come fewer than ``least`` times, the rarest first."""
        return sorted((one for one in wanted if self.counts[one] < least), key=lambda one: (self.counts[one], one))

    def report(self, wanted: Sequence[Diphone], least: int) -> str:
        """Two lines: phonemes and diphones."""
        phonemes = self.phonemes
        rarest = ", ".join(f"{phoneme} {count}" for phoneme, count in phonemes.most_common()[-6:])
        missing = [sound for sound in CONSONANTS + VOWELS if not phonemes[sound]]
        have = sum(self.counts[one] > 0 for one in wanted)
        enough = len(wanted) - len(self.rare(wanted, least))
        return (
            f"{self.texts} texts, {sum(phonemes.values())} sounds; rarest: {rarest}; without: {' '.join(missing) or 'none'}\n"
            f"{have} of the {len(wanted)} diphones inside words, {enough} of them at least {least} times; "
            f"{len(self.counts)} diphones in all"
        )


def inside(words: Mapping[str, str]) -> list[Diphone]:
    """The diphones inside the words of a lexicon, sorted."""
    return sorted({one for phonemes in words.values() for one in diphones(phonemes) if SILENCE not in one})


def top_up(coverage: Coverage, words: Mapping[str, str], least: int, most: int, seed: int = 0) -> list[str]:
    """Up to ``most`` sentences that say words with the rarest diphones, until all have been said ``least`` times.

    ``coverage`` is updated by the words alone. Words of common length come first.
    """
    random = Random(seed)
    bearers: dict[Diphone, list[str]] = defaultdict(list)
    for word, phonemes in sorted(words.items()):
        for one in set(diphones(phonemes)):
            bearers[one].append(word)
    wanted, sentences, tried = inside(words), list[str](), Counter[Diphone]()
    while len(sentences) < most:
        rare = [one for one in coverage.rare(wanted, least) if tried[one] < 2 * least][:3]
        if not rare:
            break
        chosen = []
        for one in (rare * 3)[:3]:
            tried[one] += 1
            pool = sorted(bearers[one], key=len)[: max(20, len(bearers[one]) // 3)]
            chosen.append(random.choice(pool))
        sentences.append(random.choice(CARRIERS).format(*chosen))
        for word in chosen:
            coverage.counts.update(one for one in diphones(words[word]) if SILENCE not in one)
    return sentences
