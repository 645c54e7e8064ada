"""A few seconds of made speech-like sound, packed as training data."""

from pathlib import Path

import pytest
import soundfile

from sottovoce.training.prepare import pack
from sottovoce.training.quality_rules import Limits
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
