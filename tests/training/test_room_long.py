"""What a long call prints, how far traffic is off its budget, a clock that drifts, and calls that were played before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sottovoce.training import room_calls, room_card
from sottovoce.training.link import Conditions
from sottovoce.training.metrics import RATE_HZ
from sottovoce.training.recordings import Recording
from sottovoce.training.room_budget import Traffic
from sottovoce.training.room_calls import through_mosquitto
from sottovoce.training.room_long import balance, minutes, slope
from sottovoce.training.room_scene import Call, Scene
from sottovoce.training.room_talk import Talk


def receiver(**changes: Any) -> dict[str, Any]:
    counts = {"packets": 10, "received": 60, "played": 50, "waiting": 2, "repaired": 1, "concealed": 3, "silent": 6}
    counts |= {"pulls": 60, "inserted": 2, "missing": 1, "refused": {}, "dropped": {"late": 8}}
    return {**counts, **changes}


def reading(at_s: float, rss_mib: float = 100.0, **of_peer: Any) -> dict[str, Any]:
    peer = {"receiver": receiver(), "drift_ppm": -98.6, "playout_ppm": 0.0, "delay_ms": 320.0, "target_ms": 300.0}
    sender = {"packets": 12, "frames": 72}
    return {
        "at_s": at_s,
        "rss_mib": rss_mib,
        "sender": sender,
        "line": {"out.stale": 2, "sent.a": 10},
        "captured": {"captured.overflow": 4},
        "peers": {"bert": {**peer, **of_peer}, "ghost": {"name": "ghost"}},
    }


def test_memory_is_judged_after_all_has_been_touched() -> None:
    readings = [reading(s, 500.0 - s if s <= 120 else 200 + s / 60 * 0.5) for s in range(10, 610, 10)]
    assert slope(readings) == pytest.approx(512)


def test_a_table_has_a_line_a_minute_and_says_what_is_not_known() -> None:
    told = [[reading(s, 100 + i, drift_ppm=None) for s in range(10, 130, 10)] for i in range(2)]
    lines = minutes(told).splitlines()
    assert len(lines) == 2 + 2
    assert lines[2] == "| 1 | 100.0; 101.0 | ?; ? | +0; +0 | +320; +320 | +300; +300 | 8, 3; 8, 3 |"


def test_every_frame_is_accounted_for() -> None:
    told = balance(reading(600.0), reading(600.0))
    assert "12 packets of 72 frames sent" in told
    assert "not sent: {'stale': 2}" in told
    assert "lost before: {'captured.overflow': 4}" in told
    assert "10 of 60 came: 50 played + 2 waiting + dropped {'late': 8} = 60" in told
    assert "60 pulls = 60" in told


def test_a_card_that_drifts(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(room_card, "monotonic", lambda: now_s[0])
    card = room_card.drifting(150)
    now_s[0] += 600
    assert card() == pytest.approx(1000 + 600 * 1.00015)


def test_how_far_traffic_is_off_its_budget() -> None:
    traffic = Traffic("mqtts3", "normal", True, (105.0, 95.0, 100.0, 200.0), (100.0, 100.0, 100.0, 200.0))
    assert traffic.off == pytest.approx((0.05, -0.05, 0, 0))
    assert traffic.row().startswith("| mqtts3, sealed | normal | 105 / 100 (+5.0 %) |")


def test_a_call_that_was_played_is_not_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = []

    def call(scene: Scene, said: Path, heard: Path, number: int) -> Call:
        played.append(heard.name)
        room_calls.soundfile.write(heard, talk.pcm, talk.rate_hz)
        return Call(
            {},
            {"peers": {"talker": {"receiver": {**receiver(), "short_runs": 1, "long_runs": 0}}}},
            (300, 200),
            8.0,
            0.0,
        )

    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 2 * RATE_HZ).astype(np.float32)
    talk = Talk([Recording("a", noise, RATE_HZ)], RATE_HZ)
    monkeypatch.setattr(room_calls, "call", call)
    scenes = {"good": Scene(Conditions(), Conditions()), "bad": Scene(Conditions(loss=0.1), Conditions())}
    monkeypatch.setattr(room_calls, "SCENES", scenes)
    first = [heard.counts for heard in through_mosquitto(talk, tmp_path, 1)]
    assert [counts["IP bit/s"] for counts in first] == ["300", "300"]
    assert [heard.counts for heard in through_mosquitto(talk, tmp_path, 1)] == first
    assert sorted(played) == ["bad.wav", "good.wav"]
    scenes["bad"] = Scene(Conditions(loss=0.2), Conditions())
    list(through_mosquitto(talk, tmp_path, 1))
    assert sorted(played) == ["bad.wav", "bad.wav", "good.wav"]
