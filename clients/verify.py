"""``sottovoce verify``: whether the streaming law holds for these weights, on this machine, in this dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sottovoce.stream.engine import Engine, Work
from sottovoce.stream.errors import LawBroken
from sottovoce.stream.law import Verdict, check_engine, check_talker, rounding
from sottovoce.stream.talk_work import Manner, Moment, Reading

from .bench import conditions, talker_of
from .bench_report import STDOUT, write_json
from .bench_steps import CLAUSE
from .engines import EngineOptions, make_engine
from .pipes import say


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    conditions: dict[str, str | int | float]
    verdicts: list[Verdict]
    good: bool


def verify(options: EngineOptions, rows: int, n_frames: int, seed: int) -> Report:
    """Check an engine of these options. Raises WeightsError, UsageError: see `engines.make_engine`."""
    engine = make_engine(options, rows)
    verdicts = list(check_engine(engine, n_frames, seed, rounding(options.dtype)))
    talker = talker_of(engine, options)
    if talker is not None:
        verdicts.append(_talker(talker, seed))
    told = conditions(options, engine) | {"rows": rows, "frames": n_frames, "seed": seed}
    return Report(told, verdicts, all(verdict.good for verdict in verdicts))


def _talker(engine: Engine, seed: int) -> Verdict:
    scores: dict[int, Any] = {}

    def step(row: int, frame: int) -> Work:
        if row not in scores:
            scores[row] = engine.step([Work(row, "read", Reading(CLAUSE, Manner(seed=row)), 0.0)])[0]
        return Work(row, "talk", Moment(scores[row], frame), 0.0, fresh=frame == 0)

    return check_talker(engine, step, n_frames=40, seed=seed)


def print_report(report: Report, json_file: str | None) -> None:
    """Print the table, write the JSON.

    Raises LawBroken: the law does not hold.
    """
    if json_file is not None:
        write_json(report, json_file)
    if json_file != STDOUT:
        say(f"{'check':7} {'kind':7} {'worst':>9} {'allowed':>9} {'n':>6}")
        for one in report.verdicts:
            mark = "good" if one.good else "WRONG"
            say(f"{one.check:7} {one.kind:7} {one.worst:9.2g} {one.allowed:9.2g} {one.n:6d}  {mark}")
        say(", ".join(f"{name} {value}" for name, value in report.conditions.items()))
    if not report.good:
        wrong = ", ".join(f"{one.check} of {one.kind}" for one in report.verdicts if not one.good)
        raise LawBroken(f"the streaming law is broken on this machine: {wrong}")
