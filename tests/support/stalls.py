"""The machine kept out of a test that takes time: programs go first, or it is known how long they were held up."""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_EVERY_S = 0.02
_WINDOW = 5
"""Samples that are added up: 100 ms, in which a frame passes all threads of the program."""


def hurry(pid: int) -> bool:
    """Let the threads of ``pid``, and those that they start, run before any ordinary one; False where that is forbidden.

    Without it a test of live sound beside busy programs measures them: a thread may wait 120 ms for its turn.
    """
    return all([_first(int(thread.name)) for thread in Path(f"/proc/{pid}/task").iterdir()])


class Stalls:
    """What was seen so far."""

    worst_ms = 0.0
    "Most that threads of the programs, together, waited for a processor within 100 ms, or that the watch came late."


@contextmanager
def watched(*pids: int) -> Iterator[Stalls]:
    """Watch the programs from a thread of its own while the block runs."""
    stalls, over = Stalls(), threading.Event()

    def watch() -> None:
        _first(0)  # this thread: as it is held up, so are they
        newest: deque[float] = deque(maxlen=_WINDOW)
        waited, before_s = _waited_ms(pids), time.perf_counter()
        while not over.wait(_EVERY_S):
            now_s = time.perf_counter()
            late_ms = (now_s - before_s - _EVERY_S) * 1000
            now = _waited_ms(pids)
            newest.append(sum(ms - waited.get(thread, ms) for thread, ms in now.items()))
            stalls.worst_ms = max(stalls.worst_ms, sum(newest), late_ms)
            waited, before_s = now, time.perf_counter()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield stalls
    finally:
        over.set()
        thread.join()


def _waited_ms(pids: tuple[int, ...]) -> dict[str, float]:
    """For each thread, how long it was ready to run and did not, since it began; nothing where Linux does not tell."""
    waited = {}
    for pid in pids:
        with suppress(OSError):  # a thread, or all of them, may end meanwhile
            for thread in Path(f"/proc/{pid}/task").iterdir():
                waited[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e6
    return waited


def _first(thread: int) -> bool:
    """Let one thread run before ordinary ones; 0 is the caller."""
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True
