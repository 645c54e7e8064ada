"""What a frame costs besides the models, and the event loop that it is measured on."""

import asyncio
import json
import sys

import pytest

from sottovoce.clients.event_loop import new_event_loop
from sottovoce.clients.overhead import overhead, show_overhead


def test_whole_sessions_are_measured() -> None:
    seen = overhead(sessions=3, frames=20)
    assert (seen.sessions, seen.frames, seen.frame_ms) == (3, 20, 32.0)
    assert 0 < seen.least_cpu_ms <= seen.cpu_ms < 20
    assert seen.event_loop in ("uvloop", "asyncio")


def test_it_is_told_to_programs_too(capsys: pytest.CaptureFixture[str]) -> None:
    show_overhead(sessions=1, frames=3, as_json=True)  # fewer frames than parts
    assert json.loads(capsys.readouterr().out)["frames"] == 3


def test_without_uvloop_there_is_another_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(asyncio.sleep(0))
        assert isinstance(runner.get_loop(), asyncio.SelectorEventLoop)
