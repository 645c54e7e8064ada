"""What stands beside a talker's weights in their file: shape, alphabet, voices, and the codec whose codes it learned."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .config import Preset
from .symbols import SYMBOLS
from .talker_config import TalkerConfig
from .weight_file import CheckpointError, Tensors, check_part, read_metadata, read_tensors


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice; its place in the list is its number."""

    name: str
    sex: str
    "female or male."
    language: str
    "As a tag of BCP 47: en-US, en-GB."
    licence: str
    "Under which its recordings may be used."


@dataclass(frozen=True, slots=True)
class TalkerAbout:
    """A talker but for its weights."""

    config: TalkerConfig
    voices: tuple[Voice, ...]
    model_hash: str
    "Of the codec, see ``weight_file.model_hash``."

    def __post_init__(self) -> None:
        names = [voice.name for voice in self.voices]
        if len(names) != self.config.voices:
            raise ValueError(f"{len(names)} voices are described, the talker has {self.config.voices}")
        if len(set(names)) != len(names) or not all(names):
            raise ValueError(f"voices without a name of their own: {', '.join(names)}")
        if not self.model_hash:
            raise ValueError("no hash of the codec")

    def voice(self, name: str) -> int:
        """The number of the voice ``name``.

        Raises:
            ValueError: there is none; the message names those there are.
        """
        names = [voice.name for voice in self.voices]
        if name not in names:
            raise ValueError(f"no voice {name!r}; there are {', '.join(names)}")
        return names.index(name)

    def to_metadata(self) -> dict[str, str]:
        return {
            "part": "talker",
            "preset": self.config.to_json(),
            "symbols": json.dumps(SYMBOLS[: self.config.symbols], ensure_ascii=False),
            "voices": json.dumps([asdict(voice) for voice in self.voices], ensure_ascii=False),
            "model_hash": self.model_hash,
        }

    @staticmethod
    def from_metadata(metadata: Mapping[str, str]) -> "TalkerAbout":
        """Rebuild what ``to_metadata`` wrote.

        Raises:
            ValueError: something is missing, is not what it should be, or it was trained on another alphabet.
        """
        config = TalkerConfig.from_json(metadata.get("preset", ""))
        if _list(metadata, "symbols") != list(SYMBOLS[: config.symbols]) or config.symbols > len(SYMBOLS):
            raise ValueError("trained on another alphabet than models/symbols.py has")
        voices = tuple(_voice(one) for one in _list(metadata, "voices"))
        return TalkerAbout(config, voices, metadata.get("model_hash", ""))


def _list(metadata: Mapping[str, str], key: str) -> list[object]:
    try:
        found = json.loads(metadata.get(key, ""))
    except ValueError as error:
        raise ValueError(f"no list of {key}") from error
    if not isinstance(found, list):
        raise ValueError(f"no list of {key}")
    return found


def _voice(found: object) -> Voice:
    names = {field.name for field in fields(Voice)}
    if not isinstance(found, dict) or found.keys() != names or not all(isinstance(x, str) for x in found.values()):
        raise ValueError(f"not a voice: {found!s:.60}")
    return Voice(**found)


def read_about(path: Path) -> TalkerAbout:
    """What a weight file says of its talker.

    Raises:
        CheckpointError: it is not readable, or holds no talker that this program knows.
    """
    metadata = read_metadata(path)
    check_part(path, metadata, "talker")
    try:
        return TalkerAbout.from_metadata(metadata)
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error


def read_talker(path: Path, codec: Preset, model_hash: str) -> tuple[TalkerAbout, Tensors]:
    """A talker and its tensors as float32, checked to speak the codec of that preset and hash.

    Raises:
        CheckpointError: as ``read_about`` and ``weight_file.read_tensors``; or it speaks the codes of another codec.
    """
    about = read_about(path)
    config = about.config
    if not config.speaks(codec):
        spoken, known = (
            f"{one.books} x {one.book_size} codes, {one.mels_per_frame} mel frames each" for one in (config, codec)
        )
        raise CheckpointError(path, f"a talker of {spoken}; the codec {codec.name!r} has {known}")
    if about.model_hash != model_hash:
        raise CheckpointError(
            path, f"a talker for the codec {about.model_hash}; the codec {codec.name!r} here is {model_hash}"
        )
    tensors = read_tensors(path)
    if (
        sum(value.size for value in tensors.values()) < config.squares
    ):  # else a damaged file could ask for all memory there is
        raise CheckpointError(path, f"holds too few numbers for {config.layers} layers of width {config.width}")
    return about, tensors
