"""What a server tells of itself at ``/metrics``, as numbers; for commands that measure one."""

from __future__ import annotations

import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """One reading."""

    memory_mib: float | None
    "Of its process; None where its system does not tell."
    cpu_s: float | None
    engine_s: float
    "Time in the engine, all kinds of steps, a batch once."


def read_metrics(server: str, token: str | None) -> ServerMetrics | None:
    """Ask the server at ``ws://...``; None: it does not tell. Blocks: not for an event loop."""
    where = urlsplit(server)
    request = urllib.request.Request(f"{where.scheme.replace('ws', 'http', 1)}://{where.netloc}/metrics")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
            return parse(answer.read().decode())
    except (OSError, ValueError):
        return None


def parse(text: str) -> ServerMetrics:
    """The text of Prometheus: a name, labels in braces, a number."""
    numbers: dict[str, float] = {}
    for line in text.splitlines():
        name, _, number = line.rpartition(" ")
        with suppress(ValueError):
            name = name.partition("{")[0]
            numbers[name] = numbers.get(name, 0.0) + float(number)
    memory = numbers.get("process_resident_memory_bytes")
    return ServerMetrics(
        memory_mib=None if memory is None else memory / 2**20,
        cpu_s=numbers.get("process_cpu_seconds_total"),
        engine_s=numbers.get("sottovoce_step_seconds_sum", 0.0),
    )
