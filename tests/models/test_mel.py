"""The one log-mel: equal to librosa's, without look-ahead."""

import librosa
import numpy as np
import pytest
import torch

from sottovoce.models.bands import slaney_filterbank
from sottovoce.models.config import BASE, MICRO, Preset
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole


@pytest.mark.parametrize("preset", [BASE, MICRO], ids=lambda preset: preset.name)
def test_it_is_librosas(preset: Preset) -> None:
    config = preset.mel
    pcm = np.random.default_rng(0).standard_normal(config.hop * 40).astype(np.float32) * 0.1
    theirs = librosa.feature.melspectrogram(
        y=np.pad(pcm, (config.n_fft - config.hop, 0)), sr=config.rate_hz, n_fft=config.n_fft,
        hop_length=config.hop, n_mels=config.n_mels, center=False, power=1.0,
    )  # fmt: skip
    ours = whole(LogMel(config), torch.from_numpy(pcm)[None])[0]
    np.testing.assert_allclose(ours.numpy(), np.log(np.maximum(theirs, config.floor)), atol=1e-3)


@pytest.mark.parametrize("preset", [BASE, MICRO], ids=lambda preset: preset.name)
def test_no_band_is_empty(preset: Preset) -> None:
    assert (slaney_filterbank(preset.mel).sum(-1) > 0).all()


def test_a_frame_hears_nothing_that_comes_after_it() -> None:
    mel, hop = LogMel(BASE.mel), BASE.mel.hop
    pcm = torch.randn(1, hop * 10) * 0.1
    changed = pcm.clone()
    changed[:, hop * 6 :] = 0
    assert torch.equal(whole(mel, pcm)[..., :6], whole(mel, changed)[..., :6])
    assert not torch.equal(whole(mel, pcm)[..., 6:], whole(mel, changed)[..., 6:])


def test_silence_is_the_floor() -> None:
    assert torch.allclose(whole(LogMel(BASE.mel), torch.zeros(1, 2400)), torch.tensor(-11.5129), atol=1e-3)


def test_half_a_hop_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of hop 240"):
        whole(LogMel(BASE.mel), torch.zeros(1, 100))
