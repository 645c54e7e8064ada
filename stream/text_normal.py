"""From text as it is written to words that a reader of words can say, each with its place in the text.

A table of forms (``word_forms``, ``number_forms``) tells what is not read as it is spelled; whatever no form covers stays as it
is. Which word a form stands for is never guessed from sound: that is the work of the phonemizer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .abbreviations import NEVER_LAST, OPENERS
from .form import SPELL, Form
from .number_forms import NUMBER_FORMS
from .numerals import Accent
from .word_forms import MARKUP_FORMS, WORD_FORMS
from .written import even

FORMS: tuple[Form, ...] = (*MARKUP_FORMS, *NUMBER_FORMS, *WORD_FORMS)
NEXT_WORD = re.compile(r"\s+[\"'(]*(\w+)")
CHUNK = re.compile(r"\S+")
OPENING = "\"'(-—.,;:!?…"
CLOSING = "\"')-—.,;:!?…"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A word to be said, and the punctuation about it."""

    before: str
    word: str
    "Empty: punctuation that stands alone, all of it in ``after``."
    after: str
    start: int
    end: int
    "What the word stands for is ``text[start:end]``; the words of one form share their place."


def normalise(text: str, accent: Accent) -> list[Chunk]:
    """The words of ``text`` in order. Any text whatever; nothing is raised."""
    written = even(text)
    out, origin = _read(written.text, accent)
    chunks = []
    for found in CHUNK.finditer(out):
        whole = found.group()
        after_opening = whole.lstrip(OPENING)
        word = after_opening.rstrip(CLOSING)
        if not word:
            chunks.append(Chunk("", "", whole, 0, 0))
            continue
        first = len(whole) - len(after_opening)
        places = origin[found.start() + first : found.start() + first + len(word)]
        start = min(written.starts[place[0]] for place in places)
        end = max(written.ends[place[1] - 1] for place in places)
        chunks.append(Chunk(whole[:first], word, whole[first + len(word) :], start, end))
    return chunks


Place = tuple[int, int]


def _read(text: str, accent: Accent) -> tuple[str, list[Place]]:
    """Put the forms' readings into ``text``: what is said, and where in ``text`` each of its characters comes from."""
    out: list[str] = []
    origin: list[Place] = []
    tail = len(text.rstrip("\"')*_`] \n\t"))

    def say(words: str, place: Place | None, at: int) -> None:
        for offset, char in enumerate(words):
            out.append(char)
            origin.append(place or (at + offset, at + offset + 1))

    at = 0
    for start, end, reading in _found(text, accent):
        say(text[at:start], None, at)
        at = end
        if not reading:
            continue
        if out and out[-1].isalnum() and (reading[0].isalnum() or reading[0] == SPELL):
            say(" ", (start, end), start)
        say(reading, (start, end), start)
        if text[end - 1] == "." and reading[-1].isalnum() and (end == tail or _sentence_follows(text, start, end)):
            say(".", (start, end), start)  # the stop of the abbreviation ends the sentence too
        elif end < len(text) and text[end].isalnum() and reading[-1].isalnum():
            say(" ", (start, end), start)
    say(text[at:], None, at)
    return "".join(out), origin


def _sentence_follows(text: str, start: int, end: int) -> bool:
    follower = NEXT_WORD.match(text, end)
    return follower is not None and follower[1] in OPENERS and text[start : end - 1] not in NEVER_LAST


def _found(text: str, accent: Accent) -> list[tuple[int, int, str]]:
    """The forms in ``text`` with their readings, the first one first, none overlapping."""
    found = []
    upcoming = {number: match for number, form in enumerate(FORMS) if (match := form.pattern.search(text))}
    at = 0
    while upcoming:
        number = min(upcoming, key=lambda number: (upcoming[number].start(), number))
        match = upcoming[number]
        resume = match.start() + 1
        if match.start() >= at and match.end() > match.start():
            reading = FORMS[number].read(match, accent)
            if reading is not None:
                found.append((match.start(), match.end(), reading))
                at = resume = match.end()
        again = FORMS[number].pattern.search(text, max(at, resume))
        if again:
            upcoming[number] = again
        else:
            del upcoming[number]
    return found
