"""Sound files as ends of a pipeline: a source that gives blocks, a sink that takes frames, and the progress bar."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sottovoce.stream.frames import Pcm
from sottovoce.stream.pacing import paced

from .audio_in import AudioInput
from .pipes import readable, tell

Watch = Callable[[float], None]
"""Is told how many seconds of sound have been read so far."""
LONG_S = 10.0
"""Sounds longer than this get a progress bar."""
_PACED_S = 0.01


async def blocks(sound: AudioInput, watch: Watch) -> AsyncIterator[Pcm]:
    """The sound to its end, as fast as it is wanted. Raises AudioFileError as `AudioInput.read`."""
    while True:
        if sound.waits_on is not None:
            await readable(sound.waits_on)
        block = sound.read()
        if block is None:
            return
        watch(sound.n_samples / sound.rate_hz)
        if len(block):
            yield block


def spoken(sound: AudioInput, watch: Watch, realtime: bool) -> AsyncIterator[Pcm]:
    """`blocks`, or with ``realtime`` the same at the rate of speech."""
    source = blocks(sound, watch)
    return paced(source, sound.rate_hz, int(sound.rate_hz * _PACED_S)) if realtime else source


@contextmanager
def progress(title: str, duration_s: float | None) -> Iterator[Watch]:
    """Show a bar on standard error while a long sound is worked on; None for a length that is not known."""
    if not sys.stderr.isatty() or (duration_s is not None and duration_s < LONG_S):
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=duration_s)
        yield lambda seconds: bar.update(task, completed=seconds)


def remark(lines: list[str]) -> None:
    """Tell on standard error what is worth knowing, but no failure."""
    for line in lines:
        tell(f"sottovoce: note: {line}")
