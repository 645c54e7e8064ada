"""``sottovoce bench --sessions``: as many as the engine's time allows, no more; time is made up here."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from sottovoce.clients.bench import BenchOptions, bench
from sottovoce.clients.bench_report import lines
from sottovoce.clients.bench_sessions import Crowd, ProcessorTime
from sottovoce.clients.cli import main
from sottovoce.clients.engines import EngineOptions
from sottovoce.stream.engine import EchoEngine
from sottovoce.stream.ramp import ChunkTimes
from support import tiny_talk
from support.priced import PricedEngine
from support.timed import FakeClock, TimedEngine

FRAME_S = 0.032  # of the echo engine


def crowd(rows: int, step_s: float, piece_s: float, mode: Any = "loopback") -> tuple[Crowd, TimedEngine]:
    """Every step takes ``step_s``, and ``piece_s`` for each of its pieces; a frame is four steps of a loopback."""
    clock = FakeClock()
    inner = EchoEngine(rows) if mode == "loopback" else tiny_talk.engine(rows)
    engine = TimedEngine(inner, clock, lambda kind, n: step_s + piece_s * n)
    return Crowd(engine, mode, clock, clock.sleep), engine


def test_an_engine_without_batching_carries_what_its_time_allows() -> None:
    """1 ms a piece, four pieces a frame of 32 ms: eight sessions fill it, a ninth comes too late."""
    bench, _ = crowd(20, 0.0, 0.001)
    found = bench.sessions(20, seconds=3)
    assert found.most is not None
    assert found.most.n == 8
    assert found.most.good
    assert found.most.busy == pytest.approx(1.0, abs=0.05)
    assert not bench.play(9, 6).good
    assert bench.play(4, 2).busy == pytest.approx(0.5, abs=0.05)


def test_a_step_that_costs_the_same_for_any_rows_carries_all() -> None:
    bench, engine = crowd(16, 0.002, 0.0)
    found = bench.sessions(16, seconds=1)
    assert found.most is not None
    assert found.most.n == 16
    assert found.most.batch > 3
    assert max(n for _, n in engine.steps) <= 16


def test_a_frame_that_never_comes_is_late() -> None:
    """Each step outlasts the bench: whoever waits was not served."""
    bench, _ = crowd(2, 5.0, 0.0)
    played = bench.play(2, 2)
    assert played.c100 == 0
    found = bench.sessions(2, seconds=2)
    assert found.most is None
    assert "not one session was in time" in "\n".join(lines_of(found))


def lines_of(found: Any) -> list[str]:
    from sottovoce.clients.bench import Bench

    return list(lines(Bench({"cpu": "x"}, [], sessions=[found])))


def test_those_who_join_at_half_load_wait_for_what_is_under_way() -> None:
    bench, _ = crowd(40, 0.0, 0.001)
    first = bench.first_ms(4)
    assert set(first) == {"mel", "encode", "decode", "vocode", "queue", "all"}
    assert first["mel"].p50_ms == pytest.approx(1.0)
    assert 3.9 <= first["all"].p50_ms < 20
    for part in first.values():
        assert part.p50_ms <= part.p95_ms <= part.p99_ms


def test_speakers_are_made_ahead_and_read_what_they_say() -> None:
    bench, engine = crowd(2, 0.0, 0.001, "speak")
    found = bench.sessions(2, seconds=2)
    assert found.most is not None
    assert found.most.n == 2
    assert {kind for kind, _ in engine.steps} == {"read", "talk", "decode", "vocode"}
    assert set(found.first_ms) == {"read", "talk", "decode", "vocode", "queue", "all"}
    steps = [kind for kind, _ in engine.steps]
    assert steps.count("talk") > 2 * steps.count("vocode")  # several frames are made sound at once


def test_speakers_in_chunks_leave_the_engine_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of talk takes 1 ms, and a step that makes sound of it 6 ms, whatever it holds."""

    def price_s(kind: str, rows: int, n_frames: int) -> float:
        return {"read": 0.0, "talk": 0.001}.get(kind, 0.003)

    busy = {}
    for chunks in (True, False):
        clock = FakeClock()
        engine = PricedEngine(tiny_talk.engine(2), clock.sleep, price_s)
        bench = Crowd(engine, "speak", clock, clock.sleep)
        if not chunks:
            monkeypatch.setattr(ChunkTimes, "chunk_s", lambda self, n_frames: math.inf)
        played = bench.play(1, 6)
        assert played.good
        busy[chunks] = played.busy
    assert busy[False] == pytest.approx(7 / 40, abs=0.02)
    assert busy[True] == pytest.approx((4 + 6) / 160, abs=0.02)


def test_processor_time_leaves_out_what_others_take(capsys: pytest.CaptureFixture[str]) -> None:
    """Half a minute of sound in a moment; asleep, a process has no time."""
    clock = ProcessorTime()
    began_s = clock()
    clock.sleep(5.0)
    assert 5.0 <= clock() - began_s < 6.0
    wall_s = time.perf_counter()
    arguments = [
        "bench",
        "--backend",
        "echo",
        "--sessions",
        "1",
        "--mode",
        "loopback",
        "--seconds",
        "30",
        "--processor-time",
    ]
    assert main([*arguments, "--json"]) == 0
    assert time.perf_counter() - wall_s < 25
    report = json.loads(capsys.readouterr().out)
    assert report["conditions"]["time"] == "of the processor"
    (found,) = report["sessions"]
    assert found["most"]["n"] == 1
    assert 0 < found["most"]["busy"] < 0.5


def test_rows_are_given_back() -> None:
    bench, engine = crowd(3, 0.0, 0.0001)
    bench.sessions(3, seconds=1)
    assert {engine.open() for _ in range(3)} == {0, 1, 2}


def test_the_command_says_how_many_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = tmp_path / "a.json", tmp_path / "a.png"
    arguments = ["bench", "--backend", "echo", "--sessions", "2", "--mode", "loopback", "--seconds", "0.2"]
    assert main([*arguments, "--json", str(file), "--plot", str(picture)]) == 0
    (found,) = json.loads(file.read_text())["sessions"]
    assert found["mode"] == "loopback"
    assert found["limit"] == 2
    told = capsys.readouterr().out
    assert "loopback: " in told
    assert "device cpu" in told
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sessions", "0"), "'0' is not a whole number from 1"),
        (("--sessions", "2", "--mode", "dance"), "invalid choice: 'dance'"),
        (("--sessions", "2", "--seconds", "0"), "'0' is not a number from"),
        (("--sessions", "2", "--mode", "speak", "--preset", "micro"), "no talker for micro: it cannot speak"),
        (("--sessions", "2", "--processor-time", "--device", "cuda"), "--processor-time is for the processor"),
        (("--device", "cuda:99"), "--device cuda:99: there "),
        (("--device", "abacus"), "there is no device 'abacus'"),
        (("--device", "cuda", "--backend", "onnx"), "ONNX Runtime runs on the processor here"),
        (("--dtype", "float16"), "float16 runs on torch alone"),
    ],
)
def test_bad_options_are_one_line(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_without_a_talker_only_loopbacks_are_counted() -> None:
    options = BenchOptions(EngineOptions("echo"), sessions=1, seconds=0.1)
    assert [one.mode for one in bench(options).sessions] == ["loopback"]
