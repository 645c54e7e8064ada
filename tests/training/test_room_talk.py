"""A talk of clips, and every clip found again in what was heard, however late."""

import numpy as np
import pytest

from sottovoce.training.metrics import RATE_HZ
from sottovoce.training.recordings import Pcm, Recording
from sottovoce.training.room_calls import file_name
from sottovoce.training.room_talk import PAUSE_S, Talk


def clip(name: str, seconds: float, seed: int) -> Recording:
    """Noise whose loudness wanders, as that of speech does: no two stretches are alike."""
    random = np.random.default_rng(seed)
    n = round(seconds * RATE_HZ)
    loudness = np.repeat(random.uniform(0, 1, n // 800 + 1), 800)[:n] ** 3
    pcm = (0.3 * loudness * random.standard_normal(n)).clip(-1, 1).astype(np.float32)
    return Recording(name, pcm, RATE_HZ, name)


@pytest.fixture(scope="module")
def talk() -> Talk:
    return Talk([clip("a", 2.0, 1), clip("b", 3.0, 2), clip("c", 1.5, 3)], RATE_HZ)


def test_a_talk_is_its_clips_and_the_pauses(talk: Talk) -> None:
    assert len(talk.pcm) == round((2 + 3 + 1.5 + 4 * PAUSE_S) * RATE_HZ)
    clips, late_s = talk.found(talk.pcm, RATE_HZ)
    assert late_s == [0.0, 0.0, 0.0]
    for found, recording in zip(clips, talk.recordings, strict=True):
        assert np.abs(found - recording.pcm).max() < 0.01  # the noise of the room


@pytest.mark.parametrize("late_s", [-0.5, 11.0])
def test_clips_are_found_however_late(talk: Talk, late_s: float) -> None:
    n = round(late_s * RATE_HZ)
    heard: Pcm = np.concatenate([np.zeros(n, np.float32), talk.pcm]) if n >= 0 else talk.pcm[-n:]
    clips, found_s = talk.found(heard, RATE_HZ)
    assert found_s == pytest.approx([late_s] * 3)
    assert all(np.abs(found - one.pcm).max() < 0.01 for found, one in zip(clips, talk.recordings, strict=True))


def test_each_clip_may_be_late_by_itself(talk: Talk) -> None:
    cut = round((2 + 1.5 * PAUSE_S) * RATE_HZ)
    heard = np.concatenate([talk.pcm[:cut], np.zeros(RATE_HZ // 5, np.float32), talk.pcm[cut:]])
    assert talk.found(heard, RATE_HZ)[1] == pytest.approx([0.0, 0.2, 0.2])


def test_what_was_not_heard_is_silence(talk: Talk) -> None:
    clips, _ = talk.found(np.zeros(RATE_HZ, np.float32), RATE_HZ)
    assert [len(found) for found in clips] == [len(recording.pcm) for recording in talk.recordings]
    assert not any(found.any() for found in clips)


def test_names_of_files_hold_nothing_but_words() -> None:
    assert file_name("normal, faded 10 %, sealed (mosquitto)") == "normal-faded-10-sealed-mosquitto"
