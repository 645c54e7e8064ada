"""The delay that a codec states is the one that its sound has."""

import dataclasses

import pytest
import torch.nn.functional as F
from torch import Tensor

from sottovoce.models.checkpoint import load_codec
from sottovoce.models.codec import Codec, MelCodec
from sottovoce.models.config import BASE, MICRO, VOCODERS, Preset
from sottovoce.models.griffin_lim import GriffinLim, StreamingGriffinLim
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import Streaming, whole
from sottovoce.models.vocoder import make_vocoder
from support.clip import speech

STEP_MS = 2


def measured_delay(mel: Streaming, heard: Tensor, original: Tensor, rate_hz: int) -> int:
    """Samples by which the original must be shifted to look most like what was heard."""
    there = whole(mel, heard)
    step = rate_hz * STEP_MS // 1000
    distances = {}
    for shift in range(0, rate_hz // 10, step):
        shifted = F.pad(original, (shift, 0))[:, : original.shape[-1]]
        distances[shift] = float((whole(mel, shifted) - there).abs().mean())
    return min(distances, key=lambda shift: distances[shift])


@pytest.mark.parametrize("preset", [BASE, MICRO], ids=lambda preset: preset.name)
def test_griffin_lim_is_as_late_as_it_says(preset: Preset) -> None:
    mel = LogMel(preset.mel)
    pcm = speech(preset.rate_hz, preset.frame_samples)
    tolerance = 2 * preset.rate_hz * STEP_MS // 1000
    sound = StreamingGriffinLim(preset.mel)
    late = measured_delay(mel, whole(sound, whole(mel, pcm)), pcm, preset.rate_hz)
    assert abs(late - (mel.delay + sound.delay)) <= tolerance
    offline = measured_delay(mel, GriffinLim(preset.mel)(whole(mel, pcm)), pcm, preset.rate_hz)
    assert abs(offline - mel.delay) <= tolerance


@pytest.mark.parametrize("name", ["base", "micro"])
def test_the_shipped_codec_is_as_late_as_it_says(name: str) -> None:
    codec = load_codec(name)
    pcm = speech(codec.preset.rate_hz, codec.preset.frame_samples)
    late = measured_delay(codec.mel, whole(codec, pcm), pcm, codec.preset.rate_hz)
    assert abs(late - codec.delay) <= 2 * codec.preset.rate_hz * STEP_MS // 1000


@pytest.mark.parametrize(("preset", "most_ms"), [(BASE, 65), (MICRO, 55)], ids=["base", "micro"])
@pytest.mark.parametrize("kind", ["hifigan", "vocos"])
def test_with_a_neural_vocoder_the_delay_is_the_promised_one(preset: Preset, most_ms: float, kind: str) -> None:
    preset = dataclasses.replace(preset, vocoder=VOCODERS[preset.name][kind])
    codec = Codec(MelCodec(preset), make_vocoder(preset), "")
    assert (codec.delay + preset.frame_samples) / preset.rate_hz * 1000 <= most_ms
