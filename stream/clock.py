"""Time is passed in: whoever needs it takes a ``Clock``, so that tests can own it."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds since any fixed origin, never going back."""

monotonic: Clock = time.monotonic
"""The clock of real life."""
