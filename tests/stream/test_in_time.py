"""Whether sound comes in time, what the first of it waited for, and sound and pictures as bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.continuity import Continuities, Playout, share_within
from sottovoce.stream.errors import ProtocolError
from sottovoce.stream.first_audio import FirstAudio
from sottovoce.stream.frames import MEL_FLOOR
from sottovoce.stream.pictures import codes_bytes, mel_bytes
from sottovoce.stream.samples import from_bytes, to_bytes


def test_sound_in_time_has_no_underrun() -> None:
    playout = Playout()
    for i in range(100):
        playout.add(5 + 0.04 * i - 0.001 * (i % 3), 0.04 * i)
    assert playout.worst_underrun_ms == pytest.approx(0, abs=1e-6)


def test_the_worst_underrun_is_the_reserve_that_was_missing() -> None:
    playout = Playout()
    late_ms = [0, 3, 12.5, 7, 0]
    for i, ms in enumerate(late_ms):
        playout.add(5 + 0.04 * i + ms / 1000, 0.04 * i)
    assert playout.worst_underrun_ms == pytest.approx(12.5)


def test_a_maker_that_is_too_slow_gets_worse_and_worse() -> None:
    playout = Playout()
    for i in range(100):
        playout.add(0.044 * i, 0.04 * i)
    assert playout.worst_underrun_ms == pytest.approx(99 * 4)


def test_a_new_generation_begins_anew_and_forgets_no_fault() -> None:
    playout = Playout()
    playout.add(0.0, 0.0)
    playout.add(0.09, 0.04)
    playout.restart()
    playout.add(99.0, 0.0)
    playout.add(99.04, 0.04)
    assert playout.worst_underrun_ms == pytest.approx(50)


def test_shares_within_a_bound() -> None:
    assert share_within([0, 50, 50.1, 200], 50) == 0.5
    assert share_within([], 50) == 1


def test_running_and_ended_streams_count_and_old_ones_are_forgotten() -> None:
    streams = Continuities(recent=2)
    for late_s in (0.2, 0.03, 0.06):
        playout = Playout()
        streams.watch(playout)
        playout.add(0.0, 0.0)
        playout.add(late_s, 0.0)
        streams.end(playout)
    assert (streams.share_within(50), streams.share_within(100)) == (0.5, 1.0)
    running = Playout()
    streams.watch(running)
    running.add(0.0, 0.0)
    running.add(0.3, 0.0)
    assert streams.share_within(100) == pytest.approx(2 / 3)


def test_the_wait_for_the_first_sound_has_parts() -> None:
    first = FirstAudio()
    assert first.parts_ms() == {}
    for moment, now_s in (("given", 1.0), ("begun", 1.02), ("ready", 1.05), ("given", 9.0), ("received", 1.25)):
        first.mark(moment, now_s)  # type: ignore[arg-type]
    assert first.parts_ms() == pytest.approx({"queue": 20, "decode": 30, "network": 200})
    first.mark("written", 1.04)
    assert first.parts_ms() == pytest.approx({"queue": 20, "talker": 20, "decode": 10, "network": 200})


def test_leading_silence_ends_with_the_first_audible_sample() -> None:
    first = FirstAudio()
    assert not first.heard(np.full(1000, 0.003, np.float32), 1000)
    assert first.heard(np.array([0, 0, -0.004, 1], np.float32), 1000)
    assert not first.heard(np.ones(5, np.float32), 1000)
    assert first.silence_ms == 1002


@given(st.binary(max_size=200).filter(lambda data: len(data) % 2 == 0))
def test_16_bit_sound_comes_back_as_it_was(data: bytes) -> None:
    pcm = from_bytes(data, "s16le")
    assert pcm.dtype == np.float32
    assert (np.abs(pcm) <= 1).all()
    assert to_bytes(pcm, "s16le") == data


def test_sound_is_rounded_and_clipped() -> None:
    pcm = np.array([-2, -1, -0.6 / 32768, 0.4 / 32768, 1, 2], np.float32)
    assert np.frombuffer(to_bytes(pcm, "s16le"), "<i2").tolist() == [-32768, -32768, -1, 0, 32767, 32767]
    assert from_bytes(to_bytes(pcm, "f32le"), "f32le").tolist() == np.clip(pcm, -1, 1).tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_sound(value: float) -> None:
    with pytest.raises(ProtocolError):
        from_bytes(np.array([0, value], "<f4").tobytes(), "f32le")


def test_pictures_are_half_decibels_above_the_floor() -> None:
    decibels = np.array([[-140, -100, -99.5, 0], [27.5, 90, -50, -75.2]])
    mel = (decibels + 100) * np.log(10) / 20 + MEL_FLOOR
    assert list(mel_bytes(mel.astype(np.float32))) == [0, 0, 1, 200, 255, 255, 100, 50]
    assert codes_bytes(np.array([[5, -1]], np.int16)) == b"\x05\x00\xff\xff"
