"""Who beats whom: every metric must agree, and a missing one is no victory."""

from typing import Any

import numpy as np
import pytest

from sottovoce.training.bootstrap import Estimate, Tallies
from sottovoce.training.metrics import Metric, score_one
from sottovoce.training.rows import Row
from sottovoce.training.tables import as_table, limit_table, verdict_table
from sottovoce.training.verdicts import JUDGED, copy_limits, judge, limits, outcome

METRICS = [Metric(name, name, name != "wer", "1", lambda a, b: 0.0, score_one) for name in JUDGED]


def around(mean: float, spread: float = 0.01, n: int = 40) -> Tallies:
    values = np.random.default_rng(round(1000 * mean)).normal(mean, spread, n)
    return np.stack([values, np.ones(n)], 1)


def tables(**ours: float) -> dict[str, dict[str, Tallies]]:
    peer = {"pesq": 2.0, "estoi": 0.7, "visqol": 3.0, "wer": 0.2}
    return {
        "a": {name: around(value) for name, value in (peer | ours).items()},
        "b": {name: around(value) for name, value in peer.items()},
    }


BETTER = {"pesq": 2.5, "estoi": 0.8, "visqol": 3.5, "wer": 0.1}


def test_better_in_everything_beats() -> None:
    assert judge("a", "b", "must", tables(**BETTER), METRICS).beaten == "yes"


@pytest.mark.parametrize(("name", "value"), [("pesq", 1.9), ("estoi", 0.6), ("visqol", 2.9), ("wer", 0.3)])
def test_worse_in_one_does_not_beat(name: str, value: float) -> None:
    verdict = judge("a", "b", "must", tables(**(BETTER | {name: value})), METRICS)
    assert verdict.beaten == "no"
    assert verdict.outcomes[name] == "worse"


def test_a_missing_metric_is_no_victory_but_a_lost_one_is_a_defeat() -> None:
    some = tables(**BETTER)
    del some["b"]["wer"]
    verdict = judge("a", "b", "must", some, METRICS)
    assert (verdict.outcomes["wer"], verdict.beaten) == ("not measured", "not measured")
    some["a"]["pesq"] = around(1.0)
    assert judge("a", "b", "must", some, METRICS).beaten == "no"
    assert "not measured" in verdict_table([verdict])


def test_clips_without_a_text_leave_word_errors_unmeasured() -> None:
    some = tables(**BETTER)
    some["a"]["wer"] = some["b"]["wer"] = np.zeros((40, 2))
    assert judge("a", "b", "must", some, METRICS).beaten == "not measured"


@pytest.mark.parametrize(
    ("value", "low", "high", "higher", "found"),
    [
        (0.2, 0.1, 0.3, True, "better"),
        (0.2, -0.1, 0.3, True, "better?"),
        (-0.2, -0.3, 0.1, True, "worse?"),
        (-0.2, -0.3, -0.1, True, "worse"),
        (-0.2, -0.3, -0.1, False, "better"),
        (0.2, -0.1, 0.3, False, "worse?"),
        (0.0, 0.0, 0.0, True, "worse?"),
        (0.0, 0.0, 0.0, False, "worse?"),
    ],
)
def test_an_outcome_is_told_by_the_sign_and_the_interval(
    value: float, low: float, high: float, higher: bool, found: str
) -> None:
    assert outcome(Estimate(value, low, high, 9, 9), higher) == found


def ours(books: int, perplexity: list[float], frames: int = 20_000) -> Row:
    return Row("mine", "ours", "mine", 40, 100.0, frames=frames, books=books, perplexity=perplexity)


def test_limits_are_kept_or_not() -> None:
    row = {"wer": around(0.25), "speaker": around(0.96), "pesq": around(2.0)}
    some = {"original": {"wer": around(0.2)}, "mine": row}

    def kept(row: Row) -> list[str]:
        return [limit.kept for limit in limits(row, "base", 1024, some)]

    assert kept(ours(8, [600.0, 500.0])) == ["no", "yes", "no"]  # 5 points of WER, a voice, a book of 500
    assert kept(ours(4, [600.0, 513.0])) == ["yes", "yes"]
    assert kept(ours(4, [600.0, 300.0], frames=1000)) == ["yes", "not measured"]
    assert [limit.kept for limit in copy_limits("mine", some)] == ["no", "no"]
    assert "300 of only 1000 frames" in limit_table(limits(ours(4, [300.0], frames=1000), "base", 1024, some))
    del some["original"]
    assert kept(ours(4, [600.0])) == ["not measured", "yes"]


def test_a_metric_that_a_row_lacks_is_named_with_its_reason() -> None:
    both: dict[str, Any] = {"clips": 1, "seconds": 1.0}
    rows = [
        Row(
            "x",
            "ours",
            "x",
            metrics={"estoi": Estimate(0.5, 0.4, 0.6, 1, 1)},
            missing={"pesq": "not installed"},
            **both,
        )
    ]
    text = as_table(rows)
    assert "| n/a | 0.500 (0.400 to 0.600) |" in text
    assert "PESQ-WB: not installed" in text
