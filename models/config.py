"""Every number of a model, once. A preset is a frozen dataclass; nothing else in the code knows a number from it.

``base`` is the product, ``micro`` the reference design, ``tiny`` a base small enough for tests to train in seconds.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

MEL_MEAN, MEL_SPREAD = -6.0, 3.0  # fixed affine map that brings the log-mel of speech near zero mean, unit variance
STFT_OVERLAP = 3  # hops under Vocos' synthesis window: from three on, squared Hann windows add up to a constant
LOUDEST = 5.0  # log magnitude at which Vocos holds a bin; a full-scale sine has 5.2
LEAKY_SLOPE = 0.1  # of HiFi-GAN's rectifiers


@dataclass(frozen=True, slots=True)
class MelConfig:
    """The log-mel front end (see ``mel.py``)."""

    rate_hz: int
    hop: int
    n_fft: int = 1024
    n_mels: int = 128
    floor: float = 1e-5
    "Smallest magnitude; its logarithm, -11.5, is what silence looks like."

    def __post_init__(self) -> None:
        if self.n_fft < self.hop or self.n_mels < 2 or not 0 < self.floor < math.inf:
            raise ValueError(f"mel of {self.n_mels} bands, window {self.n_fft}, hop {self.hop}, floor {self.floor}")


@dataclass(frozen=True, slots=True)
class TrunkConfig:
    """The convolutional encoder and decoder between mel and latent."""

    mels_per_frame: int
    latent: int
    encoder_width: int
    encoder_blocks: int
    decoder_width: int
    decoder_blocks: int
    refine_width: int
    refine_blocks: int
    "Blocks at mel rate after the decoder's upsampling."
    expansion: int = 3
    kernel: int = 5


@dataclass(frozen=True, slots=True)
class QuantiserConfig:
    """The residual vector quantiser (see ``rvq.py``)."""

    books: int
    book_size: int
    width: int
    code_width: int
    metric: Literal["cosine", "l2"]
    "cosine: a projection for every book, unit vectors. l2: one shared projection without bias, plain distances."


@dataclass(frozen=True, slots=True)
class HiFiGanConfig:
    """Causal HiFi-GAN (arXiv 2010.05646, generator with the second kind of residual block)."""

    channels: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]
    mrf_kernels: tuple[int, ...] = (3, 5, 7)
    mrf_dilations: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        if len(self.rates) != len(self.kernels) or any(k < r for r, k in zip(self.rates, self.kernels, strict=True)):
            raise ValueError(f"kernels {self.kernels} do not cover rates {self.rates}")
        if not self.mrf_kernels or not self.mrf_dilations or self.channels >> len(self.rates) < 1:
            raise ValueError(f"{self.channels} channels, kernels {self.mrf_kernels}, dilations {self.mrf_dilations}")


@dataclass(frozen=True, slots=True)
class VocosConfig:
    """Causal Vocos (arXiv 2306.00814): ConvNeXt blocks at mel rate, then an inverse STFT."""

    width: int
    blocks: int
    expansion: int = 3
    kernel: int = 7


VocoderConfig = HiFiGanConfig | VocosConfig


@dataclass(frozen=True, slots=True)
class Preset:
    """A codec and its vocoder, complete."""

    name: str
    mel: MelConfig
    trunk: TrunkConfig
    quantiser: QuantiserConfig
    vocoder: VocoderConfig

    def __post_init__(self) -> None:
        if isinstance(self.vocoder, HiFiGanConfig) and math.prod(self.vocoder.rates) != self.mel.hop:
            raise ValueError(f"{self.name}: vocoder rates {self.vocoder.rates} do not multiply to hop {self.mel.hop}")
        if self.quantiser.width != self.trunk.latent:
            raise ValueError(f"{self.name}: quantiser width {self.quantiser.width} is not latent {self.trunk.latent}")

    @property
    def rate_hz(self) -> int:
        return self.mel.rate_hz

    @property
    def n_mels(self) -> int:
        return self.mel.n_mels

    @property
    def mels_per_frame(self) -> int:
        return self.trunk.mels_per_frame

    @property
    def frame_samples(self) -> int:
        """Samples of one code frame."""
        return self.mel.hop * self.trunk.mels_per_frame

    @property
    def books(self) -> int:
        return self.quantiser.books

    @property
    def book_size(self) -> int:
        return self.quantiser.book_size

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "Preset":
        """Rebuild what ``to_json`` wrote.

        Raises:
            ValueError: a field is missing, unknown, or contradicts another.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            kind: type[VocoderConfig] = VocosConfig if "width" in fields["vocoder"] else HiFiGanConfig
            return Preset(
                name=fields["name"],
                mel=_read(MelConfig, fields, "mel"),
                trunk=_read(TrunkConfig, fields, "trunk"),
                quantiser=_read(QuantiserConfig, fields, "quantiser"),
                vocoder=_read(kind, fields, "vocoder"),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a preset: {error}") from error


Part = TypeVar("Part")


def _read(kind: type[Part], fields: dict[str, Any], part: str) -> Part:
    """One part of a preset. Raises ValueError: of a wrong type, or a number that no model of ours could have, as a damaged or
    foreign file may hold."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in fields[part].items()}
    wanted = {field.name: field.type for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if not _fits(value, wanted.get(key)):
            raise ValueError(f"not a preset: {part}.{key} is {value!s:.40}")
        least, most = _bounds(key)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int) and not least <= number <= most for number in numbers):
            raise ValueError(f"{part}.{key} is {value!s:.40}, not between {least} and {most}")
    return kind(**values)


def _fits(value: object, wanted: object) -> bool:
    if wanted is int:
        return type(value) is int
    if wanted is float:
        return type(value) in (int, float)
    if get_origin(wanted) is Literal:
        return value in get_args(wanted)
    return isinstance(value, tuple) and all(type(number) is int for number in value)


def _bounds(key: str) -> tuple[int, int]:
    most = (
        192_000 if key == "rate_hz" else 64 if key.endswith(("books", "blocks")) else 16 if key == "expansion" else 8192
    )
    return 0 if key.startswith("refine") else 1, most


# What a vocoder of either kind looks like for each preset; the preset names the one that ships.
VOCODERS: dict[str, dict[str, VocoderConfig]] = {
    "base": {
        "hifigan": HiFiGanConfig(channels=128, rates=(8, 5, 3, 2), kernels=(16, 10, 6, 4)),
        "vocos": VocosConfig(width=256, blocks=6),
    },
    "micro": {
        "hifigan": HiFiGanConfig(channels=128, rates=(8, 8, 2, 2), kernels=(16, 16, 4, 4)),
        "vocos": VocosConfig(width=256, blocks=6),
    },
    "tiny": {
        "hifigan": HiFiGanConfig(channels=16, rates=(8, 5, 3, 2), kernels=(16, 10, 6, 4), mrf_kernels=(3,)),
        "vocos": VocosConfig(width=32, blocks=1),
    },
}

BASE = Preset(
    name="base",
    mel=MelConfig(rate_hz=24_000, hop=240),
    trunk=TrunkConfig(
        mels_per_frame=4,
        latent=64,
        encoder_width=256,
        encoder_blocks=5,
        decoder_width=256,
        decoder_blocks=6,
        refine_width=160,
        refine_blocks=2,
    ),
    quantiser=QuantiserConfig(books=8, book_size=1024, width=64, code_width=64, metric="l2"),
    vocoder=VOCODERS["base"]["vocos"],
)

MICRO = Preset(
    name="micro",
    mel=MelConfig(rate_hz=16_000, hop=256),
    trunk=TrunkConfig(
        mels_per_frame=1,
        latent=128,
        encoder_width=128,
        encoder_blocks=4,
        decoder_width=192,
        decoder_blocks=5,
        refine_width=0,
        refine_blocks=0,
    ),
    quantiser=QuantiserConfig(books=2, book_size=128, width=128, code_width=64, metric="l2"),
    vocoder=VOCODERS["micro"]["vocos"],
)

TINY = Preset(
    name="tiny",
    mel=MelConfig(rate_hz=24_000, hop=240),
    trunk=TrunkConfig(
        mels_per_frame=4,
        latent=32,
        encoder_width=32,
        encoder_blocks=1,
        decoder_width=32,
        decoder_blocks=1,
        refine_width=32,
        refine_blocks=1,
    ),
    quantiser=QuantiserConfig(books=4, book_size=32, width=32, code_width=4, metric="cosine"),
    vocoder=VOCODERS["tiny"]["hifigan"],
)

PRESETS = {preset.name: preset for preset in (BASE, MICRO, TINY)}
