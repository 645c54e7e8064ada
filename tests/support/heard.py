"""What was heard beside what was sent: where one is not simply the next of the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW = 64
"""Samples that must agree before it counts as the same sound again."""
_MOST_LEFT_OUT = 1024


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the sound does not simply go on."""

    heard: int
    "Samples that were heard in between: silence, or a fade."
    left_out: int
    "Samples that were sent and not heard as they were."


def walk(heard: NDArray[np.int16], sent: NDArray[np.int16]) -> list[Break]:
    """Every break, in order. The first is what comes before the sound; at the last one the sound ends early, if it does.

    ``sent`` must be like itself nowhere for as long as `WINDOW`.
    """
    raw = heard.tobytes()
    breaks = []
    i = j = 0
    while j < len(sent):
        n = min(len(heard) - i, len(sent) - j)
        different = np.flatnonzero(heard[i : i + n] != sent[j : j + n])
        n = int(different[0]) if len(different) else n
        i, j = i + n, j + n
        if j == len(sent):
            break
        for k in range(j, min(j + _MOST_LEFT_OUT, len(sent) - WINDOW)):
            at = _find(raw, sent[k : k + WINDOW].tobytes(), i)
            if at >= 0:
                breaks.append(Break(at - i, k - j))
                i, j = at, k
                break
        else:
            return [*breaks, Break(len(heard) - i, len(sent) - j)]
    return breaks


def _find(raw: bytes, window: bytes, begin: int) -> int:
    """The first place of ``window`` from sample ``begin`` on; -1: there is none."""
    at = raw.find(window, 2 * begin)
    while at >= 0 and at % 2:
        at = raw.find(window, at + 1)
    return at // 2 if at >= 0 else -1
