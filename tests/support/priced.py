"""An engine whose steps take a stated time, by kind, rows and frames, on the virtual clock of a loop or on a made-up one."""

from collections.abc import Callable, Sequence
from typing import Any

from sottovoce.stream.engine import Engine, Work

from .delegating import DelegatingEngine

Price = Callable[[str, int, int], float]
"""Seconds of a step, by kind, rows and frames."""


class PricedEngine(DelegatingEngine):
    """``inner``, whose steps take what they cost.

    Attributes:
        steps: kind, rows and frames of each.
    """

    def __init__(self, inner: Engine, spend: Callable[[float], None], price_s: Price) -> None:
        """``spend`` lets time go on."""
        super().__init__(inner)
        self.steps: list[tuple[str, int, int]] = []
        self._spend, self._price_s = spend, price_s

    def step(self, work: Sequence[Work]) -> list[Any]:
        kind, n_frames = work[0].kind, len(work[0].data) if work[0].kind == "decode" else 1
        if kind == "vocode":
            n_frames = len(work[0].data) // self.descriptor.mels_per_frame
        self.steps.append((kind, len(work), n_frames))
        self._spend(self._price_s(kind, len(work), n_frames))
        return super().step(work)

    def chunks(self) -> list[int]:
        """Frames of each step that made sound."""
        return [n_frames for kind, _, n_frames in self.steps if kind == "vocode"]
