"""A few seconds of made speech-like sound, packed as training data; and tones with times, for what learns to talk."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sottovoce.models.checkpoint import save
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import TINY
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.models.vocoder import make_vocoder
from sottovoce.training.prepare import pack
from sottovoce.training.quality_rules import Limits
from sottovoce.training.takes import synthesised
from sottovoce.training.talk_data import Settings, write
from support.tones import teach
from support.voice import voice

RATE_HZ = 24_000


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as ``training.data`` writes it."""
    folder = tmp_path_factory.mktemp("clips")
    for i, pitch_hz in enumerate((110, 150, 210)):
        soundfile.write(folder / f"{i}.wav", voice(3.0, pitch_hz), RATE_HZ)
    pack(folder, out := tmp_path_factory.mktemp("data"), Limits(least_snr_db=0, least_bandwidth_hz=0))
    return out


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tones that a teacher might have spoken, with the times of all symbols."""
    return teach(tmp_path_factory.mktemp("teacher") / "tones", 30)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory, taught: Path) -> Path:
    """A codec and a vocoder of the preset ``tiny``, placed by the tones but not trained."""
    folder = tmp_path_factory.mktemp("weights")
    pcm = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in sorted((taught / "wavs").iterdir())])
    mel = whole(LogMel(TINY.mel), torch.from_numpy(pcm[: len(pcm) // TINY.frame_samples * TINY.frame_samples])[None])
    torch.manual_seed(0)
    net = MelCodec(TINY)
    net.start(mel)
    save(folder / "tiny-codec.safetensors", net, TINY, "codec", {})
    save(folder / "tiny-vocoder.safetensors", make_vocoder(TINY), TINY, "vocoder", {})
    return folder


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory, taught: Path, tiny_weights: Path) -> Path:
    """What a tiny talker learns from."""
    out = tmp_path_factory.mktemp("talk") / "data"
    write(list(synthesised(taught)), Settings("tiny", tiny_weights), out)
    return out
