"""An engine whose steps take a stated time on a clock of its own."""

from collections.abc import Callable, Sequence
from typing import Any

from sottovoce.stream.engine import Engine, Work

from .delegating import DelegatingEngine


class FakeClock:
    """Time that goes on only when somebody lets it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now_s += seconds


class TimedEngine(DelegatingEngine):
    """``inner``, whose steps take ``cost_s(kind, pieces)`` of ``clock``."""

    def __init__(self, inner: Engine, clock: FakeClock, cost_s: Callable[[str, int], float]) -> None:
        super().__init__(inner)
        self._clock, self._cost_s = clock, cost_s
        self.steps: list[tuple[str, int]] = []

    def step(self, work: Sequence[Work]) -> list[Any]:
        kind, n = work[0].kind, len(work)
        self.steps.append((kind, n))
        self._clock.sleep(self._cost_s(kind, n))
        return super().step(work)
