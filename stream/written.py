"""Text as it was written, made even, with every character's place in the original.

Accents join their letters, look-alikes become one (quotes, dashes, full-width letters, the digits of other scripts), what
nobody reads becomes white space (controls, emoji, private and unassigned characters) or nothing (joiners, soft hyphens).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

LOOK_ALIKE = {
    **dict.fromkeys("’‘‛‚ʼʹ′´", "'"), **dict.fromkeys("“”„‟«»″〝〞「」『』", '"'), **dict.fromkeys("‐‑‒⁃", "-"),
    "―": "—", "－": "-", "⁄": "/", "∕": "/", "ﾟ": "°", "º": "°", "˚": "°", "∗": "*", "．": ".", "。": ".", "、": ",",
    "·": " ", "\u200b": " ", "⟨": "(", "⟩": ")", "【": "(", "】": ")", "（": "(", "）": ")",
}  # fmt: skip
AS_IT_IS = frozenset("…–—−²³¹⁰⁴⁵⁶⁷⁸⁹⁻½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞°©×÷±→←⇒€£¥₹₩₽₺₴₦₫฿₪¢§")
SILENT = ("So", "Sk", "Co", "Cn", "Cs", "Cc", "Zs", "Zl", "Zp")  # categories, apart from ASCII


@dataclass(frozen=True, slots=True)
class Written:
    """Characters, and for each the stretch [start, end) of the original that it stands for."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def even(original: str) -> Written:
    """``original`` made even; any text whatever."""
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    while at < len(original):
        end = at + 1
        while end < len(original) and unicodedata.category(original[end]) in ("Mn", "Mc", "Me"):
            end += 1
        for char in _even_cluster(original[at:end]):
            chars.append(char)
            starts.append(at)
            ends.append(end)
        at = end
    return Written("".join(chars), tuple(starts), tuple(ends))


def _even_cluster(cluster: str) -> str:
    """One character and the marks upon it."""
    base = cluster[0]
    if base == "\n" or (base.isascii() and base.isprintable() and len(cluster) == 1):
        return base
    if base in LOOK_ALIKE:
        return LOOK_ALIKE[base]
    if base in AS_IT_IS:
        return base
    kind = unicodedata.category(base)
    if kind == "Cf":
        return ""
    if kind in SILENT and not (base.isascii() and base.isprintable()):
        return " "
    if kind == "Nd":
        return str(unicodedata.digit(base))
    whole = unicodedata.normalize("NFKC", cluster)
    return "".join(char for char in whole if not unicodedata.category(char).startswith(("M", "C", "Z")))
