"""Sound from files: what comes in is mono at the rate asked for, and what is wrong with it is told."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.clients.audio_in import AudioInput
from sottovoce.clients.mixdown import mix_down, weights
from sottovoce.clients.wav import WavFormat, header, read_header, to_int16
from sottovoce.stream.errors import AudioFileError
from sottovoce.stream.frames import Pcm
from sottovoce.stream.resample import Resampler

RATE_HZ = 24_000


def tone(n_samples: int, rate_hz: int = RATE_HZ, hz: float = 440.0) -> Pcm:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(n_samples) / rate_hz)).astype(np.float32)


def read_all(path: Path, rate_hz: int = RATE_HZ) -> tuple[Pcm, list[str]]:
    with AudioInput(str(path), rate_hz) as sound:
        blocks = []
        while (block := sound.read()) is not None:
            blocks.append(block)
        return np.concatenate(blocks), sound.remarks()


def complaint(path: Path) -> str:
    with pytest.raises(AudioFileError) as caught:
        read_all(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("channels", range(1, 10))
def test_mixing_down_cannot_clip(channels: int) -> None:
    assert weights(channels).sum() == pytest.approx(1)
    assert np.allclose(mix_down(np.ones((5, channels), np.float32)), 1)


def test_the_centre_of_a_surround_sound_stands_out_and_its_bass_channel_is_left_out() -> None:
    share = weights(6)
    assert share[2] == max(share)
    assert share[3] == 0


@given(st.lists(st.integers(0, 700), min_size=1, max_size=8), st.sampled_from([8000, 16000, 44100, 48000]))
def test_blocks_do_not_matter_to_resampling(sizes: list[int], rate_hz: int) -> None:
    sound = tone(sum(sizes), rate_hz)
    whole, parts = Resampler(rate_hz, RATE_HZ), Resampler(rate_hz, RATE_HZ)
    one = np.concatenate([whole.push(sound), whole.finish()])
    ends = np.cumsum(sizes)
    many = np.concatenate([*(parts.push(b) for b in np.split(sound, ends[:-1])), parts.finish()])
    assert len(one) == len(many)
    assert np.allclose(one, many, atol=1e-5)
    assert abs(len(one) - len(sound) * RATE_HZ / rate_hz) <= 1


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_formats_that_libsndfile_knows_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(12_000), RATE_HZ)
    found, remarks = read_all(path)
    assert len(found) == 12_000
    assert np.allclose(found, soundfile.read(path, dtype="float32")[0], atol=1e-6)  # in blocks as at once
    assert np.sqrt(np.mean(found[2000:10_000] ** 2)) == pytest.approx(0.5**1.5, rel=0.05)
    assert not remarks


def test_8_khz_is_resampled(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(8000, 8000), 8000)
    found, _ = read_all(tmp_path / "a.wav")
    assert len(found) == RATE_HZ
    assert np.abs(found[2000:-2000] - tone(RATE_HZ)[2000:-2000]).max() < 0.01


def test_5_1_channels_are_mixed_down(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile(tone(4800, 48_000)[:, None], (1, 6)), 48_000)
    found, _ = read_all(tmp_path / "a.wav")
    assert len(found) == 2400
    assert np.abs(found).max() == pytest.approx(0.5, abs=0.02)


def test_a_missing_file_a_folder_and_a_text_are_refused(tmp_path: Path) -> None:
    assert "no such file" in complaint(tmp_path / "none.wav")
    assert "folder" in complaint(tmp_path)
    (tmp_path / "a.wav").write_text("no sound at all, only words, but enough of them to look into")
    assert "not a sound file" in complaint(tmp_path / "a.wav")


def test_an_empty_file_is_refused_whether_it_has_a_header_or_not(tmp_path: Path) -> None:
    (tmp_path / "none.wav").touch()
    assert "is empty" in complaint(tmp_path / "none.wav")
    (tmp_path / "header.wav").write_bytes(header(RATE_HZ, 0))
    assert "is empty" in complaint(tmp_path / "header.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_is_refused_and_located(tmp_path: Path, bad: float) -> None:
    sound = tone(RATE_HZ)
    sound[18_000] = bad
    soundfile.write(tmp_path / "a.wav", sound, RATE_HZ, "FLOAT")
    assert "sample 18000 (at 0.750 s) is not a number" in complaint(tmp_path / "a.wav")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-1, 1, 100_000), RATE_HZ)
    whole = bytearray((tmp_path / "a.flac").read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 40_000] = bytes(40_000)
    (tmp_path / "a.flac").write_bytes(whole)
    assert "damaged" in complaint(tmp_path / "a.flac")


def test_silence_and_overload_are_remarked_but_carried(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(1000), RATE_HZ)
    found, remarks = read_all(tmp_path / "a.wav")
    assert not found.any()
    assert "is silent" in remarks[0]
    soundfile.write(tmp_path / "b.wav", 4 * tone(1000), RATE_HZ, "FLOAT")
    found, remarks = read_all(tmp_path / "b.wav")
    assert np.abs(found).max() == 1
    assert "clipped" in remarks[0]


def test_what_was_read_in_part_is_not_called_silent(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros(RATE_HZ), tone(RATE_HZ)]), RATE_HZ)
    with AudioInput(str(tmp_path / "a.wav"), RATE_HZ) as sound:
        beginning = sound.read()
        assert beginning is not None
        assert not beginning.any()
        assert not sound.remarks()


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="there is no /dev/fd")
def test_a_pipe_gives_what_is_there_and_keeps_half_a_sample_for_later() -> None:
    reading, writing = os.pipe()
    samples = to_int16(tone(100)).tobytes()
    os.write(writing, header(RATE_HZ, 100) + samples[:1])
    with AudioInput(f"/dev/fd/{reading}", RATE_HZ) as sound:
        blocks = [sound.read()]
        os.write(writing, samples[1:])
        blocks += [sound.read()]
        assert sound.waits_on is None  # all is there, although the pipe stays open
        assert [None if block is None else len(block) for block in blocks] == [0, 100]
        assert np.allclose(np.concatenate([b for b in blocks if b is not None]), tone(100), atol=1e-4)
        rest = sound.read()
        assert rest is not None
        assert len(rest) == 0
        assert sound.read() is None
    os.close(reading)
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="there is no /dev/fd")
def test_a_pipe_that_does_not_block_is_no_shorter() -> None:
    reading, writing = os.pipe()
    os.write(writing, header(RATE_HZ))
    with AudioInput(f"/dev/fd/{reading}", RATE_HZ) as sound:
        assert sound.waits_on is not None
        os.set_blocking(sound.waits_on, False)
        nothing = sound.read()
        os.write(writing, to_int16(tone(100)).tobytes())
        os.close(writing)
        found = sound.read()
        assert nothing is not None
        assert len(nothing) == 0
        assert found is not None
        assert len(found) == 100
    os.close(reading)


@pytest.mark.parametrize(("subtype", "bits", "is_float"), [
    ("PCM_U8", 8, False), ("PCM_16", 16, False), ("PCM_24", 24, False), ("PCM_32", 32, False),
    ("FLOAT", 32, True), ("DOUBLE", 64, True),
])  # fmt: skip
def test_wav_from_a_pipe_is_what_libsndfile_reads(tmp_path: Path, subtype: str, bits: int, is_float: bool) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([tone(999), -tone(999)], axis=1), RATE_HZ, subtype)
    with path.open("rb") as file:
        wav = read_header(file.read)
        assert wav == WavFormat(RATE_HZ, 2, bits, is_float, 999 * 2 * bits // 8)
        found = wav.decode(file.read(wav.data_bytes or 0))
    assert np.allclose(found, soundfile.read(path, dtype="float32")[0], atol=1e-7)


@given(st.binary(max_size=200))
def test_no_bytes_upset_the_wav_header(garbage: bytes) -> None:
    for start in (b"", b"RIFF\xff\xff\xff\xffWAVE", b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16)):
        whole = iter([start + garbage])
        rest = bytearray(next(whole))

        def read(n: int, rest: bytearray = rest) -> bytes:
            taken = bytes(rest[:n])
            del rest[:n]
            return taken

        read_header(read)


def test_no_header_makes_it_hold_gigabytes() -> None:
    pieces = iter([b"RIFF\xff\xff\xff\xffWAVE", b"LIST\xf0\xff\xff\xff"])
    assert read_header(lambda _: next(pieces)) is None  # and asks for no more


def test_a_wav_of_unknown_length_says_so() -> None:
    head = header(RATE_HZ)
    assert len(head) == 44
    stream = [head]
    found = read_header(lambda n: (stream.__setitem__(0, stream[0][n:]), head[44 - n - len(stream[0]) :][:n])[1])
    assert found == WavFormat(RATE_HZ, 1, 16, False, None)


def test_samples_are_rounded_and_clipped() -> None:
    assert to_int16(np.array([-2, -1, 0, 1.6 / 32767, 1, 2], np.float32)).tolist() == [
        -32767,
        -32767,
        0,
        2,
        32767,
        32767,
    ]
