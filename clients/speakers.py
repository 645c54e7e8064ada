"""What a server needs to speak: a talker in its engine where there are weights of one, and readers for its voices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sottovoce.stream.engine import Engine
from sottovoce.stream.errors import UsageError, WeightsError

from .engines import ECHO, EngineOptions
from .pipes import tell

if TYPE_CHECKING:
    from sottovoce.stream.speakers import Speakers


def add_speakers(codec: Engine, options: EngineOptions, lexicon: Path | None = None) -> tuple[Engine, Speakers | None]:
    """``codec`` and whoever speaks through it; None, and ``codec`` as it was, where there is no talker for it.

    Says so where a talker is there, but what it needs is not installed.

    Raises:
        WeightsError: there is a talker, but it does not fit.
        UsageError: the lexicon cannot be used, or there is nobody to use it.
    """
    engine, speakers = codec, None
    if options.preset != ECHO:
        engine, speakers = _add(codec, options, lexicon)
    if speakers is None and lexicon is not None:
        raise UsageError("--lexicon is for a server that speaks, and this one has no talker")
    return engine, speakers


def _add(codec: Engine, options: EngineOptions, lexicon: Path | None) -> tuple[Engine, Speakers | None]:
    try:
        import onnxruntime  # noqa: F401  # words need it, whatever runs the models

        from sottovoce.stream.talk_engine import add_talker, talker_path
    except ModuleNotFoundError as error:
        tell(
            f"note: this server cannot speak: {error.name} must be installed for that: pip install 'sottovoce[engine]'"
        )
        return codec, None
    except ImportError as error:
        raise WeightsError(f"what runs the models is installed but does not load: {error}") from error
    from sottovoce.stream.reader import Reader
    from sottovoce.stream.speakers import Speakers

    try:
        talker_path(options.preset, options.weights)
    except WeightsError:
        return codec, None
    try:
        import hibari  # noqa: F401
    except ModuleNotFoundError:
        tell("note: this server cannot speak: pip install 'sottovoce[talk]' for that")
        return codec, None
    engine = add_talker(codec, options.weights)
    languages = sorted({voice.language for voice in engine.voices})
    readers = {language: Reader(lexicon, "gb" if language == "en-GB" else "us") for language in languages}
    return engine, Speakers(engine.voices, readers)
