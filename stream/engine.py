"""The models behind one small protocol, and an engine without models for tests and demonstrations.

An engine has a fixed number of rows. A row is one listener's set of streaming states, one for each kind of
work; what a row answers never depends on its neighbours, nor on how its input was cut in time. Engines are
not thread-safe: one thread owns them (`loop.EngineLoop`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .descriptor import Descriptor
from .errors import NoSlot
from .frames import MEL_FLOOR, Codes, Mel, Pcm

Kind = Literal["mel", "encode", "decode", "vocode", "read", "talk"]
"""What an engine can do:

========  ==========================================  ==========================================
kind      in                                          out
========  ==========================================  ==========================================
mel       pcm float32 [n * frame_samples]             mel float32 [n * mels_per_frame, n_mels]
encode    mel                                         codes int16 [n, books], every book
decode    codes int16 [n, books], -1 = absent book    mel
vocode    mel                                         pcm, in [-1, 1]
========  ==========================================  ==========================================

with any n >= 1. Only the last books of a frame may be absent; all of them means that nothing is known. The last two kinds are
those of a `talk_engine.TalkEngine` alone; what they take and give is in ``talk_work.py``.
"""
KINDS: tuple[Kind, ...] = ("mel", "encode", "decode", "vocode")
"""Of every engine."""
_MANY = 8192
"""Numbers; fewer are summed up faster than they are looked at."""
TALK_KINDS: tuple[Kind, ...] = ("read", "talk")


@dataclass(slots=True)
class Work:
    """One row's next piece of one kind. Nobody changes it; frozen it would take three times as long to make, and every frame of
    every stream makes four."""

    row: int
    kind: Kind
    data: Any
    "An array, or for ``TALK_KINDS`` what ``talk_work.py`` has."
    due_s: float
    "When the answer is needed, on the clock of the loop; the least comes first."
    fresh: bool = False
    "Forget this row's state of this kind first: the piece begins another stream."


class Engine(Protocol):
    """What `loop.EngineLoop` drives."""

    @property
    def descriptor(self) -> Descriptor:
        """The codec inside."""
        ...

    @property
    def rows(self) -> int:
        """How many streams it carries at once."""
        ...

    def open(self) -> int:
        """Take a free row, with every state at its beginning. Raises NoSlot when there is none."""
        ...

    def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
        """Do the pieces, at most one for each (row, kind); the answers come in the same order."""
        ...

    def close(self, row: int) -> None:
        """Give a row back."""
        ...


def n_frames(descriptor: Descriptor, kind: Kind, data: NDArray[Any]) -> int:
    """How many code frames ``data`` holds.

    Raises:
        ValueError: the shape, type or content is not what ``kind`` takes.
    """
    dtype: np.dtype[Any]
    width: int | None
    if kind == "mel":
        dtype, length, width = np.dtype(np.float32), descriptor.frame_samples, None
    elif kind == "decode":
        dtype, length, width = np.dtype(np.int16), 1, descriptor.books
    elif kind in KINDS:
        dtype, length, width = np.dtype(np.float32), descriptor.mels_per_frame, descriptor.n_mels
    else:
        raise ValueError(f"unknown kind of work {kind!r}")
    if data.dtype != dtype or data.shape[1:] != (() if width is None else (width,)):
        wanted = "[n]" if width is None else f"[n, {width}]"
        raise ValueError(f"{kind} takes {dtype} {wanted}, not {data.dtype} {list(data.shape)}")
    n, rest = divmod(len(data), length)
    if n < 1 or rest:
        raise ValueError(f"{kind} takes whole frames of {length}, not {len(data)}")
    if kind == "decode":
        least, most = np.minimum.reduce(data, axis=None), np.maximum.reduce(data, axis=None)
        if least < -1 or most >= descriptor.book_size:
            raise ValueError(f"codes must lie in -1 ... {descriptor.book_size - 1}")
        if least < 0 and ((data[:, :-1] < 0) & (data[:, 1:] >= 0)).any():
            raise ValueError("a book is absent before one that is present")
    elif not _finite(data):
        raise ValueError(f"{kind} was given numbers that are not finite")
    return n


def _finite(data: NDArray[Any]) -> bool:
    if data.size > _MANY:
        return bool(np.isfinite(data).all())
    return math.isfinite(np.add.reduce(data, axis=None, dtype=np.float64))  # no sum of float32 is beyond float64


class Rows:
    """Which rows are taken: the bookkeeping that every engine shares."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"an engine needs at least one row, not {count}")
        self.count = count
        self._free = list(reversed(range(count)))
        self._taken: set[int] = set()

    def take(self) -> int:
        """A free row, the lowest given back last first. Raises NoSlot."""
        if not self._free:
            raise NoSlot(self.count)
        row = self._free.pop()
        self._taken.add(row)
        return row

    def give_back(self, row: int) -> None:
        """Raises ValueError: the row is not taken."""
        self.check(row)
        self._taken.remove(row)
        self._free.append(row)

    def check(self, row: int) -> None:
        """Raises ValueError: the row is not taken."""
        if row not in self._taken:
            raise ValueError(f"row {row} is not open")


_LEVELS = 16
_LEVEL_DB = 6.0

ECHO = Descriptor(
    preset="echo",
    model_hash="000000000000",
    rate_hz=16_000,
    frame_samples=512,
    mels_per_frame=4,
    n_mels=64,
    books=8,
    book_size=64 * _LEVELS,
    delay_samples=200,
)


class EchoEngine:
    """A codec without a model: every book says the next loudest band of the frame and its level.

    Sound comes through as its strongest partials on a grid of ``rate_hz / 128``, levels within 3 dB, delayed
    by ``delay_samples``. Everything is exact arithmetic on single frames, so cuts in time change no sample.
    """

    def __init__(self, rows: int = 1) -> None:
        self._descriptor = ECHO
        self._rows = Rows(rows)
        self._late = np.zeros((rows, ECHO.delay_samples), np.float32)  # the vocoder's only state

    @property
    def descriptor(self) -> Descriptor:
        """Always `ECHO`."""
        return self._descriptor

    @property
    def rows(self) -> int:
        """How many streams it carries at once."""
        return self._rows.count

    def open(self) -> int:
        """Take a free row. Raises NoSlot."""
        row = self._rows.take()
        self._late[row] = 0
        return row

    def close(self, row: int) -> None:
        """Give ``row`` back. Raises ValueError where it is not open."""
        self._rows.give_back(row)

    def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
        """Do the pieces. Raises ValueError for a closed row or data that does not fit its kind."""
        groups: dict[Kind, list[int]] = {}
        for i, piece in enumerate(work):
            self._rows.check(piece.row)
            groups.setdefault(piece.kind, []).append(i)
        answers: dict[int, NDArray[Any]] = {}
        for kind, members in groups.items():  # frames know nothing of each other: those of all rows go as one
            joined = np.concatenate([work[i].data for i in members])
            n = n_frames(self._descriptor, kind, joined)
            unit, end = len(joined) // n, 0
            answer = _DO[kind](joined)
            for i in members:
                data = work[i].data
                if data.dtype != joined.dtype or len(data) < unit or len(data) % unit:
                    n_frames(self._descriptor, kind, data)  # says what is wrong with it
                begin, end = end, end + len(data) // unit * len(answer) // n
                part = answer[begin:end]
                answers[i] = self._delayed(work[i], part) if kind == "vocode" else part
        return [answers[i] for i in range(len(work))]

    def _delayed(self, piece: Work, pcm: Pcm) -> Pcm:
        if piece.fresh:
            self._late[piece.row] = 0
        joined = np.concatenate([self._late[piece.row], pcm])
        self._late[piece.row] = joined[len(pcm) :]
        return joined[: len(pcm)]


def _hop() -> int:
    return ECHO.frame_samples // ECHO.mels_per_frame


def _to_mel(pcm: Pcm) -> Mel:
    """Amplitudes of a Fourier series over each hop; bands 1 ... n_mels, no windows, no overlap."""
    hops = pcm.reshape(-1, _hop())
    amplitude = np.abs(np.fft.rfft(hops)[:, 1 : ECHO.n_mels + 1]) * (2 / _hop())
    return np.log(np.maximum(amplitude, 1e-5)).astype(np.float32)


def _to_codes(mel: Mel) -> Codes:
    frames = mel.reshape(-1, ECHO.mels_per_frame, ECHO.n_mels).mean(axis=1)  # [n, n_mels]
    loudest = np.argsort(-frames, axis=1, kind="stable")[:, : ECHO.books]
    db = (frames[np.arange(len(frames))[:, None], loudest] - MEL_FLOOR) * (20 / np.log(10))
    level = np.clip(np.rint((db - 100 % _LEVEL_DB) / _LEVEL_DB), 0, _LEVELS - 1)
    codes: Codes = (loudest * _LEVELS + level).astype(np.int16)
    return codes


def _from_codes(codes: Codes) -> Mel:
    frames = np.full((len(codes), ECHO.n_mels), MEL_FLOOR, np.float32)
    bands, levels = np.divmod(codes, _LEVELS)
    frame, book = np.nonzero((codes >= 0) & (levels > 0))  # level 0 is the floor; no band comes twice in a frame
    db = levels[frame, book] * _LEVEL_DB + 100 % _LEVEL_DB
    frames[frame, bands[frame, book]] = MEL_FLOOR + db * (np.log(10) / 20)
    return np.repeat(frames, ECHO.mels_per_frame, axis=0)


def _to_pcm(mel: Mel) -> Pcm:
    """Sines with whole periods in a hop, so that hops join without a jump."""
    amplitude = np.where(mel > MEL_FLOOR + 1e-3, np.exp(mel.astype(np.float64)), 0)
    spectrum = np.zeros((len(mel), _hop() // 2 + 1), complex)
    spectrum[:, 1 : ECHO.n_mels + 1] = amplitude * (-0.5j * _hop())
    spectrum[:, -1] = 0  # a sine at half the rate is zero at every sample
    pcm = np.fft.irfft(spectrum, n=_hop())
    return np.clip(pcm, -1, 1).reshape(-1).astype(np.float32)


_DO: dict[Kind, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "mel": _to_mel,
    "encode": _to_codes,
    "decode": _from_codes,
    "vocode": _to_pcm,
}
