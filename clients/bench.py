"""``sottovoce bench``: how long one step of each model takes, and how much of a core a live stream needs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from sottovoce.stream.clock import monotonic
from sottovoce.stream.engine import Engine
from sottovoce.stream.errors import UsageError, WeightsError

from .bench_peers import Versus, load_peers, versus
from .bench_sessions import MODES, Crowd, Mode, ProcessorTime, Sessions
from .bench_steps import Chain, Codec, Measured, Pieces, Speech, measure
from .engines import ECHO, PACKAGES, EngineOptions, choose_backend, make_engine

PIECES = (2, 4)  # code frames in a step, where several are there


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured, and under which conditions."""

    conditions: dict[str, str | int | float]
    codec: list[Measured]
    "mel, encode, decode and vocode, for each number of streams."
    pieces: list[Measured] = field(default_factory=list)
    "decode and vocode of several frames in a step, for each number of streams."
    speech: list[Measured] = field(default_factory=list)
    "talk, decode and vocode; empty where there is no talker."
    read_ms: float | None = None
    "What comes before the first frame of a clause: encodings and durations of its phonemes."
    peers: list[Versus] = field(default_factory=list)
    row_bytes: int | None = None
    "What a stream keeps between two steps; None where the engine does not tell."
    sessions: list[Sessions] = field(default_factory=list)
    "How many the engine carries, of each mode that was asked for."


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure."""

    engine: EngineOptions
    rows: Sequence[int] = (1,)
    n_steps: int = 500
    warm_up: int = 50
    speech: bool = True
    "Whether to measure the talker where there is one."
    peers: Sequence[str] | None = ()
    "Others to measure beside it; None: all that load."
    sessions: int = 0
    "The most to try at once, in place of single steps; 0: none."
    modes: Sequence[Mode] = MODES
    "Of these sessions."
    seconds: float = 60.0
    "How long they must be served in time."
    processor_time: bool = False
    "Time is what this process has of the processor: the sessions of a machine that nobody shares; not of a GPU."


def bench(options: BenchOptions) -> Bench:
    """Step streams frame by frame, as fast as they go.

    Raises:
        WeightsError, UsageError: see `engines.make_engine` and `bench_peers.load_peers`; there is nobody to speak.
    """
    if options.sessions:
        return _sessions(options)
    began_s = time.perf_counter()
    engine = make_engine(options.engine, max(options.rows))
    start_s = time.perf_counter() - began_s
    descriptor = engine.descriptor
    peers = load_peers(options.peers, descriptor.frame_ms, options.engine.threads)
    codec, speech, read_ms = [], [], None
    for rows in options.rows:
        codec.append(_measure(Codec(engine, rows), rows, options, descriptor.frame_ms))
    pieces = [
        _measure(Pieces(engine, rows, frames), rows, options, descriptor.frame_ms)
        for rows in options.rows
        for frames in PIECES
    ]
    talker = talker_of(engine, options.engine) if options.speech else None
    if talker is not None:
        for rows in options.rows:
            chain = Speech(talker, rows)
            read_ms = chain.read_ms(5) if read_ms is None else read_ms
            speech.append(_measure(chain, rows, options, descriptor.frame_ms))
    beside = [versus(peer, engine) for peer in peers]
    measured: dict[str, str | int | float] = {
        "chunk_ms": descriptor.frame_ms,
        "n": options.n_steps,
        "state": f"warm after {options.warm_up} steps",
        "start_s": round(start_s, 3),
    }
    row_bytes = getattr(engine if talker is None else talker, "row_bytes", None)
    return Bench(conditions(options.engine, engine) | measured, codec, pieces, speech, read_ms, beside, row_bytes)


def _sessions(options: BenchOptions) -> Bench:
    if options.peers != ():
        raise UsageError("--vs is for single steps, not for --sessions")
    if options.processor_time and options.engine.device != "cpu":
        raise UsageError("--processor-time is for the processor: a GPU has none")
    engine = make_engine(options.engine, options.sessions)
    talker = talker_of(engine, options.engine) if "speak" in options.modes else None
    if talker is None and "speak" in options.modes and "loopback" not in options.modes:
        raise UsageError(f"there is no talker for {options.engine.preset}: it cannot speak")
    modes = [mode for mode in options.modes if mode != "speak" or talker is not None]
    own = ProcessorTime()
    clock, sleep = (own, own.sleep) if options.processor_time else (monotonic, time.sleep)
    crowds = [Crowd(talker or engine, mode, clock, sleep) for mode in modes]
    found = [crowd.sessions(options.sessions, options.seconds) for crowd in crowds]
    row_bytes = getattr(talker or engine, "row_bytes", None)
    told = conditions(options.engine, engine) | {
        "chunk_ms": engine.descriptor.frame_ms,
        "seconds": options.seconds,
        "time": "of the processor" if options.processor_time else "of the wall",
    }
    return Bench(told, [], row_bytes=row_bytes, sessions=found)


def _measure(chain: Chain, rows: int, options: BenchOptions, frame_ms: float) -> Measured:
    try:
        return measure(chain, rows, frame_ms, options.n_steps, options.warm_up)
    finally:
        chain.close()


def talker_of(engine: Engine, chosen: EngineOptions) -> Engine | None:
    """The engine with a talker beside it; None where this codec has none."""
    if chosen.preset == ECHO:
        return None
    try:
        from sottovoce.stream.talk_engine import add_talker
    except ModuleNotFoundError:  # a backend of torch alone
        return None
    try:
        return add_talker(engine, chosen.weights)
    except WeightsError:
        return None


def conditions(chosen: EngineOptions, engine: Engine) -> dict[str, str | int | float]:
    """Of any figure that an engine of these options gives."""
    return {
        "device": getattr(engine, "device_name", "cpu"),
        "cpu": processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "backend": _backend(chosen),
        "threads": chosen.threads,
        "dtype": chosen.dtype,
        "preset": engine.descriptor.preset,
        "model": engine.descriptor.model_hash,
        "vocoder": chosen.vocoder or "default",
    }


def _backend(options: EngineOptions) -> str:
    if options.preset == ECHO:
        return ECHO
    package = PACKAGES[choose_backend(options)][0]
    return f"{package} {import_module(package).__version__}"


def processor() -> str:
    """The processor's name, as well as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
