"""A file to read and a file to write, where those are the ends of a conversation."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from .audio_in import AudioInput
from .audio_out import AudioOutput, audio_output


class FileEnds:
    """Opens on ``__enter__``; an output file appears on ``__exit__``, whole, or not at all if that has an error.

    Attributes:
        sound: the file that is read, if one is.
    """

    def __init__(self, input: str | None, output: str | None, rate_hz: int) -> None:
        """Names of files, or None."""
        self.sound: AudioInput | None = None
        self._input_name, self._output_name, self._rate_hz = input, output, rate_hz
        self._output: AudioOutput | None = None
        self._stack = ExitStack()  # everything that is closed in the end

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._open(opened)
            self._stack = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def _open(self, opened: ExitStack) -> None:
        """Open what there is from the beginning, into ``opened``."""
        if self._input_name is not None:
            self.sound = opened.enter_context(AudioInput(self._input_name, self._rate_hz))
        if self._output_name is not None:
            self._output = opened.enter_context(audio_output(self._output_name, self._rate_hz))
