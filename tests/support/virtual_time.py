"""An event loop whose clock jumps: waiting for ten seconds takes no time, and a deadlock raises at once."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long another thread may really take before it counts as hung."""


class Deadlock(Exception):
    """Everybody waits for somebody else, and no timer is set."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping until a timer it moves the clock there, unless another thread is at work."""

    now_s = 0.0
    busy: Callable[[], bool] = staticmethod(lambda: False)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.busy():
            ready = super().select(PATIENCE_S)
            if not ready:
                raise Deadlock(f"another thread has not answered for {PATIENCE_S} s")
            return ready
        if timeout is None:
            raise Deadlock("nothing is ready, no timer is set")
        self.now_s += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """``loop.time()`` is virtual. It stands still while a real thread is said to be busy."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def while_busy(self, busy: Callable[[], bool]) -> None:
        """Let time stand still as long as ``busy()``."""
        self._jumping.busy = busy


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now_s() -> float:
    """The running loop's clock, as a ``Clock``."""
    return asyncio.get_running_loop().time()


def spend(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """What another thread does, for which time stands still, takes ``seconds`` of it after all."""
    assert isinstance(loop, VirtualTimeLoop)
    loop._jumping.now_s += seconds


def hold_for(busy: Callable[[], bool]) -> None:
    """In a coroutine under `run`: time stands still while ``busy()``."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.while_busy(busy)
