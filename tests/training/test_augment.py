"""The codec's input is spoiled, in line with the target, and the same again after a resume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from sottovoce.training.augment import Augment, AugmentConfig, AugmentError, in_band, in_room
from support.voice import voice

RATE_HZ = 24_000
OFF = AugmentConfig(noise_share=0, room_share=0, band_share=0, level_share=0)


@pytest.fixture(scope="module")
def noise_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two noises at two rates, and a room whose direct sound comes 100 samples late."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    for name in ("rain", "rir"):
        (folder / name).mkdir()
    soundfile.write(folder / "rain" / "a.flac", random.normal(0, 0.1, 12_000), RATE_HZ)
    soundfile.write(folder / "rain" / "b.wav", random.normal(0, 0.1, (12_000, 2)), 44_100)
    response = np.zeros(4_000)
    response[100], response[1_300] = 0.9, 0.4
    soundfile.write(folder / "rir" / "hall.wav", response, RATE_HZ, subtype="FLOAT")
    return folder


def batch() -> Tensor:
    return torch.from_numpy(np.stack([voice(1.0, pitch) for pitch in (110, 150, 200, 240)]))


def test_a_step_draws_the_same_again_and_another_step_another(noise_folder: Path) -> None:
    config = AugmentConfig(noise_share=1, room_share=0.5, band_share=0.5, level_share=0.5)
    first, resumed = (Augment(config, noise_folder, RATE_HZ) for _ in range(2))
    first.input(batch(), 3)
    assert torch.equal(first.input(batch(), 7), resumed.input(batch(), 7))
    assert not torch.equal(first.input(batch(), 7), first.input(batch(), 8))
    other_seed = Augment(replace(config, seed=1), noise_folder, RATE_HZ)
    assert not torch.equal(first.input(batch(), 7), other_seed.input(batch(), 7))
    assert first.input(batch(), -1).shape == batch().shape


@pytest.mark.parametrize("step", [0, 7])
def test_what_is_spoiled_has_nothing_to_do_with_what_is_drawn(noise_folder: Path, step: int) -> None:
    augment = Augment(AugmentConfig(seed=5), noise_folder, RATE_HZ)
    drawn = np.random.default_rng((5, step)).random(4)  # as ``Speech`` begins
    rows = [augment._random(step, row).random(4) for row in range(3)]
    assert len({float(x) for row in (drawn, *rows) for x in row}) == 16


def test_rooms_are_told_by_folders_below_the_noise_folder(noise_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rir").mkdir()
    (tmp_path / "rir" / "noise").symlink_to(noise_folder)
    for folder in (noise_folder, tmp_path / "rir" / "noise"):
        augment = Augment(OFF, folder, RATE_HZ)
        assert (len(augment.noises), len(augment.rooms)) == (2, 1)


def test_the_target_is_not_touched_and_nothing_asked_for_changes_nothing(noise_folder: Path) -> None:
    pcm, before = batch(), batch()
    heard = Augment(AugmentConfig(noise_share=1, room_share=1, band_share=1), noise_folder, RATE_HZ).input(pcm, 0)
    assert torch.equal(pcm, before)
    assert not torch.equal(heard, before)
    assert float(heard.abs().max()) <= 1
    assert torch.equal(Augment(OFF, None, RATE_HZ).input(pcm, 0), before)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 25.0])
def test_noise_comes_at_the_ratio_that_was_asked_for(noise_folder: Path, snr_db: float) -> None:
    augment = Augment(replace(OFF, noise_share=1, snr_db=(snr_db, snr_db)), noise_folder, RATE_HZ)
    noise = augment.input(batch(), 0) - batch()
    ratio_db = 10 * torch.log10(batch().square().mean(-1) / noise.square().mean(-1))
    assert torch.allclose(ratio_db, torch.full((4,), snr_db), atol=0.2)


def test_about_as_many_rows_are_changed_as_were_asked_for(noise_folder: Path) -> None:
    augment, clean = Augment(replace(OFF, noise_share=0.3), noise_folder, RATE_HZ), batch()
    changed = sum(int((augment.input(clean, step) != clean).any(-1).sum()) for step in range(50))
    assert 40 <= changed <= 80  # of 200: 60, give or take three deviations


@pytest.mark.parametrize("kind", ["room_share", "band_share", "noise_share"])
def test_what_is_heard_stays_in_line_with_the_target(noise_folder: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    pcm = torch.from_numpy(random.normal(0, 0.1, (4, 8_000)).astype(np.float32))  # its own best ruler
    config = replace(OFF, **{kind: 1.0}, snr_db=(10.0, 10.0))
    heard = Augment(config, noise_folder, RATE_HZ).input(pcm, 0)
    for clean, spoiled in zip(pcm.numpy(), heard.numpy(), strict=True):
        assert int(np.correlate(spoiled, clean, "full").argmax()) - (len(clean) - 1) == 0


def test_a_room_is_as_loud_as_before_and_echoes_later() -> None:
    click = np.zeros(4_000, np.float32)
    click[500] = 0.5
    room = np.zeros(2_000, np.float32)
    room[0], room[1_200] = 1.0, 0.5
    wet = in_room(click, room)
    assert np.flatnonzero(np.abs(wet) > 1e-4).tolist() == [500, 1_700]
    assert np.square(wet).sum() == pytest.approx(np.square(click).sum(), rel=1e-4)


def test_a_band_keeps_its_inside_and_loses_its_outside() -> None:
    t = np.arange(RATE_HZ) / RATE_HZ
    inside, outside = np.sin(2 * np.pi * 1_000 * t), np.sin(2 * np.pi * 6_000 * t) + np.sin(2 * np.pi * 50 * t)
    heard = in_band((inside + outside).astype(np.float32), RATE_HZ, 200, 3_400)
    middle = slice(4_000, -4_000)
    assert np.abs(heard - inside)[middle].max() < 0.01


def test_silence_gets_some_noise_and_no_infinity(noise_folder: Path) -> None:
    config = AugmentConfig(noise_share=1, room_share=1, band_share=1, level_share=1)
    heard = Augment(config, noise_folder, RATE_HZ).input(torch.zeros(2, 4_800), 0)
    assert torch.isfinite(heard).all()
    assert 0 < float(heard.abs().max()) < 0.01


def test_what_cannot_be_had_is_said(tmp_path: Path, noise_folder: Path) -> None:
    with pytest.raises(AugmentError, match="no recordings of noise"):
        Augment(replace(OFF, noise_share=0.1), tmp_path, RATE_HZ)
    with pytest.raises(AugmentError, match="no impulse responses"):
        Augment(replace(OFF, room_share=0.1), noise_folder / "rain", RATE_HZ)
    with pytest.raises(AugmentError, match="noise_share"):
        Augment(replace(OFF, noise_share=1.5), noise_folder, RATE_HZ)
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(AugmentError, match=r"broken.wav.*cannot be read"):
        Augment(OFF, tmp_path, RATE_HZ)
    (tmp_path / "broken.wav").unlink()
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), RATE_HZ)
    with pytest.raises(AugmentError, match="silent"):
        Augment(OFF, tmp_path, RATE_HZ)
