"""What went badly wrong with a spoken sentence, told from the words that were recognised: cut, skipped, repeated, babbled.

A recogniser mishears a word here and there; several in a row that are missing or too many are another matter.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher

CUT_WORDS = 2  # missing at the end
SKIPPED_WORDS = 3  # missing in a row elsewhere
EXTRA_WORDS = 3  # too many in a row
REPEATED_WORDS = 2  # in a row that have just been said
ALL_SHARE = 0.5  # of a text of few words, what is missing or too much counts whatever its number


def flags(wanted: Sequence[str], heard: Sequence[str]) -> list[str]:
    """What is wrong, each once, sorted; nothing where all is well. Words are normalised already."""
    if not wanted:
        return ["babbled"] if heard else []
    if not heard:
        return ["cut"]
    found = set()
    for what, a, b, c, d in SequenceMatcher(None, wanted, heard, autojunk=False).get_opcodes():
        missing, extra = (b - a) - (d - c), (d - c) - (b - a)
        if what == "equal":
            continue
        if missing > 0 and b == len(wanted) and _many(missing, CUT_WORDS, len(wanted)):
            found.add("cut")
        elif missing > 0 and _many(missing, SKIPPED_WORDS, len(wanted)):
            found.add("skipped")
        if extra > 0 and _repeats(wanted, heard, c, d):
            found.add("repeated")
        elif extra > 0 and _many(extra, EXTRA_WORDS, len(wanted)):
            found.add("babbled")
    return sorted(found)


def _many(n: int, least: int, of: int) -> bool:
    return n >= least or n >= ALL_SHARE * of


def _repeats(wanted: Sequence[str], heard: Sequence[str], c: int, d: int) -> bool:
    """Whether the words ``heard[c:d]``, too many, end or begin with some that stand right before or behind them."""
    for n in range(d - c, REPEATED_WORDS - 1, -1):
        for run in (tuple(heard[c : c + n]), tuple(heard[d - n : d])):
            around = tuple(heard[max(0, c - n) : c]), tuple(heard[d : d + n])
            if run in around and _count(heard, run) > _count(wanted, run):
                return True
    return False


def _count(words: Sequence[str], run: Sequence[str]) -> int:
    n = len(run)
    return sum(tuple(words[i : i + n]) == tuple(run) for i in range(len(words) - n + 1))
