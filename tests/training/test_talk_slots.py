"""Where in time a symbol belongs: checked on sound, through the front end that codec and talker share."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.models.config import BASE, MICRO, Preset
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.training.talk_slots import middle_s, n_slots, slot_at, slots_of


@pytest.mark.parametrize("preset", [BASE, MICRO], ids=lambda preset: preset.name)
@given(at=st.integers(1200, 20_000))
def test_a_click_is_loudest_in_the_slot_of_its_symbol(preset: Preset, at: int) -> None:
    """A symbol of one hop around a click owns the very mel frame in which the click is loudest."""
    mel = preset.mel
    total = n_slots(24_000, preset)
    pcm = np.zeros(total * mel.hop, np.float32)
    pcm[at] = 0.5
    energy = whole(LogMel(mel), torch.from_numpy(pcm)[None])[0].sum(0)
    edges = np.array([at - mel.hop // 2, at + mel.hop - mel.hop // 2, 24_000]) / mel.rate_hz
    slots = slots_of(np.diff(edges, prepend=0), total, mel)
    assert slots[1] == 1
    loudest = float(energy.max())
    assert float(energy[slots[0]]) == pytest.approx(loudest, abs=1e-3)


def test_the_first_middles_lie_before_the_sound_and_the_last_behind_it() -> None:
    middles = middle_s(np.arange(n_slots(24_000, BASE)), BASE.mel)
    assert middles[0] == pytest.approx(0.010 - 0.512 / 24)
    assert middles[-1] >= 1.0 - 1e-9
    assert int(slot_at(0, BASE.mel)) == 2
    assert n_slots(24_000, BASE) % BASE.mels_per_frame == 0


@given(st.lists(st.integers(0, 12), min_size=1, max_size=200))
def test_errors_of_rounding_never_add_up(grid: list[int]) -> None:
    durations = np.array(grid) * 0.025
    total = n_slots(int(durations.sum() * 24_000), BASE)
    slots = slots_of(durations, total, BASE.mel)
    assert slots.sum() == total
    ends_s = middle_s(np.cumsum(slots), BASE.mel)[:-1]
    assert np.all(np.abs(ends_s - np.cumsum(durations)[:-1]) <= 0.0214)
    inside = np.cumsum(durations)[:-1] > 0.02
    assert np.all((ends_s - np.cumsum(durations)[:-1])[inside] < 0.010 + 1e-9)
    assert np.all((ends_s - np.cumsum(durations)[:-1])[inside] >= -1e-9)


def test_a_delay_of_the_codec_moves_all_symbols() -> None:
    durations = np.array([0.1, 0.2, 0.3])
    plain, late = (slots_of(durations, 100, BASE.mel, delay) for delay in (0, 960))
    assert late.tolist() == [plain[0] + 4, plain[1], plain[2] - 4]


@pytest.mark.parametrize("durations", [[], [0.1, -0.1], [float("nan")], [float("inf")], [3.0]])
def test_durations_that_cannot_be_are_refused(durations: list[float]) -> None:
    with pytest.raises(ValueError, match="durations"):
        slots_of(np.array(durations), 100, BASE.mel)
