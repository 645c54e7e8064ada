"""Drawing from prepared speech."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sottovoce.training.data import RATE_HZ, Clip, Speech


@pytest.mark.parametrize("rate_hz", [24_000, 16_000])
@pytest.mark.parametrize("speed_spread", [0.0, 0.1])
def test_a_step_always_draws_the_same_batch(packed: Path, rate_hz: int, speed_spread: float) -> None:
    first, second = (Speech(packed, rate_hz, rate_hz // 2, batch=3, speed_spread=speed_spread) for _ in range(2))
    first.draw(0)
    assert torch.equal(first.draw(7)[0], second.draw(7)[0])
    assert not torch.equal(first.draw(7)[0], first.draw(8)[0])
    assert first.draw(7)[0].shape == (3, rate_hz // 2)


def test_clips_that_are_too_short_are_not_drawn(packed: Path) -> None:
    with pytest.raises(ValueError, match="no clip"):
        Speech(packed, RATE_HZ, 10 * RATE_HZ, batch=1)
    with pytest.raises(ValueError, match="speed_spread"):
        Speech(packed, RATE_HZ, RATE_HZ, batch=1, speed_spread=0.9)


def test_a_folder_that_was_not_prepared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make it with"):
        Speech(tmp_path, RATE_HZ, RATE_HZ, batch=1)


def test_data_of_the_first_version_draw_what_they_always_drew(tmp_path: Path) -> None:
    """Runs that were begun with one ``pcm.npy`` resume; the figures are what the first version gave."""
    np.save(tmp_path / "pcm.npy", (np.arange(60_000) * 7919 % 20_011 - 10_000).astype(np.int16))
    rows = [
        {"file": "a.wav", "start": 0, "n_samples": 25_000, "wideband": True},
        {"file": "b.wav", "start": 25_000, "n_samples": 35_000, "wideband": False},
    ]
    (tmp_path / "clips.json").write_text(json.dumps(rows))
    speech = Speech(tmp_path, RATE_HZ, 12_000, batch=4, seed=5)
    pcm, wideband = speech.draw(11)
    drawn = [0.47136154770851135, 0.4062666594982147, 0.19180625677108765, 0.0651913657784462]
    assert pcm[:, 6_000].tolist() == pytest.approx(drawn, abs=1e-7)
    assert wideband.tolist() == [True, True, False, False]
    assert speech.clips[0] == Clip("a.wav", 0, 25_000, True)
    assert len(speech.pcm) == 60_000


def test_speed_moves_the_pitch_of_what_is_drawn(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(3 * RATE_HZ) / RATE_HZ) * 8_000
    np.save(tmp_path / "pcm.npy", tone.astype(np.int16))
    (tmp_path / "clips.json").write_text(
        json.dumps([{"file": "a", "start": 0, "n_samples": len(tone), "wideband": True}])
    )
    pcm, _ = Speech(tmp_path, RATE_HZ, RATE_HZ, batch=24, speed_spread=0.2).draw(0)
    heard_hz = (torch.fft.rfft(pcm).abs().argmax(-1)).float()  # one bin a Hz
    assert 790 <= float(heard_hz.min()) < 900 < 1_100 < float(heard_hz.max()) <= 1_210
