"""Numbers as words, on top of the number words of hibari-tts. Digits in, words without commas and hyphens out."""

from __future__ import annotations

import re
from typing import Literal

from hibari.g2p import numbers

Accent = Literal["us", "gb"]

LONGEST_CARDINAL = 15  # digits; longer ones are read digit by digit
ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def digits(text: str) -> str:
    """Digit by digit: "007" is zero zero seven. What is no digit is left out."""
    return " ".join(numbers.ONES[int(char)] for char in text if char.isdecimal())


def cardinal(text: str, accent: Accent) -> str:
    """A whole number, with or without commas."""
    text = text.replace(",", "")
    if len(text) > LONGEST_CARDINAL or (len(text) > 1 and text[0] == "0"):
        return digits(text)
    return _plain(numbers.cardinal(int(text)), accent)


def ordinal(text: str, accent: Accent) -> str:
    text = text.replace(",", "").lstrip("0") or "0"
    if len(text) > LONGEST_CARDINAL:
        return digits(text)
    return _plain(numbers.ordinal(int(text)), accent)


def year(text: str, accent: Accent) -> str:
    """A number of four digits as a year: "1905" is nineteen oh five."""
    return _plain(numbers.year(int(text)), accent)


def decimal(text: str, accent: Accent) -> str:
    """A whole number or a decimal fraction, all of whose digits are read: "3.50" is three point five zero."""
    whole, point, fraction = text.partition(".")
    words = cardinal(whole, accent) if whole else ""
    return f"{words} point {digits(fraction)}".strip() if point else words


def number(text: str, accent: Accent) -> str:
    """A number of unknown meaning: four digits from 1010 to 2099 are a year."""
    if re.fullmatch(r"10[1-9]\d|1[1-9]\d\d|20\d\d", text):
        return year(text, accent)
    return decimal(text, accent)


def fraction(upper: str, lower: str, accent: Accent) -> str:
    """ "3", "4" is three quarters."""
    names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
    part = ordinal(lower, accent)
    one, many = names.get(int(lower), (part, plural(part)))
    return f"{cardinal(upper, accent)} {one if int(upper) == 1 else many}"


def plural(words: str) -> str:
    """The last word in the plural: nineteen nineties, sixes."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def roman(text: str) -> int:
    """The value of a Roman numeral in capitals."""
    values = [ROMAN[char] for char in text]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))


def _plain(words: str, accent: Accent) -> str:
    """Without commas and hyphens; Americans leave out the "and" before the tens."""
    words = words.replace(",", "").replace("-", " ")
    return words.replace(" and ", " ") if accent == "us" else words
