"""A bench for people, as JSON, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sottovoce.stream.errors import SottovoceError

from .atomic import replacing, writing
from .bench import Bench
from .bench_sessions import Sessions
from .bench_steps import Measured
from .picture import matplotlib_figures, picture_format
from .pipes import say

STDOUT = "-"
_TITLE = {
    "device": "device {}",
    "cpu": "processor {}",
    "backend": "{}",
    "dtype": "{}",
    "threads": "threads {}",
    "preset": "preset {}",
    "n": "steps measured {}",
    "seconds": "in time for {:g} s",
}
"""Of a picture, by condition."""


def lines(result: Bench) -> Iterator[str]:
    """A table for each number of streams, the peers, and the conditions."""
    for title, runs in (("codec", result.codec), ("codes to sound", result.pieces), ("speech", result.speech)):
        for run in runs:
            yield from _table(title, run)
    if result.read_ms is not None:
        yield f"read     {result.read_ms:8.2f} ms once a clause"
    if result.codec and len(result.codec) > 1:
        yield from _batches(result.codec)
    for peer in result.peers:
        yield (
            f"{peer.name} {peer.version}: real-time factor {peer.rtf:.3f} (p50 {peer.step.p50_ms:.1f} ms for "
            f"{peer.chunk_ms:.1f} ms, n {peer.n}); ours, {_stage(peer.does)}, {peer.our_rtf:.3f}: {peer.ratio:.1f} times faster"
        )
    for sessions in result.sessions:
        yield from _crowd(sessions)
    if result.row_bytes is not None:
        yield f"{result.row_bytes / 1024:.0f} KiB of state a stream"
    yield ", ".join(f"{name} {value}" for name, value in result.conditions.items())


def _table(title: str, run: Measured) -> Iterator[str]:
    several = f", {run.frames} frames in a step" if run.frames > 1 else ""
    yield f"{title}, {_streams(run.rows)}{' in one batch' if run.rows > 1 else ''}{several}"
    yield f"{'stage':8} {'p50':>8} {'p95':>8} {'p99':>8}   ms a step"
    for name, times in run.stages.items():
        yield f"{name:8} {times.p50_ms:8.2f} {times.p95_ms:8.2f} {times.p99_ms:8.2f}"
    yield (
        f"real-time factor {run.rtf:.3f}, {run.core_percent:.1f} % of one core a stream; first step {run.first_ms:.1f} ms; "
        f"allocates {run.allocated_bytes / 1024:.0f} KiB a step, keeps {run.kept_bytes:.0f} bytes"
    )
    yield ""


def _crowd(found: Sessions) -> Iterator[str]:
    most = found.most
    if most is None:
        yield f"{found.mode}: not one session was in time"
        return
    more = "" if most.n < found.limit else "; more were not tried"
    yield (
        f"{found.mode}: {most.n} sessions with C100 {100 * most.c100:.1f} %, C50 {100 * most.c50:.1f} % for "
        f"{most.seconds:g} s; the engine worked {100 * most.busy:.0f} % of the time, {most.batch:.1f} rows a step{more}"
    )
    yield f"{'stage':8} {'p50':>8} {'p95':>8} {'p99':>8}   ms a step"
    for name, times in most.steps.items():
        yield f"{name:8} {times.p50_ms:8.2f} {times.p95_ms:8.2f} {times.p99_ms:8.2f}"
    yield f"{'':8} {'p50':>8} {'p95':>8} {'p99':>8}   ms to the first sound, at half of that"
    for name, times in found.first_ms.items():
        yield f"{name:8} {times.p50_ms:8.2f} {times.p95_ms:8.2f} {times.p99_ms:8.2f}"
    yield ""


def _batches(runs: list[Measured]) -> Iterator[str]:
    one = next((run for run in runs if run.rows == 1), None)
    if one is None:
        return
    alone_ms = one.stages["all"].p50_ms
    for run in runs:
        if run.rows > 1:
            share = run.stages["all"].p50_ms / (run.rows * alone_ms)
            yield f"{run.rows} streams in one batch take {100 * share:.0f} % of {run.rows} single steps"


def _stage(does: str) -> str:
    return "mel to sound" if does == "vocode" else "the whole chain"


def write_json(result: Any, name: str) -> None:
    """A dataclass as one JSON object to the file ``name``, or ``-``. Raises SottovoceError: it cannot be written."""
    text = json.dumps(asdict(result))
    if name == STDOUT:
        say(text)
        return
    with replacing(Path(name), SottovoceError) as path, writing(name, SottovoceError):
        path.write_text(text + "\n", encoding="utf-8")


def plot(result: Bench, path: Path) -> None:
    """Save what `draw` draws.

    Raises:
        UsageError: matplotlib is missing, or the ending names no format.
        SottovoceError: the file cannot be written.
    """
    suffix, figure = picture_format(path), draw(result)
    with replacing(path, SottovoceError) as name, writing(path, SottovoceError):
        figure.savefig(name, format=suffix, dpi=120)


def draw(result: Bench) -> Any:
    """Bars of every stage, p50 with whiskers to p99, beside the length of a frame. Of sessions, the steps of the most.

    Raises:
        UsageError: matplotlib is missing.
    """
    figure = matplotlib_figures().Figure(figsize=(9, 4.5), layout="constrained")
    frame_ms = float(result.conditions["chunk_ms"])
    runs = [(f"codec, {_streams(run.rows)}", run.stages) for run in result.codec]
    runs += [(f"speech, {_streams(run.rows)}", run.stages) for run in result.speech]
    runs += [(f"{one.mode}, {one.most.n} sessions", one.most.steps) for one in result.sessions if one.most]
    axes = figure.subplots(1, max(len(runs), 1), sharey=True, squeeze=False)[0]
    legend = {}
    for (title, stages), ax in zip(runs, axes, strict=False):
        names, times = list(stages), list(stages.values())
        p50 = [one.p50_ms for one in times]
        whiskers = [[0.0] * len(times), [one.p99_ms - one.p50_ms for one in times]]
        legend["p50, whisker to p99"] = ax.bar(names, p50, yerr=whiskers, capsize=3, color="#4c72b0")
        line = ax.axhline(frame_ms, color="#c44e52", linestyle="--", linewidth=1)
        legend[f"{frame_ms:g} ms, the length of a frame: what all stages of a step must stay below"] = line
        ax.set(title=title, yscale="log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.tick_params(axis="x", rotation=45)
    axes[0].set_ylabel("ms a step")
    figure.legend(list(legend.values()), list(legend), loc="outside lower center", ncols=2, fontsize=8)
    told = (form.format(result.conditions[name]) for name, form in _TITLE.items() if name in result.conditions)
    figure.suptitle(f"How long a step takes\n{', '.join(told)}", fontsize=9)
    return figure


def _streams(rows: int) -> str:
    return "1 stream" if rows == 1 else f"{rows} streams"
