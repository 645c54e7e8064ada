"""What a receiver must know of a model before the first code packet: one frozen record.

It opens every ``.sv`` file and, on a wire, is what the sender announces first. It holds numbers only, so that
clients can speak of frames, bits and delays without loading a model.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

_MOST = 1 << 31
_WORDS = {"preset": r"[a-z0-9-]{1,32}", "model_hash": r"[0-9a-f]{12}"}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The shape of one codec's streams."""

    preset: str
    "Name of the preset, such as ``base``: small letters, digits and hyphens, at most 32."
    model_hash: str
    "Twelve hex characters over the codec's weights: codes of another hash do not decode."
    rate_hz: int
    frame_samples: int
    "Samples in one code frame."
    mels_per_frame: int
    n_mels: int
    books: int
    "Codebooks that the encoder fills; a sender may send fewer."
    book_size: int
    delay_samples: int
    "Shift of the output stream against the input stream, framing not included."

    def __post_init__(self) -> None:
        """Raises ValueError: a field has the wrong type or lies outside of what the packets can carry.

        The message repeats no text, and no number beyond 2**31: a descriptor may come from a stranger.
        """
        for name, form in _WORDS.items():
            word: object = getattr(self, name)
            if not isinstance(word, str) or not re.fullmatch(form, word):
                raise ValueError(f"{name} must be text of the form {form}")
        for name in (field.name for field in fields(self) if field.name not in _WORDS):
            number: object = getattr(self, name)
            if type(number) is not int or abs(number) > _MOST:
                raise ValueError(f"{name} must be a whole number of at most 2**31")
        for name in ("rate_hz", "frame_samples", "mels_per_frame", "n_mels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 1 <= self.books <= 15:
            raise ValueError(f"books must be 1 to 15, not {self.books}")
        if not 2 <= self.book_size <= 1 << 15:  # codes travel as int16, with -1 for absent
            raise ValueError(f"book_size must be 2 to 32768, not {self.book_size}")
        if self.delay_samples < 0:
            raise ValueError(f"delay_samples must not be negative, not {self.delay_samples}")

    @property
    def frame_ms(self) -> float:
        """Length of one code frame in milliseconds."""
        return 1000 * self.frame_samples / self.rate_hz

    @property
    def frame_rate_hz(self) -> float:
        """Code frames in a second."""
        return self.rate_hz / self.frame_samples

    @property
    def bits_per_code(self) -> int:
        """Bits that one code of one book takes in a packet."""
        return (self.book_size - 1).bit_length()

    @property
    def delay_ms(self) -> float:
        """Algorithmic delay in milliseconds: filling one frame, plus the shift of the output."""
        return 1000 * (self.frame_samples + self.delay_samples) / self.rate_hz

    def bitrate(self, books: int | None = None) -> float:
        """Bit/s of the codes alone (no headers) when ``books`` (default: all) are sent."""
        return (self.books if books is None else books) * self.bits_per_code * self.frame_rate_hz

    def to_json(self) -> str:
        """The descriptor as one line of JSON, keys sorted: equal descriptors give equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Descriptor:
        """The descriptor in ``text``; unknown keys are ignored so that later versions may add some.

        Raises:
            ValueError: not JSON, not an object, a key is missing, or a value is impossible.
        """
        try:
            known: Any = json.loads(text)
        except (RecursionError, ValueError) as error:
            raise ValueError(f"the descriptor is not JSON that can be read: {error}") from error
        if not isinstance(known, dict):
            raise ValueError("the descriptor is not a JSON object")
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in known]:
            raise ValueError(f"the descriptor lacks {', '.join(missing)}")
        return cls(**{name: known[name] for name in names})
