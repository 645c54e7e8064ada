"""A loopback with a device at an end: the instrument on the terminal, the keys, and what is told afterwards."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

from rich.console import Console
from rich.live import Live as Screen

from sottovoce.stream.packer import Dial
from sottovoce.stream.statistics import Statistics

from .delay import LiveDelay, live_delay
from .instrument import View, render
from .keys import raw_keys
from .soundcard import Capture, Playback, SoundCard
from .speaker import Speaker

_REFRESH_S = 0.125


class Live:
    """Watches over a running loopback. All of it happens on the event loop."""

    def __init__(self, card: SoundCard, speaker: Speaker | None, statistics: Statistics, dial: Dial) -> None:
        self._card = card
        self._speaker = speaker
        self._statistics = statistics
        self._dial = dial
        self._quit = False

    def asked_to_quit(self) -> bool:
        """Whether somebody pressed ``q``."""
        return self._quit

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show the instrument while inside, if standard error is a terminal, and listen to the keys."""
        with ExitStack() as stack:
            pressed = stack.enter_context(raw_keys())
            console = Console(stderr=True)
            screen = None
            if console.is_terminal:
                # Drawn once before sound begins: the first time takes long enough to be heard as a gap.
                screen = Screen(
                    render(self._view(pressed is not None)), console=console, auto_refresh=False, transient=True
                )
                stack.enter_context(screen)
                screen.refresh()
            stack.enter_context(_without_long_collections())
            watching = asyncio.create_task(self._watch(pressed, screen), name="instrument")
            try:
                yield
            finally:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching

    def press(self, key: str) -> None:
        """Do what a key stands for: a digit or a step turns the dial, ``q`` ends."""
        if key.isdecimal() and key != "0":
            self._dial.books = int(key)
        elif key in ("up", "right", "+", "="):
            self._dial.books += 1
        elif key in ("down", "left", "-"):
            self._dial.books -= 1
        elif key in ("q", "Q"):
            self._quit = True

    def delay(self) -> LiveDelay | None:
        """From microphone to speaker; None where there are not both, or not yet."""
        return live_delay(self._card, self._speaker, self._statistics) if self._speaker else None

    def summary(self) -> list[str]:
        """What a person wants to know afterwards."""
        view = self._view(keys=False)
        counts = f"{view.overflows} overflows, {view.underflows} underflows, {view.skipped_ms} ms skipped"
        dropped = {name: n for name, n in self._statistics.dropped.items() if not name.endswith(".lost")}
        counts += f", {sum(dropped.values())} frames dropped"
        lines = {"devices": view.devices, "xruns": counts, "drift": view.drift, "live delay": str(self.delay() or "")}
        return [f"{name:<17} {text}" for name, text in lines.items() if text]

    async def _watch(self, pressed: asyncio.Queue[str] | None, screen: Screen | None) -> None:
        """Obey the keys, and redraw, until cancelled."""
        while screen is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._turn(pressed), _REFRESH_S)
            screen.update(render(self._view(keys=pressed is not None)), refresh=True)
        await self._turn(pressed)

    async def _turn(self, pressed: asyncio.Queue[str] | None) -> None:
        """Obey the keys until cancelled."""
        while pressed is not None:
            self.press(await pressed.get())
        await asyncio.Event().wait()

    def _view(self, keys: bool) -> View:
        capture, playback = self._card.capture, self._card.playback
        skipped_s = playback.n_skipped / playback.rate_hz if playback else 0.0
        return View(
            statistics=self._statistics,
            books=self._dial.books,
            most_books=self._dial.most,
            delay=str(self.delay() or f"codec {self._statistics.descriptor.delay_ms:.0f} ms"),
            overflows=capture.overflows if capture else 0,
            underflows=(capture.underflows if capture else 0) + (playback.underflows if playback else 0),
            skipped_ms=round(1000 * skipped_s),
            drift=_drift(capture, playback),
            devices=" -> ".join(name for name in self._card.names if name),
            keys=keys,
        )


def _drift(capture: Capture | None, playback: Playback | None) -> str:
    """How much faster each side's clock runs than ours; empty where that is not known, or not yet."""
    sides = {"microphone": capture, "speaker": playback}
    known = {name: side.drift.ppm for name, side in sides.items() if side}
    return ", ".join(f"{name} {ppm:+.0f} ppm" for name, ppm in known.items() if ppm is not None)


@contextmanager
def _without_long_collections() -> Iterator[None]:
    """What was loaded so far stays: looking through all of it for garbage would take longer than a frame."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
