"""Cuts a text that is still being written into clauses that can be spoken. Sans I/O.

A clause is given out as soon as nothing that may follow can change where it ends. Where the pieces of the text were cut
does not matter: the same text gives the same clauses, however it arrives. Nothing of the text is lost or changed: the
clauses joined are the text, and a clause can hold nothing that is spoken (white space, a line of stars).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum

from .abbreviations import BEFORE_A_NUMBER, NEVER_LAST, OPENERS, PERHAPS_LAST

LOOKAHEAD_CHARS = 32  # what lies further ahead never matters
LONGEST_WORD_CHARS = 400  # a run without any white space is cut here


class Border(IntEnum):
    """What a clause ends with; the higher, the longer the pause."""

    WORD = 0
    "It only became too long, or was flushed."
    CLAUSE = 1
    "Comma, colon, semicolon or dash."
    SENTENCE = 2
    PARAGRAPH = 3


@dataclass(frozen=True, slots=True)
class Clause:
    """A stretch of the text, white space behind it included."""

    text: str
    start_char: int
    "Where it stands in the whole text."
    border: Border

    @property
    def end_char(self) -> int:
        return self.start_char + len(self.text)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long a clause may be, in characters."""

    least: int
    "A clause shorter than this does not end at a comma; the end of a sentence always ends one."
    most: int
    "A clause that has become longer is cut between two words."


FIRST = Lengths(least=10, most=60)  # so that the first sound comes soon
LATER = Lengths(least=40, most=180)  # so that the melody has a whole to work on


class Clauses:
    """Takes the pieces of one text; gives its clauses.

    Pieces may be cut anywhere, inside words and numbers too.
    """

    def __init__(self, first: Lengths = FIRST, later: Lengths = LATER) -> None:
        self._lengths = first
        self._later = later
        self._held = ""
        self._start = 0
        self._column = 0
        self._ended = False

    @property
    def held(self) -> str:
        """Text that was pushed and not yet given out."""
        return self._held

    def push(self, piece: str) -> list[Clause]:
        """The clauses that are sure after ``piece``, in order; often none.

        Raises:
            ValueError: the text has ended.
        """
        self._refuse_if_ended()
        self._held += piece
        return self._sure(final=False)

    def flush(self) -> list[Clause]:
        """Everything that is held, as if the text ended here; more may follow.

        For a writer that has fallen silent. A word or number that was being written is cut in two.

        Raises:
            ValueError: the text has ended.
        """
        self._refuse_if_ended()
        return self._sure(final=True)

    def end(self) -> list[Clause]:
        """What is left of the text.

        Raises:
            ValueError: the text has ended already.
        """
        clauses = self.flush()
        self._ended = True
        return clauses

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise ValueError("this text has ended; a new text needs a new splitter")

    def _sure(self, final: bool) -> list[Clause]:
        clauses = []
        while self._held and (cut := first_cut(self._held, self._lengths, final, self._column)):
            end, border = cut
            clauses.append(Clause(self._held[:end], self._start, border))
            line = self._held.rfind("\n", 0, end)
            self._column = self._column + end if line < 0 else end - line - 1
            self._start += end
            self._held = self._held[end:]
            self._lengths = self._later
        return clauses


Cut = tuple[int, Border]
WAIT: Cut = (0, Border.WORD)  # not known yet

# A mark, what closes after it, and white space. Wide marks need no white space. What repeats is taken whole, from its
# start and nowhere else: a long run of dots must not be looked at from each of them.
CLOSERS = r"[\"'”’»)\]}*_`]*+"
MARK = re.compile(
    rf"(?P<stop>(?:(?<!\.)\.++|…)[!?]*+|(?<![!?])[!?]++[!?.]*+)(?P<closers>{CLOSERS})(?=\s)"
    rf"|(?P<pause>[,;:]{CLOSERS}|[ \t](?:[—–]++|--++)|(?<!—)—++|(?<!-)--++)(?=\s)"
    r"|(?P<wide>(?<![。！？｡؟।])[。！？｡؟।]++[」』”’）]*+)(?=[\s\S])"
    r"|(?P<line>\n)"
)
SPACES = re.compile(r"\s*")
WORD = re.compile(r"[\w'’-]*")
LAST_WORD = re.compile(r"(?<![\w.’'&-])[\w.’'&-]++$")
INITIALS = re.compile(
    r"\W*(?:(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}|[^\W\d_])$"
)  # the D of Ph.D., the S of U.S., the J of J. Smith
LIST_NUMBER = re.compile(r"\s*+\d{1,3}")
LIST_OPENER = re.compile(r"[-*+•>#|\d`~\"'“‘(\[]")
WRAPPED_CHARS = 50  # a line as long as this was broken for its length
CONNECTIVES = {
    "about", "after", "although", "and", "as", "at", "because", "before", "but", "by", "during", "for", "from", "how",
    "if", "in", "into", "like", "nor", "of", "on", "or", "since", "so", "than", "that", "through", "to", "unless",
    "until", "when", "where", "whether", "which", "while", "who", "whose", "why", "with", "without", "yet",
}  # fmt: skip


def first_cut(text: str, lengths: Lengths, final: bool, column: int = 0) -> Cut | None:
    """Where the first clause of ``text`` ends; None: that is not sure yet.

    The answer depends on ``text`` up to the cut and ``LOOKAHEAD_CHARS`` beyond, however much more is known.

    Args:
        final: nothing follows ``text``.
        column: characters of its line that stand before ``text``.
    """
    for mark in MARK.finditer(text, 0, lengths.most + 1):
        ahead = text[mark.end() : mark.end() + LOOKAHEAD_CHARS]
        known = final or len(ahead) == LOOKAHEAD_CHARS
        cut = _judge(text, mark, ahead, known, lengths.least, column)
        if cut is not None:
            return None if cut == WAIT else cut
    if len(text) > lengths.most:
        return _between_words(text, lengths, final)
    return (len(text), _border_of_rest(text)) if final else None


def _judge(text: str, mark: re.Match[str], ahead: str, known: bool, least: int, column: int) -> Cut | None:
    """Whether a clause ends at ``mark``: the cut, None for no, or WAIT. ``ahead`` is what follows it, ``known`` enough."""
    before, end = text[: mark.start()], mark.end()
    spaces = SPACES.match(ahead).group()  # type: ignore[union-attr]  # it matches nothing too
    following = ahead[len(spaces) :]
    if mark["wide"]:
        return end, Border.SENTENCE
    if mark["stop"]:
        ends = _ends_sentence(before, mark["stop"], mark["closers"], following, known)
        if ends is None:
            return WAIT
        return _after_sentence(end, spaces, bool(following) or known) if ends else None
    if not before.strip():
        return None  # nothing to cut off
    if mark["pause"]:
        return (end + 1, Border.CLAUSE) if len(text[:end].strip()) >= least else None
    if "\n" in spaces:
        return end + spaces.index("\n") + 1, Border.PARAGRAPH
    if not following:
        return None if known else WAIT
    line_chars = len(before) - (before.rfind("\n") + 1) if "\n" in before else column + len(before)
    ends = bool(LIST_OPENER.match(following)) or (line_chars < WRAPPED_CHARS and not following[0].islower())
    return (end, Border.SENTENCE) if ends else None


def _after_sentence(end: int, spaces: str, known: bool) -> Cut:
    """The cut takes one white space along, or line breaks up to the second."""
    if spaces == "\r" and not known:
        return WAIT
    if spaces[0] != "\n" and spaces[:2] != "\r\n":
        return end + 1, Border.SENTENCE
    first = spaces.index("\n")
    second = spaces.find("\n", first + 1)
    if second > 0:
        return end + second + 1, Border.PARAGRAPH
    return (end + first + 1, Border.SENTENCE) if known else WAIT


def _ends_sentence(before: str, stop: str, closers: str, following: str, known: bool) -> bool | None:
    """Whether a sentence ends with ``stop`` and ``closers``; None: more of what follows is needed to tell."""
    if not closers and ("!" in stop or "?" in stop):
        return True
    found = LAST_WORD.search(before[-LOOKAHEAD_CHARS:])
    word = found.group() if found else ""
    number = word in BEFORE_A_NUMBER
    perhaps = word in PERHAPS_LAST or (not word.isdigit() and INITIALS.match(word) is not None)
    if stop == ".":
        if word in NEVER_LAST or LIST_NUMBER.fullmatch(before, before.rfind("\n") + 1):
            return False
        if word.isalpha() and word.islower() and len(word) > 3 and not (closers or number or perhaps):
            return True
    opening = following.lstrip("\"'“‘«([*_`")
    if not opening:
        return True if known else None
    if opening[0].islower() or (stop == "." and number and opening[0].isdigit()):
        return False
    if stop != "." or not perhaps or not opening[0].isalnum():
        return True
    follower = WORD.match(opening).group()  # type: ignore[union-attr]  # it matches nothing too
    if not known and follower == opening:
        return None
    return re.split("['’-]", follower)[0] in OPENERS


def _between_words(text: str, lengths: Lengths, final: bool) -> Cut | None:
    """Cut a clause that has become too long: before a word like "and", else between two plain words, else anywhere."""
    spaces = [i for i in range(1, lengths.most) if text[i].isspace() and not text[i + 1].isspace() and text[:i].strip()]
    safe = [i + 1 for i in spaces if i >= lengths.least and _plain_around(text, i)]
    joints = [
        i for i in safe if (word := WORD.match(text, i)) and word.end() < lengths.most and word.group() in CONNECTIVES
    ]
    for borders in (joints, safe, [i + 1 for i in spaces]):
        if borders:
            return borders[-1], Border.WORD
    space = re.compile(r"\S\s").search(text, 0, LONGEST_WORD_CHARS)
    if space:
        return space.end(), Border.WORD
    if len(text) <= LONGEST_WORD_CHARS:
        return (len(text), _border_of_rest(text)) if final else None
    end = LONGEST_WORD_CHARS
    while end > LONGEST_WORD_CHARS // 2 and _clings(text[end]):
        end -= 1
    return end, Border.WORD


def _plain_around(text: str, space: int) -> bool:
    """Whether words of small letters alone stand on both sides, which no number, name or unit reaches across."""
    before = LAST_WORD.search(text[max(space - LOOKAHEAD_CHARS, 0) : space])
    return bool(before and before.group().isalpha() and before.group().islower() and text[space + 1].islower())


def _clings(char: str) -> bool:
    """Whether ``char`` belongs to the one before it: an accent, a variant, a joiner, a skin tone."""
    return unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf", "Sk")


def _border_of_rest(text: str) -> Border:
    """What the end of a text is taken for."""
    last = text.rstrip().rstrip("\"'”’»)]}*_`")[-1:]
    return Border.CLAUSE if last and last in ",;:—–" else Border.SENTENCE
