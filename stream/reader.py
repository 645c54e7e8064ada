"""The phonemizer in a thread of its own, as it takes milliseconds a sentence and is shared by all sessions."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from .numerals import Accent
    from .phonemizer import Spoken


class Reader:
    """Reads text aloud, on paper.

    Attributes:
        waiting: how many texts are being read.
    """

    def __init__(self, lexicon: Path | None = None, accent: Accent = "us") -> None:
        """Loads the dictionaries, which takes about a second: not on the event loop.

        Args:
            lexicon: pronunciations that come first.

        Raises:
            UsageError: the libraries that it needs are not installed, or the lexicon cannot be used.
        """
        try:
            from .phonemizer import Phonemizer
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            raise UsageError(f"{package} must be installed to speak: pip install 'sottovoce[talk]'") from error
        self._phonemizer = Phonemizer(lexicon, accent)
        self._phonemizer.warm()
        self._thread = ThreadPoolExecutor(1, "sottovoce-reader")
        self.waiting = 0

    async def words(self, text: str) -> list[Spoken]:
        """The words of ``text`` in order; none where nothing is to be said."""
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._phonemizer.words, text)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End the thread, after the text in hand."""
        self._thread.shutdown()
