"""From text to phonemes, with the place of every word: the same class for training and for speaking.

``text_normal`` says which words are to be spoken; hibari-tts' grapheme-to-phoneme rules (a port of misaki without spaCy and
espeak; dictionary, part-of-speech tagger, a small net for unknown words) say how. Only its inner parts are used, word by
word, as its own normaliser would lose where the words stood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyascii import anyascii
from hibari.g2p import G2P
from hibari.g2p.token import Tok

from .form import SPELL
from .lexicon import ALPHABET, Lexicon, read_lexicon
from .numerals import Accent
from .spoken import Spoken as Spoken
from .spoken import joined as joined
from .text_normal import Chunk, normalise

LONGEST_WORD_CHARS = 24  # what the net for unknown words can hear at once
LONGEST_COMPOUND_CHARS = 40  # the rules try every way to join the parts of a word
UMLAUT_OR_ACUTE_END = re.compile("[äöüÄÖÜ]|é$")  # these sound otherwise than the plain letter
BRACKETS = dict.fromkeys(map(ord, "()"))
MARKS = frozenset(".,;:!?…—()")  # the punctuation that shapes the melody, beside quotes


class Phonemizer:
    """Reads English text aloud, on paper.

    Its dictionaries take about a second to load and 100 MB of memory; ``words`` then takes a few milliseconds a sentence.
    One object is used by one thread at a time.
    """

    def __init__(self, lexicon: Path | None = None, accent: Accent = "us") -> None:
        """``lexicon``: a file of pronunciations that come first (its format is in ``lexicon.py``).

        Raises:
            UsageError: the lexicon cannot be read, or a line of it is wrong.
            ValueError: there is no such accent.
        """
        if accent not in ("us", "gb"):
            raise ValueError(f"accent must be us or gb, not {accent!r}")
        self.accent: Accent = accent
        self._own = read_lexicon(lexicon, accent) if lexicon else Lexicon({})
        self._g2p: Any = G2P(british=accent == "gb")

    def warm(self) -> None:
        """Load what the first unknown word would load."""
        self._g2p.oov("warm")

    def words(self, text: str) -> list[Spoken]:
        """The words of ``text``, a clause or more, in order; none where nothing is to be said. Any text whatever."""
        chunks = [piece for chunk in normalise(text, self.accent) for piece in self._pieces(chunk)]
        words: list[Spoken] = []
        for chunk, phonemes in zip(chunks, self._phonemes(chunks), strict=True):
            if phonemes:
                here = text[chunk.start : chunk.end]
                before, after = _marks(chunk.before, "“"), _marks(chunk.after, "”")
                words.append(Spoken(here, phonemes, chunk.start, chunk.end, before, after))
            elif words:
                words[-1] = replace(words[-1], after=_with_mark(words[-1].after, _marks(chunk.after, "")))
        return list(_together(words, text))

    def _pieces(self, chunk: Chunk) -> Iterator[Chunk]:
        """``chunk``, or what is short enough to be read of it, all at the same place."""
        word = chunk.word
        parts = re.split(r"[-.,:;!?…—()]+", word)
        short = len(word) <= LONGEST_COMPOUND_CHARS and max(map(len, parts)) <= LONGEST_WORD_CHARS
        if short or word.startswith(SPELL) or self._own.get(word) or self._knows(word):
            yield chunk
            return
        cuts = [part[i : i + LONGEST_WORD_CHARS] for part in parts for i in range(0, len(part), LONGEST_WORD_CHARS)]
        for number, cut in enumerate(cuts):
            before = chunk.before if number == 0 else ""
            after = chunk.after if number == len(cuts) - 1 else ""
            yield replace(chunk, before=before, word=cut, after=after)

    def _phonemes(self, chunks: Sequence[Chunk]) -> list[str]:
        """What each chunk sounds like; empty where it is silent."""
        tokens: list[Any] = []
        for chunk in chunks:
            tokens += self._tokens(chunk) or [Tok("…")]  # brackets alone: silent, but a token
            tokens[-1].whitespace = " "
        for token, tag in zip(tokens, self._g2p.tagger([token.text for token in tokens]), strict=True):
            token.tag = tag
        sounds = [""]
        for token in self._g2p.phonemize_tokens(tokens) if tokens else ():
            sounds[-1] += token.phonemes or ""
            if token.whitespace:
                sounds.append("")
        return [_sound(sound) for sound in sounds[:-1]]

    def _tokens(self, chunk: Chunk) -> list[Any]:
        """A chunk as the rules cut it."""
        split = self._g2p.tokenizer.split
        before, after = (_marks(marks.translate(BRACKETS), '"') for marks in (chunk.before, chunk.after))
        word, known = chunk.word, self._own.get(chunk.word)
        if word.startswith(SPELL):
            word = word.lstrip(SPELL)
            known = self._g2p.lexicon.get_NNP(word)[0]
        elif known is None and "'" in chunk.before:
            known = self._clipped(chunk)
        if known is None:
            return [Tok(part) for part in split(before + self._spelling(word) + after)]
        return [*map(Tok, split(before)), Tok(word, phonemes=known, rating=5), *map(Tok, split(after))]

    def _clipped(self, chunk: Chunk) -> str | None:
        """Phonemes of a word whose quote is an apostrophe: 'em, 'n'."""
        for word in (f"'{chunk.word.lower()}'", f"'{chunk.word.lower()}"):
            sounds = self._g2p.lexicon.golds.get(word)
            if sounds and word.rstrip("'") not in ("'s", "'d", "'m", "'t", "'ll", "'re", "'ve"):
                return str(sounds["DEFAULT"] if isinstance(sounds, dict) else sounds)
        return None

    def _spelling(self, word: str) -> str:
        """Another spelling where the rules would not find the word under its own."""
        if not (word.isascii() or UMLAUT_OR_ACUTE_END.search(word)) and self._knows(plain := anyascii(word)):
            return plain  # naïve, façade
        if len(word) > 5 and word.isalpha() and word.isupper() and not self._knows(word.lower()):
            return word if self._knows(word) else word.capitalize()  # a shout, not an initialism
        return word

    def _knows(self, word: str) -> bool:
        return word in self._g2p.lexicon.golds or word in self._g2p.lexicon.silvers


def _sound(phonemes: str) -> str:
    """Only what the talker's alphabet has; the net for unknown words writes a change of language in brackets."""
    phonemes = re.sub(r"\([^)]*\)", "", phonemes)
    return " ".join("".join(symbol for symbol in phonemes if symbol in ALPHABET).split())


def _marks(punctuation: str, quote: str) -> str:
    """Punctuation as symbols, each once in a row."""
    marks = ""
    for char in punctuation.replace('"', quote):
        if (char in MARKS or char in quote) and not marks.endswith(char):
            marks += char
    return marks


def _with_mark(after: str, mark: str) -> str:
    """Punctuation that stood alone, behind what the word before has."""
    if not mark or after.endswith(mark):
        return after
    return after + (" " if mark[0] in "—(" else "") + mark


def _together(words: Sequence[Spoken], text: str) -> Iterator[Spoken]:
    """Join the words that were written as one: those that share a place, or stand without a gap or a mark between."""
    joint: Spoken | None = None
    for word in words:
        if joint and (
            word.start_char < joint.end_char
            or (word.start_char == joint.end_char and not joint.after and not word.before)
        ):
            start, end = min(joint.start_char, word.start_char), max(joint.end_char, word.end_char)
            phonemes = f"{joint.phonemes}{joint.after} {word.before}{word.phonemes}"
            joint = Spoken(text[start:end], phonemes, start, end, joint.before, word.after)
            continue
        if joint:
            yield joint
        joint = word
    if joint:
        yield joint
