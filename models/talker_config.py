"""Every number of a talker, once. The numbers of time and codes are those of the codec that it speaks.

``base`` speaks the codec ``base``. ``reference`` is the reference design: two plain heads over the 2 x 128 codes of
``micro``, and a first frame of zeros (that it reads its text is ours). ``tiny`` learns an utterance in seconds.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from .config import BASE, MICRO, TINY, Preset
from .symbols import SYMBOLS

ROTARY_BASE = 1000.0  # slowest angle: once around in some 6000 steps, far more than any window
FEED_FORWARD = 2  # width of a feed-forward layer over that of its block
DEPTH_EXPANSION = 3
LONGEST_SYMBOL = 200  # slots that a symbol is given at most
PROGRESS = 2  # numbers that tell a frame how far its symbol has got (see ``alignment.py``)


@dataclass(frozen=True, slots=True)
class TalkerConfig:
    """Shape of a talker (see ``talker.py``)."""

    name: str
    codec: str
    "Name of the codec preset that it speaks."
    books: int
    book_size: int
    mels_per_frame: int
    "Slots of a code frame: a slot is a mel frame, the unit of durations."
    start_code: int
    "What every book of the frame before the first one holds; ``book_size`` is a code of its own."
    symbols: int
    voices: int
    window: int
    "Past code frames that a frame can see."
    width: int
    layers: int
    heads: int
    encoder_width: int
    encoder_layers: int
    encoder_heads: int
    code_width: int
    "Width in which codes are embedded, of every book by itself."
    depth_width: int
    depth_blocks: int
    "0: every book has a plain head on the frame's hidden state and knows nothing of the others."

    def __post_init__(self) -> None:
        for part, width, heads in (
            ("talker", self.width, self.heads),
            ("encoder", self.encoder_width, self.encoder_heads),
        ):
            if width % (2 * heads):
                raise ValueError(f"{part}: {heads} heads of an even width do not make {width}")
        if self.start_code > self.book_size:
            raise ValueError(f"start code {self.start_code} is neither one of {self.book_size} codes nor the next")
        if (self.depth_blocks == 0) != (self.depth_width == 0):
            raise ValueError(f"a depth model of {self.depth_blocks} blocks and width {self.depth_width}")

    @property
    def condition_width(self) -> int:
        """Numbers that a slot brings to its frame: the encoding of its symbol and how far that has got."""
        return self.encoder_width + PROGRESS

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Of the logits of a frame, and of the noise that chooses among them: books, codes of a book."""
        return self.books, self.book_size

    @property
    def squares(self) -> int:
        """Weights in square matrices, one a layer: less than a tenth of all there are."""
        encoder = self.encoder_layers * self.encoder_width**2
        return self.layers * self.width**2 + encoder + self.depth_blocks * self.depth_width**2

    def speaks(self, codec: Preset) -> bool:
        """Whether its codes have the shape and the frame rate of ``codec``."""
        return (self.books, self.book_size, self.mels_per_frame) == (
            codec.books,
            codec.book_size,
            codec.mels_per_frame,
        )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "TalkerConfig":
        """Rebuild what ``to_json`` wrote.

        Raises:
            ValueError: a field is missing, unknown, contradicts another, is of a wrong type or a number that no talker of
                ours could have, as a damaged or foreign file may hold.
        """
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError(f"not a talker: {text:.40}")
        for field in dataclasses.fields(TalkerConfig):
            if field.name in fields:
                _check(field.name, field.type, fields[field.name])
        try:
            return TalkerConfig(**fields)
        except TypeError as error:
            raise ValueError(f"not a talker: {error}") from error


def _check(name: str, kind: Any, value: object) -> None:
    if type(value) is not kind:
        raise ValueError(f"not a talker: {name} is {value!s:.40}")
    least = 0 if name.startswith(("depth", "start")) else 1
    most = 64 if name.endswith(("books", "layers", "blocks", "heads", "mels_per_frame")) else 8192
    if isinstance(value, int) and not least <= value <= most:
        raise ValueError(f"{name} is {value!s:.40}, not between {least} and {most}")


TALKER_BASE = TalkerConfig(
    name="base",
    codec=BASE.name,
    books=BASE.books,
    book_size=BASE.book_size,
    mels_per_frame=BASE.mels_per_frame,
    start_code=BASE.book_size,
    symbols=len(SYMBOLS),
    voices=2,
    window=96,
    width=320,
    layers=6,
    heads=5,
    encoder_width=192,
    encoder_layers=4,
    encoder_heads=3,
    code_width=64,
    depth_width=192,
    depth_blocks=2,
)

TALKER_REFERENCE = TalkerConfig(
    name="reference",
    codec=MICRO.name,
    books=MICRO.books,
    book_size=MICRO.book_size,
    mels_per_frame=MICRO.mels_per_frame,
    start_code=0,
    symbols=len(SYMBOLS),
    voices=2,
    window=128,
    width=192,
    layers=4,
    heads=3,
    encoder_width=128,
    encoder_layers=3,
    encoder_heads=2,
    code_width=64,
    depth_width=0,
    depth_blocks=0,
)

TALKER_TINY = TalkerConfig(
    name="tiny",
    codec=TINY.name,
    books=TINY.books,
    book_size=TINY.book_size,
    mels_per_frame=TINY.mels_per_frame,
    start_code=TINY.book_size,
    symbols=len(SYMBOLS),
    voices=2,
    window=8,
    width=48,
    layers=2,
    heads=2,
    encoder_width=32,
    encoder_layers=2,
    encoder_heads=2,
    code_width=16,
    depth_width=32,
    depth_blocks=2,
)

TALKERS = {config.name: config for config in (TALKER_BASE, TALKER_REFERENCE, TALKER_TINY)}
