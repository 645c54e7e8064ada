"""An engine around another one, for tests that change a part of what it does."""

from collections.abc import Sequence
from typing import Any

from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.engine import Engine, Work


class DelegatingEngine:
    """Does what ``inner`` does."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner

    @property
    def descriptor(self) -> Descriptor:
        return self._inner.descriptor

    @property
    def rows(self) -> int:
        return self._inner.rows

    def open(self) -> int:
        return self._inner.open()

    def close(self, row: int) -> None:
        self._inner.close(row)

    def step(self, work: Sequence[Work]) -> list[Any]:
        return self._inner.step(work)
