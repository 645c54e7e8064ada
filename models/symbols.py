"""The alphabet that the talker reads: one id a symbol, fixed for good, as weights are trained on the numbers.

Phonemes are those of misaki and Kokoro (Apache-2.0), American and British: one character a symbol, diphthongs and
affricates included (``A`` as in day, ``I`` my, ``O`` American go, ``Q`` British go, ``W`` now, ``Y`` boy, ``ʤ`` jam, ``ʧ``
chin), ``T`` the American flap of water, ``ᵊ`` the faint vowel of middle, ``ᵻ`` that of boxes. Marks of stress and length
stand before and after the sound that they change and have an id of their own, as have the space between words and the
punctuation that shapes the melody.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

PAUSE = "<s>"  # id 0: silence at both ends of a clause, and what fills short rows of a batch
PUNCTUATION = ';:,.!?—…"()“”'
MARKS = "ˈˌː"
CONSONANTS = "bdfhjklmnpstvwzðŋɡɹʃʒʤʧθT"
VOWELS = "AIOQWYaiuyæɑɒɐɔəɛɜɪʊʌᵊᵻ"

SYMBOLS: tuple[str, ...] = (PAUSE, " ", *PUNCTUATION, *MARKS, *CONSONANTS, *VOWELS)
"Index is id. Never reorder, never remove; new symbols go to the end."

_IDS = {symbol: number for number, symbol in enumerate(SYMBOLS)}


class UnknownSymbol(ValueError):
    """A symbol that is not in the table."""

    def __init__(self, symbol: str) -> None:
        points = " ".join(f"U+{ord(char):04X}" for char in symbol)  # look-alikes are many
        super().__init__(f"{symbol!r} ({points}) is not a phoneme of the talker's alphabet")
        self.symbol = symbol


def ids(phonemes: Iterable[str]) -> NDArray[np.int64]:
    """Ids [P] of a string of phonemes, or of a list of symbols, in which alone ``<s>`` can stand.

    Raises:
        UnknownSymbol: (a ValueError) a symbol is not in the table.
    """
    try:
        return np.array([_IDS[symbol] for symbol in phonemes], np.int64)
    except KeyError as unknown:
        raise UnknownSymbol(unknown.args[0]) from None
