"""A server that speaks, with a talker of a few thousand weights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sottovoce.stream.server import ServerOptions
from sottovoce.stream.speakers import Speakers

from .serving import serving
from .tiny_talk import Speller, engine

READERS: Any = {"en-US": Speller(), "en-GB": Speller()}


@asynccontextmanager
async def speaking(
    rows: int = 2, options: ServerOptions | None = None, most_chars: int = 100_000
) -> AsyncIterator[str]:
    """Its address without a scheme."""
    talker = engine(rows)
    speakers = Speakers(talker.voices, READERS, most_chars)
    async with serving(options=replace(options or ServerOptions(), speakers=speakers), engine=talker) as place:
        yield place
