"""Clauses come as early as they are sure, wherever the text was cut into pieces, and nothing of it is lost."""

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sottovoce.stream.clauses import FIRST, LATER, LONGEST_WORD_CHARS, LOOKAHEAD_CHARS, Border, Clause, Clauses, Lengths

WORD, CLAUSE, SENTENCE, PARAGRAPH = Border


def whole(text: str) -> list[Clause]:
    splitter = Clauses()
    return splitter.push(text) + splitter.end()


def texts(text: str) -> list[str]:
    return [clause.text for clause in whole(text)]


BITS = [
    "Dr. ", "Mr.", "U.S. ", "e.g. ", "etc. ", "p.m. ", "J. ", "No. 5", "3.", "3.14", "1,000", "$5.00 ", "10:30",
    "Then ", "the ", "and ", "Hello", "word ", "well, ", "so; ", "that: ", "— ", " -- ", "...", "… ", "? ", "!",
    "?!\" ", "\"", "”", "(", ") ", "**", "`", " ", "  ", "\n", "\n\n", "\r\n", "- ", "1. ", "# ",
    "https://x.com/a?b=c ", "x@y.z", "你好", "。", "！」", "🙂", "e\u0301", "\u200d", "\0", "A", "I ", "unbelievably ",
    "a" * 30, "b" * 500,
]  # fmt: skip
documents = st.one_of(st.lists(st.sampled_from(BITS), max_size=40).map("".join), st.text(max_size=80))
LETTER = """Dear Ms. O'Brien,

On 3 Jan. 2024 at 5 p.m. Dr. Smith of St. Mary's (U.S.) paid $3.50 for vol. 2, i.e. "The End..." She said: "No! Why?" and left.
Here is a list:

1. Wash hands
2. See https://example.com/a.b?c=d. It helps, etc. The rest
   follows - or not - in due time.

```python
print("x")
```
So it goes"""


@settings(max_examples=400)
@given(documents, st.data())
@example(LETTER, None)
def test_where_the_text_was_cut_does_not_matter(text: str, data: st.DataObject | None) -> None:
    expected = whole(text)
    cuts = data.draw(st.sets(st.integers(0, len(text)))) if data else set(range(len(text)))
    splitter = Clauses()
    clauses: list[Clause] = []
    start = 0
    for cut in [*sorted(cuts), len(text)]:
        clauses += splitter.push(text[start:cut])
        start = cut
    assert clauses + splitter.end() == expected


@given(st.lists(st.one_of(documents, st.none()), max_size=8))
def test_nothing_is_lost_and_every_clause_knows_its_place(pieces: list[str | None]) -> None:
    splitter = Clauses()
    clauses: list[Clause] = []
    for piece in pieces:
        clauses += splitter.flush() if piece is None else splitter.push(piece)
        if piece is None:
            assert splitter.held == ""
    clauses += splitter.end()
    text = "".join(piece for piece in pieces if piece)
    assert "".join(clause.text for clause in clauses) == text
    end = 0
    for clause in clauses:
        assert clause.start_char == end < clause.end_char
        assert text[clause.start_char : clause.end_char] == clause.text
        assert len(clause.text) <= LONGEST_WORD_CHARS
        end = clause.end_char


@given(documents)
def test_what_is_held_is_bounded(text: str) -> None:
    splitter = Clauses()
    for char in text * 5:
        splitter.push(char)
        assert len(splitter.held) <= LONGEST_WORD_CHARS + LOOKAHEAD_CHARS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you?", ["Hello there. ", "How are you?"]),
        ("Dr. Smith met Mrs. Jones vs. Gen. Lee. Then", ["Dr. Smith met Mrs. Jones vs. Gen. Lee. ", "Then"]),
        ("He paid $3.50. She paid 3.", ["He paid $3.50. ", "She paid 3."]),
        ("the U.S. Army. In the U.S. The end", ["the U.S. Army. ", "In the U.S. ", "The end"]),
        ("at 5 p.m. Monday, at 6 p.m. We left", ["at 5 p.m. Monday, ", "at 6 p.m. ", "We left"]),
        ("e.g. this, i.e. that etc. and so on", ["e.g. this, ", "i.e. that etc. and so on"]),
        ("Acme Inc. announced it. Acme Inc. The end", ["Acme Inc. announced it. ", "Acme Inc. ", "The end"]),
        ("No. 5 lives. I said no. Yes", ["No. 5 lives. ", "I said no. ", "Yes"]),
        ("J. K. Rowling wrote. So do I. Then", ["J. K. Rowling wrote. ", "So do I. ", "Then"]),
        ("Wait... what? Well… Yes", ["Wait... what? ", "Well… ", "Yes"]),
        ("\"What?\" she said. 'No!' He left.", ['"What?" she said. ', "'No!' ", "He left."]),
        ("(It rained.) We left.", ["(It rained.) ", "We left."]),
        ("It is **so.** Yes", ["It is **so.** ", "Yes"]),
        ("See https://x.com/a.b?c=d. It is v2.0.1. Mail a.b@c.de.", ["See https://x.com/a.b?c=d. ", "It is v2.0.1. ",
                                                                    "Mail a.b@c.de."]),
        ("1. Wash hands\n2. Dry them\n- one\n* two", ["1. Wash hands\n", "2. Dry them\n", "- one\n", "* two"]),
        ("# Title\n\nText\nMore text", ["# Title\n\n", "Text\n", "More text"]),
        ("Oh. The first line of a wrapped text that goes on until\nAnna said no\nYes",
         ["Oh. ", "The first line of a wrapped text that goes on until\nAnna said no\n", "Yes"]),
        ("a line that\ngoes on", ["a line that\ngoes on"]),
        ("你好。今天！「真的？」好", ["你好。", "今天！」"[:3], "「真的？」", "好"]),
        ("end.Next one", ["end.Next one"]),
    ],
)  # fmt: skip
def test_where_clauses_end(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_a_comma_ends_a_clause_that_is_long_enough() -> None:
    text = "Well, of course, it is a long way, a very long way from here to the old harbour, and back."
    assert texts(text) == [
        "Well, of course, ",
        "it is a long way, a very long way from here to the old harbour, ",
        "and back.",
    ]


def test_borders_tell_how_long_the_pause_is() -> None:
    text = "Of course I will, said he. Then:\n\nHe left\r\n\r\nfor good"
    assert [(clause.text, clause.border) for clause in whole(text)] == [
        ("Of course I will, ", CLAUSE),
        ("said he. ", SENTENCE),
        ("Then:\n\n", PARAGRAPH),
        ("He left\r\n\r\n", PARAGRAPH),
        ("for good", SENTENCE),
    ]
    assert whole("What a day.\n\nYes")[0].border == PARAGRAPH
    assert whole("he came,")[0].border == CLAUSE
    assert WORD < CLAUSE < SENTENCE < PARAGRAPH


def test_a_long_run_without_a_mark_is_cut_between_words() -> None:
    text = "the quick brown fox jumps over the lazy dog and then it runs " * 8
    clauses = whole(text)
    assert clauses[0].text == "the quick brown fox jumps over the lazy dog "
    assert clauses[0].border == WORD
    assert len(clauses[0].text) <= FIRST.most
    for clause in clauses[1:-1]:
        assert LATER.least < len(clause.text) <= LATER.most
    assert all(clause.text.endswith(" ") for clause in clauses)


def test_a_long_run_is_not_cut_inside_of_a_number_or_a_name() -> None:
    lengths = Lengths(least=4, most=24)
    text = "they all walked 5 km with Dr. Smith of World War II fame in St. Paul on Jan. 5 at 10 p.m. sharp"
    splitter = Clauses(lengths, lengths)
    cuts = [clause.text for clause in splitter.push(text) + splitter.end()]
    assert "".join(cuts) == text
    assert cuts[0] == "they all walked 5 km "
    for kept in ("5 km", "Dr. Smith", "St. Paul"):
        assert any(kept in cut for cut in cuts), cuts


def test_a_run_without_any_white_space_is_cut_at_last_and_not_inside_of_a_character() -> None:
    clauses = texts("x" * 1000)
    assert [len(clause) for clause in clauses] == [400, 400, 200]
    accents = texts("e\u0301" * 500)
    assert all(clause[0] == "e" for clause in accents)


def test_a_clause_comes_as_soon_as_it_is_sure() -> None:
    splitter = Clauses()
    given: list[list[str]] = [[clause.text for clause in splitter.push(piece)] for piece in [
        "Sure", "!", " ", "It", " works", ".", " ", "Dr", ".", " Smith", " came", " at", " 5", ".", "3", "0", " p.m", ".",
        " ", "The", " end", "?", "\n", "\n",
    ]]  # fmt: skip
    assert [(number, clauses) for number, clauses in enumerate(given) if clauses] == [
        (2, ["Sure! "]),  # the white space shows that the mark is whole
        (6, ["It works. "]),  # no abbreviation: nothing more is needed
        (20, ["Dr. Smith came at 5.30 p.m. "]),  # it needed all of "The"
        (23, ["The end?\n\n"]),  # a second line break ends a paragraph
    ]
    assert splitter.end() == []


def test_a_flush_gives_what_there_is() -> None:
    splitter = Clauses()
    assert splitter.push("It is Dr.") == []
    assert splitter.held == "It is Dr."
    assert splitter.flush() == [Clause("It is Dr.", 0, SENTENCE)]
    assert splitter.flush() == []
    assert splitter.push(" Smith. ") == []
    assert splitter.end() == [Clause(" Smith. ", 9, SENTENCE)]


def test_an_ended_text_takes_no_more() -> None:
    splitter = Clauses()
    assert splitter.end() == []
    for late in (splitter.end, splitter.flush, lambda: splitter.push("x")):
        with pytest.raises(ValueError, match="has ended"):
            late()


def test_to_cut_clauses_no_dictionary_is_loaded() -> None:
    code = "import sys, sottovoce.stream, sottovoce.stream.clauses; sys.exit(bool({'hibari', 'anyascii'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
