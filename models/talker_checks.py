"""What can be wrong between a talker, its codec and its vocoder, told apart by name. Numpy alone: every backend alike.

Some is read off what the weights say of themselves. The rest is heard: the talker is given an utterance that it did not
learn from, whose symbols, slots and codes are known (a weight file carries one), and predicts every code from the true ones
before it. A talker that ignores its text, or was trained on codes that lie beside it in time, predicts as well with another
text, or better with a shifted one.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alignment import IS_SOUND
from .config import Preset
from .symbols import SYMBOLS
from .talker_config import TalkerConfig

Integers = NDArray[np.int64]
Logits = NDArray[np.float32]
LAGS = (-2, -1, 0, 1, 2)  # frames
LEAST_NATS = 0.02  # by which the right text must be better than a wrong one
LEAST_CHANGED = 0.02  # share of the likeliest first codes that another text must change
SIGMAS = 3.0  # above chance
KNOWN = "known"
"""Key of the known utterance in the metadata of a weight file."""


@dataclass(frozen=True, slots=True)
class Known:
    """An utterance that the talker did not learn from."""

    symbols: Integers
    "[P]"
    slots: Integers
    "[P]"
    codes: Integers
    "[T, Q]"
    voice: int

    def to_text(self) -> str:
        """For metadata: under 3 kB for ten seconds of eight books."""
        parts = {"symbols": self.symbols, "slots": self.slots, "codes": self.codes}
        packed = {name: base64.b64encode(part.astype("<u2").tobytes()).decode() for name, part in parts.items()}
        return json.dumps({**packed, "books": self.codes.shape[1], "voice": self.voice})

    @staticmethod
    def from_text(text: str) -> "Known":
        """Raises ValueError: damaged."""
        try:
            found = json.loads(text)
            parts = {
                name: np.frombuffer(base64.b64decode(found[name]), "<u2").astype(np.int64)
                for name in ("symbols", "slots", "codes")
            }
            return Known(
                parts["symbols"], parts["slots"], parts["codes"].reshape(-1, found["books"]), int(found["voice"])
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not a known utterance: {error}") from error


Predict = Callable[[Known], Logits]
"""Logits [T, Q, V] of the codes, each given the true codes before it, the symbols and their slots."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    detail: str


def fits(talker: TalkerConfig, codec: Preset, vocoder: Preset) -> list[Finding]:
    """Whether frame rates, books and mel are the same ones all along."""
    ms = 1000 * codec.mel.hop / codec.rate_hz
    ours = (talker.books, talker.book_size, talker.mels_per_frame)
    theirs = (codec.books, codec.book_size, codec.mels_per_frame)
    same = codec.mel == vocoder.mel
    return [
        Finding(
            "frame rate",
            talker.mels_per_frame == codec.mels_per_frame and same,
            f"a frame is {talker.mels_per_frame * ms:g} ms for the talker, {codec.mels_per_frame * ms:g} ms for the codec; "
            f"vocoder and codec {'share one mel' if same else f'have different mels: {vocoder.mel}, {codec.mel}'}",
        ),
        Finding(
            "books", ours[:2] == theirs[:2], f"talker {ours[0]} x {ours[1]} codes, codec {theirs[0]} x {theirs[1]}"
        ),
    ]


def belongs(metadata: Mapping[str, str], codec_hash: str) -> list[Finding]:
    """Whether the talker learned the codes of this very codec, and reads this alphabet."""
    learned = metadata.get("model_hash", "none")
    try:
        symbols = json.loads(metadata.get("symbols", "[]"))
    except ValueError:
        symbols = []
    wrong = next((i for i, symbol in enumerate(symbols) if i >= len(SYMBOLS) or symbol != SYMBOLS[i]), None)
    alphabet = f"{len(symbols)} symbols" if wrong is None else f"symbol {wrong} is {symbols[wrong]!r} there"
    return [
        Finding("codec", learned == codec_hash, f"the talker learned {learned}, the codec is {codec_hash}"),
        Finding("alphabet", bool(symbols) and wrong is None, alphabet),
    ]


def cross_entropy(logits: Logits, codes: Integers) -> NDArray[np.float64]:
    """Nats [T, Q] of codes [T, Q] under logits [T, Q, V]."""
    wide = logits.astype(np.float64)
    top = wide.max(-1, keepdims=True)
    total = np.log(np.exp(wide - top).sum(-1)) + top[..., 0]
    found: NDArray[np.float64] = total - np.take_along_axis(wide, codes[..., None], -1)[..., 0]
    return found


def shuffled(known: Known, seed: int = 0) -> Known:
    """Other sounds in the same rhythm."""
    symbols = known.symbols.copy()
    where = np.flatnonzero(IS_SOUND[symbols])
    symbols[where] = symbols[np.random.default_rng(seed).permutation(where)]
    return Known(symbols, known.slots, known.codes, known.voice)


def later(known: Known, frames: int, mels_per_frame: int) -> Known:
    """The text by so many frames later than the codes; earlier where negative. It stays as long."""
    slots = known.slots.copy()
    move = abs(frames) * mels_per_frame
    if frames > 0:
        slots[0] += move
        slots = _without(slots[::-1], move)[::-1].copy()
    elif frames < 0:
        slots = _without(slots, move)
        slots[-1] += move
    return Known(known.symbols, slots, known.codes, known.voice)


def _without(slots: Integers, n: int) -> Integers:
    """The first ``n`` slots taken away."""
    ends = np.maximum(np.cumsum(slots) - n, 0)
    return np.diff(ends, prepend=0)


def listens(predict: Predict, known: Sequence[Known], mels_per_frame: int) -> list[Finding]:
    """Whether the talker follows its text, at the right time, and knows something of every book."""
    logits = [predict(one) for one in known]
    nats = np.concatenate([cross_entropy(*pair) for pair in zip(logits, (one.codes for one in known), strict=True)])
    right = np.concatenate([one.argmax(-1) == two.codes for one, two in zip(logits, known, strict=True)])
    return [
        _above_chance(nats, right, logits[0].shape[-1]),
        _hears_its_text(predict, known, logits, float(nats[:, 0].mean())),
        _code_lag(logits, known),
        _text_lag(predict, known, mels_per_frame),
    ]


def _above_chance(nats: NDArray[np.float64], right: NDArray[np.bool_], book_size: int) -> Finding:
    chance, n = 1 / book_size, len(right)
    least = chance + SIGMAS * np.sqrt(chance * (1 - chance) / n)
    share, mean = right.mean(0), nats.mean(0)
    bad = [str(book) for book in range(len(share)) if share[book] <= least or mean[book] >= np.log(book_size)]
    told = " ".join(f"{100 * value:.1f}" for value in share)
    return Finding(
        "every book", not bad, f"right {told} % by book" + f"; no better than chance: {' '.join(bad)}" * bool(bad)
    )


def _hears_its_text(predict: Predict, known: Sequence[Known], logits: Sequence[Logits], nats: float) -> Finding:
    changed, other = [], []
    for one, before in zip(known, logits, strict=True):
        after = predict(shuffled(one))
        changed.append(after[:, 0].argmax(-1) != before[:, 0].argmax(-1))
        other.append(cross_entropy(after[:, :1], one.codes[:, :1]))
    share, worse = float(np.concatenate(changed).mean()), float(np.concatenate(other).mean()) - nats
    detail = f"shuffled sounds change {100 * share:.0f} % of the first codes and cost {worse:+.2f} nats"
    return Finding("listens to its text", share >= LEAST_CHANGED and worse >= LEAST_NATS, detail)


def _code_lag(logits: Sequence[Logits], known: Sequence[Known]) -> Finding:
    shares = {}
    for lag in LAGS:
        hits = []
        for one, two in zip(logits, known, strict=True):
            guessed, codes = one[:, 0].argmax(-1), two.codes[:, 0]
            n = len(codes) - abs(lag)
            hits.append(guessed[max(0, -lag) :][:n] == codes[max(0, lag) :][:n])
        shares[lag] = float(np.concatenate(hits).mean())
    told = ", ".join(f"{lag:+d}: {100 * share:.1f} %" for lag, share in shares.items())
    best = max(shares, key=lambda lag: shares[lag])
    return Finding("codes in time", best == 0, f"what is predicted is right at lag {told}")


def _text_lag(predict: Predict, known: Sequence[Known], mels_per_frame: int) -> Finding:
    nats = {}
    for lag in LAGS:
        parts = [cross_entropy(predict(later(one, lag, mels_per_frame))[:, :1], one.codes[:, :1]) for one in known]
        nats[lag] = float(np.concatenate(parts).mean())
    told = ", ".join(f"{lag:+d}: {value:.2f}" for lag, value in nats.items())
    best = min(nats, key=lambda lag: nats[lag])
    return Finding("text in time", best == 0, f"nats of the first book with the text moved by frames {told}")
