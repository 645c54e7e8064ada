"""Packing folders as people have them, and drawing from what was packed."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sottovoce.training.data import RATE_HZ, Speech, pack


def test_any_rate_and_channels_are_packed_and_broken_files_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "clips" / "deep"
    folder.mkdir(parents=True)
    t = np.arange(44_100) / 44_100
    soundfile.write(folder / "stereo.flac", np.stack([np.sin(2000 * t), np.sin(2000 * t)], 1) * 0.3, 44_100)
    soundfile.write(folder / "narrow.wav", np.sin(2000 * t[:8000]) * 0.3, 8_000)
    soundfile.write(folder / "short.wav", np.zeros(100), 8_000)
    (folder / "broken.wav").write_bytes(b"RIFF nothing")
    clips = pack(tmp_path / "clips", tmp_path / "data")
    assert [(clip.file, clip.wideband) for clip in clips] == [("deep/narrow.wav", False), ("deep/stereo.flac", True)]
    assert all(abs(clip.n_samples - RATE_HZ) <= 1 for clip in clips)
    said = capsys.readouterr().err
    assert "broken.wav" in said
    assert "short.wav" in said


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no readable audio"):
        pack(tmp_path, tmp_path / "data")


@pytest.mark.parametrize("rate_hz", [24_000, 16_000])
def test_a_step_always_draws_the_same_batch(packed: Path, rate_hz: int) -> None:
    first, second = (Speech(packed, rate_hz, rate_hz // 2, batch=3) for _ in range(2))
    first.draw(0)
    assert torch.equal(first.draw(7)[0], second.draw(7)[0])
    assert not torch.equal(first.draw(7)[0], first.draw(8)[0])
    assert first.draw(7)[0].shape == (3, rate_hz // 2)


def test_clips_that_are_too_short_are_not_drawn(packed: Path) -> None:
    with pytest.raises(ValueError, match="no clip"):
        Speech(packed, RATE_HZ, 10 * RATE_HZ, batch=1)
