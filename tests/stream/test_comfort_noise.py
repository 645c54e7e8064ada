"""The background in eleven bytes: measured truly, packed truly, nothing else accepted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.comfort_noise import (
    BANDS,
    COMFORT_NOISE_BYTES,
    LEAST_DB,
    Background,
    ComfortNoise,
    band_edges_hz,
    unpack,
)
from sottovoce.stream.errors import PacketError

RATES = [(24_000, 960), (16_000, 256)]


@given(
    st.integers(0, 15),
    st.integers(0, 0xFFFF),
    st.tuples(*[st.integers(0, 255).map(lambda n: LEAST_DB + n / 2) for _ in range(BANDS)]),
)
def test_what_was_packed_comes_back(preset: int, seq: int, levels_db: tuple[float, ...]) -> None:
    noise = ComfortNoise(preset, seq, levels_db)
    packed = noise.pack()
    assert len(packed) == COMFORT_NOISE_BYTES == 11
    assert packed[0] >> 4 == 2
    assert unpack(packed) == noise


def test_levels_are_rounded_and_stop_at_the_ends() -> None:
    levels = (-300.0, 9.0, -60.2, -60.3, -0.1, -127.4, -1.0, -64.0)
    assert unpack(ComfortNoise(0, 0, levels).pack()).levels_db == (-127.5, 0.0, -60.0, -60.5, 0.0, -127.5, -1.0, -64.0)


@given(st.binary(max_size=20))
def test_any_bytes_are_comfort_noise_or_refused(noise: bytes) -> None:
    try:
        assert unpack(noise).pack() == noise
    except PacketError:
        assert len(noise) != 11 or noise[0] >> 4 != 2


@pytest.mark.parametrize(
    "noise", [ComfortNoise(16, 0, (0.0,) * 8), ComfortNoise(0, 65536, (0.0,) * 8), ComfortNoise(0, 0, (0.0,))]
)
def test_what_does_not_fit_is_not_packed(noise: ComfortNoise) -> None:
    with pytest.raises(PacketError):
        noise.pack()


@pytest.mark.parametrize(("rate_hz", "frame_samples"), RATES)
def test_bands_of_white_noise_add_up_to_its_power(rate_hz: int, frame_samples: int) -> None:
    background = Background(rate_hz, frame_samples)
    noise = 0.01 * np.random.default_rng(0).standard_normal((200, frame_samples))
    levels = []
    for frame in noise.astype(np.float32):
        background.add(frame)
        assert background.levels_db is not None
        levels.append(background.levels_db)
    powers = 10 ** (np.array(levels[50:]) / 10)
    # the follower falls faster than it rises, so it lies below the mean; never far
    assert -4 < 10 * np.log10(powers.sum(1).mean() / np.mean(noise**2)) < 0.5


@pytest.mark.parametrize(("rate_hz", "frame_samples"), RATES)
@pytest.mark.parametrize("band", range(BANDS))
def test_a_tone_is_in_its_band_at_its_level(rate_hz: int, frame_samples: int, band: int) -> None:
    edges_hz = band_edges_hz(rate_hz)
    tone_hz = (edges_hz[band] + edges_hz[band + 1]) / 2
    t = np.arange(10 * frame_samples) / rate_hz
    background = Background(rate_hz, frame_samples)
    for frame in (0.1 * np.sin(2 * np.pi * tone_hz * t)).astype(np.float32).reshape(10, -1):
        background.add(frame)
    assert background.levels_db is not None
    assert np.argmax(background.levels_db) == band
    assert max(background.levels_db) == pytest.approx(-23.0, abs=1.5)  # a sine of 0.1
    assert edges_hz[0] == 0
    assert edges_hz[-1] == pytest.approx(rate_hz / 2)


def test_a_background_falls_at_once_and_rises_slowly() -> None:
    background = Background(24_000, 960)
    random = np.random.default_rng(1)

    def heard(level: float, frames: int) -> float:
        for _ in range(frames):
            background.add((level * random.standard_normal(960)).astype(np.float32))
        assert background.levels_db is not None
        return float(10 * np.log10(np.sum(10 ** (np.array(background.levels_db) / 10))))

    assert heard(0.1, 25) == pytest.approx(-20, abs=3)
    assert heard(0.001, 25) < -50  # a second later the voice is out of it
    assert heard(0.1, 1) < -28
    assert heard(0.1, 50) == pytest.approx(-20, abs=3)


def test_silence_has_levels_and_nothing_heard_has_none() -> None:
    background = Background(24_000, 960)
    assert background.levels_db is None
    background.add(np.zeros(960, np.float32))
    assert background.levels_db == (LEAST_DB,) * BANDS
