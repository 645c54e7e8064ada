"""``sottovoce bench``: how long one step of each model takes, and how much of a core a live stream needs."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.stream.engine import KINDS, Engine, Kind, Work

from .engines import ECHO, PACKAGES, EngineOptions, choose_backend, make_engine
from .pipes import say


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Percentiles of one stage's steps, in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured, and under which conditions."""

    stages: dict[str, StageTimes]
    "One step is one code frame; ``all`` is the four after each other."
    rtf: float
    "Time that the steps took over the length of the sound."
    core_percent: float
    "Processor time, of all threads, over the length of the sound."
    conditions: dict[str, str | int | float]


def bench(options: EngineOptions, n_steps: int = 500, warm_up: int = 50) -> Bench:
    """Step one stream frame by frame, as fast as it goes, on seeded noise.

    Args:
        options: which engine.
        n_steps: frames that are measured, >= 1.
        warm_up: frames before those.

    Raises:
        WeightsError, UsageError: see `engines.make_engine`.
    """
    engine = make_engine(options)
    descriptor = engine.descriptor
    noise = np.random.default_rng(0)
    row = engine.open()
    taken_s: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    cpu_s = 0.0
    for step in range(warm_up + n_steps):
        data: NDArray[Any] = (0.1 * noise.standard_normal(descriptor.frame_samples)).astype(np.float32)
        cpu_began_s = time.process_time()
        for kind in KINDS:
            began_s = time.perf_counter()
            data = _step(engine, row, kind, data)
            if step >= warm_up:
                taken_s[kind].append(time.perf_counter() - began_s)
        if step >= warm_up:
            cpu_s += time.process_time() - cpu_began_s
    engine.close(row)
    whole_s = np.sum([taken_s[kind] for kind in KINDS], axis=0)
    sound_s = n_steps * descriptor.frame_ms / 1000
    return Bench(
        stages={**{kind: _percentiles(taken_s[kind]) for kind in KINDS}, "all": _percentiles(whole_s)},
        rtf=float(whole_s.sum()) / sound_s,
        core_percent=100 * cpu_s / sound_s,
        conditions={
            "cpu": processor(),
            "python": platform.python_version(),
            "backend": _backend(options),
            "threads": options.threads,
            "dtype": "float32",
            "preset": descriptor.preset,
            "model": descriptor.model_hash,
            "vocoder": options.vocoder or "default",
            "step_ms": descriptor.frame_ms,
            "n": n_steps,
            "warm_up": warm_up,
        },
    )


def _backend(options: EngineOptions) -> str:
    if options.preset == ECHO:
        return ECHO
    package = PACKAGES[choose_backend(options)][0]
    return f"{package} {import_module(package).__version__}"


def print_bench(result: Bench, as_json: bool) -> None:
    """Print it for people, or as one JSON object."""
    if as_json:
        say(json.dumps(asdict(result)))
        return
    say(f"{'stage':8} {'p50':>8} {'p95':>8} {'p99':>8}   ms a step")
    for name, times in result.stages.items():
        say(f"{name:8} {times.p50_ms:8.2f} {times.p95_ms:8.2f} {times.p99_ms:8.2f}")
    say(f"real-time factor {result.rtf:.3f}, {result.core_percent:.1f} % of one core")
    say(", ".join(f"{name} {value}" for name, value in result.conditions.items()))


def processor() -> str:
    """The processor's name, as well as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _step(engine: Engine, row: int, kind: Kind, data: NDArray[Any]) -> NDArray[Any]:
    return engine.step([Work(row, kind, data, due_s=0.0)])[0]


def _percentiles(seconds: list[float] | NDArray[np.float64]) -> StageTimes:
    p50, p95, p99 = (1000 * float(value) for value in np.percentile(seconds, (50, 95, 99)))
    return StageTimes(p50, p95, p99)
