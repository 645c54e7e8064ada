"""How long an event loop was held by one step of anything, in CPU time of its thread: a busy machine does not count."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


class Held:
    """What was seen so far."""

    worst_ms = 0.0
    by = ""
    "What took that long."


@contextmanager
def held() -> Iterator[Held]:
    """Watch the loop of this thread while the block runs."""
    found, thread, run = Held(), threading.get_ident(), asyncio.Handle._run

    def timed(handle: Any) -> None:
        if threading.get_ident() != thread:
            return run(handle)
        began_s = time.thread_time()
        run(handle)
        ms = 1000 * (time.thread_time() - began_s)
        if ms > found.worst_ms:
            found.worst_ms, found.by = ms, repr(handle) + str(getattr(handle._callback, "__self__", ""))

    gc.collect()
    gc.freeze()  # a test has a great deal of objects, and nobody's text makes them
    with patch.object(asyncio.Handle, "_run", timed):
        try:
            yield found
        finally:
            gc.unfreeze()
