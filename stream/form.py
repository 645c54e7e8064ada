"""A written form that is not read as it is spelled: how to find it, and the words that are said for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .numerals import Accent

SPELL = "\ue000"
"Before letters that are read one by one; a private character, which no text brings along (see ``written``)."

Read = Callable[[re.Match[str], Accent], str | None]


@dataclass(frozen=True, slots=True)
class Form:
    """A pattern over evened text, and its reading: words, or None where the form only looks like one."""

    pattern: re.Pattern[str]
    read: Read


def form(pattern: str, read: Read | str) -> Form:
    """A form; a ``str`` reading is the same wherever the pattern is found."""
    if isinstance(read, str):
        words = read
        return Form(re.compile(pattern, re.MULTILINE), lambda _match, _accent: words)
    return Form(re.compile(pattern, re.MULTILINE), read)


def any_of(words: Iterable[str]) -> str:
    """A pattern for one of ``words``, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def after_any_of(words: Iterable[str], between: str = " ") -> str:
    """A pattern for the place behind one of ``words`` and ``between``."""
    return "(?:" + "|".join(f"(?<=\\b{re.escape(word + between)})" for word in words) + ")"


def spelled(letters: str) -> str:
    """A reading: the names of ``letters``."""
    return SPELL + "".join(char for char in letters if char.isalpha()).upper()
