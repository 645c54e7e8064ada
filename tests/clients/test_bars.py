"""What one GPU must carry (``make gpu``), measured and printed; on the processor the same measurements are taken, of less."""

from dataclasses import dataclass

import numpy as np
import pytest

from sottovoce.clients.bench import talker_of
from sottovoce.clients.bench_sessions import Crowd, Mode, Played
from sottovoce.clients.bench_steps import Codec, Speech, StageTimes, measure
from sottovoce.clients.engines import Dtype, EngineOptions, make_engine
from sottovoce.stream.engine import KINDS, Engine
from support.devices import needs_gpu


@dataclass(frozen=True)
class Bar:
    """Of a device."""

    device: str
    loopbacks: int
    speakers: int
    seconds: float
    rows: int
    "Of a step."
    step_ms: float
    first_ms: float
    "Until the first sound, at half load."


SMALL = Bar("cpu", 1, 1, 0.3, 2, np.inf, np.inf)
H200 = Bar("cuda", 1000, 500, 60.0, 256, 8.0, 20.0)
each_bar = pytest.mark.parametrize(
    "bar", [pytest.param(SMALL, id="cpu"), pytest.param(H200, marks=needs_gpu, id="cuda")]
)
each_bar_and_dtype = pytest.mark.parametrize(
    ("bar", "dtype"),  # the processor is slow in 16 bits; tests/stream/test_torch_engine.py has them
    [
        pytest.param(SMALL, "float32", id="cpu-float32"),
        pytest.param(H200, "float32", marks=needs_gpu, id="cuda-float32"),
        pytest.param(H200, "float16", marks=needs_gpu, id="cuda-float16"),
    ],
)


def engine(bar: Bar, rows: int, dtype: Dtype = "float32", speaks: bool = False) -> Engine:
    options = EngineOptions(backend="torch", device=bar.device, dtype=dtype)
    made = make_engine(options, rows)
    if not speaks:
        return made
    talker = talker_of(made, options)
    assert talker is not None
    return talker


def tell(capsys: pytest.CaptureFixture[str], *words: object) -> None:
    with capsys.disabled():
        print("\n", *words)


def table(stages: dict[str, StageTimes]) -> str:
    return ", ".join(f"{name} {t.p50_ms:.2f} / {t.p95_ms:.2f} / {t.p99_ms:.2f}" for name, t in stages.items())


@each_bar_and_dtype
@pytest.mark.timeout(900)
def test_a_step_of_all_rows_is_quick(bar: Bar, dtype: Dtype, capsys: pytest.CaptureFixture[str]) -> None:
    """Samples to samples, and speech."""
    made = engine(bar, bar.rows, dtype, speaks=True)
    chains: dict[str, Codec] = {}
    for name, kind in (("codec", Codec), ("speech", Speech)):
        chains[name] = chain = kind(made, bar.rows)
        found = measure(chain, bar.rows, made.descriptor.frame_ms, n_steps=max(int(bar.seconds * 5), 2), warm_up=5)
        chain.close()
        tell(capsys, f"{bar.device} {dtype}, {name} of {bar.rows} rows, ms p50 / p95 / p99:", table(found.stages))
        slowest = max(times.p50_ms for stage, times in found.stages.items() if stage != "all")
        assert 0 < slowest < bar.step_ms
    assert set(chains["codec"].kinds) == set(KINDS)


@each_bar
@pytest.mark.parametrize("mode", ["loopback", "speak"])
@pytest.mark.timeout(900)
def test_so_many_sessions_have_their_sound_in_time(bar: Bar, mode: Mode, capsys: pytest.CaptureFixture[str]) -> None:
    n = bar.loopbacks if mode == "loopback" else bar.speakers
    made = engine(bar, n + 1, speaks=mode == "speak")
    crowd = Crowd(made, mode)
    played = crowd.play(n, bar.seconds)
    tell(capsys, f"{bar.device}, {n} {mode}: C50 {played.c50:.3f}, C100 {played.c100:.3f}, busy {played.busy:.2f},",
         f"{played.batch:.0f} rows a step; ms p50 / p95 / p99:", table(played.steps))  # fmt: skip
    first = crowd.first_ms(n)
    tell(capsys, f"{bar.device}, first sound beside {n // 2} {mode}, ms p50 / p95 / p99:", table(first))
    assert isinstance(played, Played)
    assert first["all"].p50_ms < bar.first_ms
    if bar is H200:  # the processor is measured here, not judged
        assert played.good
