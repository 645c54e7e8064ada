"""Texts as the symbols that a talker reads, through the same front end that speaks for users."""

from pathlib import Path

from sottovoce.models.symbols import PAUSE


class Reader:
    """Reads whole texts aloud, on paper."""

    def __init__(self, lexicon: Path | None = None) -> None:
        """``lexicon``: words that are said otherwise, as the talker will be given it."""
        from sottovoce.stream.phonemizer import Phonemizer, joined  # brings the libraries of the extra ``talk``

        self._phonemizer, self._joined = Phonemizer(lexicon), joined

    def symbols(self, text: str) -> tuple[str, ...]:
        """Phonemes between two pauses; the two alone where nothing of ``text`` is spoken."""
        line, _ = self._joined(self._phonemizer.words(text))
        return (PAUSE, *line, PAUSE)
