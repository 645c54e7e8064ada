"""Ctrl-C, SIGTERM and SIGHUP end the program alike: everything is closed, and nothing half-written stays."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from functools import partial
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Ended(KeyboardInterrupt):
    """A signal came that ends the program."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


_cancel: Callable[[], None] | None = None  # what runs on an event loop; a signal handler has nowhere else to look
_came: list[int] = []


def hear() -> None:
    """From now on those signals raise `Ended`, but for what who started us wants ignored (``nohup``, ``&``)."""
    _came.clear()
    for number in (signal.SIGINT, *_ENDING):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)


def ended() -> Ended | None:
    """The signal that came, if one did: it may come out as another error, as of a library in C that was being loaded."""
    return Ended(_came[0]) if _came else None


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on `event_loop`, but a signal cancels ``main``: an exception would tear a task out of its work.

    Raises:
        Ended: by a signal, after `hear`.
    """
    import asyncio  # slow: not before Ctrl-C is heard

    from .event_loop import new_event_loop

    global _cancel
    wake: Callable[[], object] = _nothing  # while the event loop does not run

    def cancel() -> None:
        wake()

    async def until_a_signal() -> T:
        nonlocal wake
        task = asyncio.current_task()
        assert task is not None
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
        if _came:  # before there was anything to cancel
            wake()
        try:
            return await main
        finally:
            wake = _nothing

    _cancel = cancel
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            result = runner.run(until_a_signal())
    except BaseException:  # cancelled, or what went wrong because of that: a terminal that is closed cannot be drawn on
        if not _came:
            raise
    finally:
        _cancel = None
    if came := ended():
        raise came
    return result


def _end(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    if _cancel is None:
        raise Ended(number)
    _cancel()


def _nothing() -> None:
    pass
