"""Time of symbols in whole slots, and which slots a code frame speaks. Numpy alone: training and every backend share it.

A slot is a mel frame, ``mels_per_frame`` of them a code frame: frame t speaks slots t * mels_per_frame and on, and is
conditioned on exactly the symbols of these, neither earlier nor later ones.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .symbols import CONSONANTS, SYMBOLS, VOWELS

Integers = NDArray[np.int64]
IS_SOUND = np.array([symbol in CONSONANTS + VOWELS for symbol in SYMBOLS])  # the rest may take no time: marks, spaces


def round_slots(
    durations: NDArray[np.floating[Any]], symbols: Integers, mels_per_frame: int, speed: float = 1.0
) -> Integers:
    """Whole slots [P] of symbols that should last ``durations`` [P] slots, at ``speed`` times the pace.

    Every end is rounded, not every duration, so that errors never add up. A vowel or consonant has one slot at least; what
    it takes beyond its due, the next ones give back. The last symbol goes on to the end of its code frame.

    Raises:
        ValueError: a duration is negative or not finite, there is no symbol, or ``speed`` is not a positive number.
    """
    if not (0 < speed < np.inf):
        raise ValueError(f"speed {speed} is not a positive number")
    if durations.shape != symbols.shape or durations.ndim != 1 or not len(durations):
        raise ValueError(f"durations {durations.shape} of symbols {symbols.shape}")
    if not (np.isfinite(durations).all() and (durations >= 0).all()):
        raise ValueError("a duration is negative or not finite")
    due = np.rint(np.cumsum(durations.astype(np.float64)) / speed).astype(np.int64)
    ends, end = np.empty_like(due), 0
    for i, least in enumerate(IS_SOUND[symbols]):
        end = max(int(due[i]), end + int(least))
        ends[i] = end
    ends[-1] = -(-max(end, 1) // mels_per_frame) * mels_per_frame
    return np.diff(ends, prepend=0)


def align(slots: Integers, n_frames: int, mels_per_frame: int) -> tuple[Integers, NDArray[np.float32]]:
    """What each frame speaks, slot by slot.

    Args:
        slots: [..., P] of each symbol; symbols that fill up a row have none.
        n_frames: how many frames to tell of; after a row's end, its last symbol goes on.

    Returns:
        Index into the row's symbols int64 [..., n_frames, mels_per_frame]; and its progress float32 [..., n_frames,
        mels_per_frame, 2]: the logarithms of one plus the slots that the symbol has spoken and has yet to speak.

    Raises:
        ValueError: slots are negative, or a row has none at all.
    """
    if slots.size and slots.min() < 0:
        raise ValueError(f"{slots.min()} slots")
    ends = np.cumsum(slots, -1)  # [..., P]
    if not slots.shape[-1] or not (ends[..., -1] > 0).all():
        raise ValueError("symbols without any slot")
    slot = np.arange(n_frames * mels_per_frame)
    total = ends[..., -1:]
    inside = np.minimum(slot, total - 1)  # [..., K]
    symbol = (ends[..., None, :] <= inside[..., :, None]).sum(-1)
    end = np.take_along_axis(ends, symbol, -1)
    start = end - np.take_along_axis(slots, symbol, -1)
    progress = np.log1p(np.stack([slot - start, np.maximum(end - 1 - slot, 0)], -1).astype(np.float32))
    shape = (*slots.shape[:-1], n_frames, mels_per_frame)
    return symbol.reshape(shape), progress.reshape(*shape, 2)


def conditions(encodings: NDArray[np.float32], slots: Integers, mels_per_frame: int) -> NDArray[np.float32]:
    """What the frames of one clause are told: float32 [T, mels_per_frame, D + 2], from encodings [P, D] and slots [P].

    Raises:
        ValueError: as ``align``; or encodings and slots are not of the same symbols.
    """
    if len(encodings) != len(slots):
        raise ValueError(f"{len(encodings)} encodings, {len(slots)} durations")
    n_frames = -(-int(slots.sum()) // mels_per_frame)
    symbol, progress = align(slots, n_frames, mels_per_frame)
    return np.concatenate([encodings[symbol], progress], -1)
