"""The background: as loud as it was described, band by band, and there just when speech is not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sottovoce.stream.comfort_noise import BANDS, ComfortNoise, band_edges_hz
from sottovoce.stream.comfort_sound import ComfortSound
from sottovoce.stream.conceal import SILENT_DB
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.play_frame import PlayFrame
from support.simulated_room import LEVELS_DB, D

N = D.frame_samples


def frame(attenuation_db: float, background: ComfortNoise | None) -> PlayFrame:
    silent = attenuation_db == SILENT_DB
    codes = np.full(3, -1 if silent else 1, np.int16)
    return PlayFrame("silence" if silent else "codes", codes, attenuation_db, False, False, False, background)


def noise(*levels_db: float) -> ComfortNoise:
    return ComfortNoise(0, 0, levels_db)


def seconds_of(comfort: ComfortSound, background: ComfortNoise | None, seconds: float = 8.0) -> np.ndarray:
    return np.concatenate([comfort.under(None, frame(SILENT_DB, background)) for _ in range(int(seconds * 25))])


@pytest.mark.parametrize(
    "levels_db",
    [LEVELS_DB, tuple(-40.0 - 5 * i for i in range(BANDS)), tuple(-80.0 + 5 * i for i in range(BANDS))],
)
@pytest.mark.parametrize(("rate_hz", "frame_samples"), [(24_000, 960), (16_000, 256)])
def test_what_was_described_is_heard_band_by_band(
    levels_db: tuple[float, ...], rate_hz: int, frame_samples: int
) -> None:
    descriptor = Descriptor("base", "0123456789ab", rate_hz, frame_samples, 4, 128, 3, 1024, 0)
    comfort = ComfortSound(descriptor)
    sound = np.concatenate([comfort.under(None, frame(SILENT_DB, noise(*levels_db))) for _ in range(400)])
    power = 2 * np.abs(np.fft.rfft(sound.astype(np.float64)) / len(sound)) ** 2  # Parseval: sums to the mean square
    hz = np.fft.rfftfreq(len(sound), 1 / rate_hz)
    heard_db = [10 * np.log10(power[(hz >= low) & (hz < high)].sum()) for low, high in pairwise(band_edges_hz(rate_hz))]
    assert np.abs(np.array(heard_db) - levels_db).max() < 0.7


def test_its_loudness_does_not_flutter() -> None:
    sound = seconds_of(ComfortSound(D), noise(*LEVELS_DB)).astype(np.float64)
    tenths_db = 10 * np.log10(np.mean(sound.reshape(-1, 2400) ** 2, axis=1))
    assert tenths_db[1:].std() < 0.8
    assert np.abs(tenths_db[0] - tenths_db[1:].mean()) < 3  # it comes up within the first frame


def test_speech_is_not_touched() -> None:
    comfort = ComfortSound(D)
    speech = np.sin(np.arange(N)).astype(np.float32)
    for background in (None, noise(*LEVELS_DB)):
        np.testing.assert_array_equal(comfort.under(speech, frame(0.0, background)), speech)


def test_without_a_description_silence_is_nothing() -> None:
    assert not seconds_of(ComfortSound(D), None, 0.4).any()


def test_it_comes_as_speech_is_faded_and_goes_when_that_is_back() -> None:
    comfort = ComfortSound(D)
    nothing = np.zeros(N, np.float32)
    background = noise(*[-40.0] * BANDS)
    levels_db = []
    for attenuation_db in (0.0, 8.0, 32.0, 72.0, 128.0, SILENT_DB, SILENT_DB, 0.0, 0.0, 0.0):
        pcm = None if attenuation_db == SILENT_DB else nothing
        sound = comfort.under(pcm, frame(attenuation_db, background)).astype(np.float64)
        levels_db.append(10 * np.log10(np.mean(sound**2) + 1e-12))
    assert levels_db[0] == -120
    assert levels_db[1] > -50
    assert all(level == pytest.approx(-31, abs=3) for level in levels_db[2:7])
    assert levels_db[7] < -22  # on its way out
    assert levels_db[8:] == [-120, -120]


def test_sound_that_breaks_off_makes_no_click() -> None:
    comfort = ComfortSound(D)
    comfort.under(np.full(N, 0.4, np.float32), frame(0.0, None))
    after = comfort.under(None, frame(SILENT_DB, None))
    assert after[0] == pytest.approx(0.4, abs=0.01)
    assert np.abs(np.diff(after)).max() < 0.005
    assert not after[150:].any()


def test_a_change_of_the_background_is_followed() -> None:
    comfort = ComfortSound(D)
    seconds_of(comfort, noise(*[-30.0] * BANDS), 1)
    seconds_of(comfort, noise(*[-60.0] * BANDS), 0.04)  # in which the old one fades
    quiet = seconds_of(comfort, noise(*[-60.0] * BANDS), 1)
    assert 10 * np.log10(np.mean(quiet.astype(np.float64) ** 2)) == pytest.approx(-51, abs=0.8)


def test_the_loudest_description_is_a_quiet_background() -> None:
    sound = seconds_of(ComfortSound(D), noise(*[0.0] * BANDS), 1)
    assert np.isfinite(sound).all()
    assert 20 * np.log10(np.sqrt((sound**2).mean())) < -25


def test_a_piece_that_is_no_frame_is_refused() -> None:
    with pytest.raises(ValueError):
        ComfortSound(D).under(np.zeros(N - 1, np.float32), frame(0.0, None))
