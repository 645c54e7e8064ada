"""How long the machine itself stands still: what no program on it could have bridged."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stalls:
    """The longest time by which a short wait came late."""

    worst_ms = 0.0


@contextmanager
def watched(every_s: float = 0.005) -> Iterator[Stalls]:
    """Watch from a thread of its own while the block runs."""
    stalls, over = Stalls(), threading.Event()

    def watch() -> None:
        before = time.perf_counter()
        while not over.wait(every_s):
            now = time.perf_counter()
            stalls.worst_ms = max(stalls.worst_ms, (now - before - every_s) * 1000)
            before = now

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield stalls
    finally:
        over.set()
        thread.join()
