"""The program from outside: what goes in, what comes out, and how it fails. On the echo engine, without torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.program import command, refused, run

ECHO = ("--backend", "echo")


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """Two seconds that rise and fall like syllables, 22 050 Hz stereo."""
    t = np.arange(2 * 22_050) / 22_050
    sound = 0.4 * np.sin(2 * np.pi * (200 * t + 300 * t**2)) * np.sin(2 * np.pi * 2 * t) ** 2
    path = tmp_path / "voice.wav"
    soundfile.write(path, np.stack([sound, sound], axis=1), 22_050)
    return path


@pytest.mark.parametrize("books", ["8", "3"])
def test_a_loopback_and_encode_then_decode_give_the_same_file(tmp_path: Path, voice: Path, books: str) -> None:
    assert run("loopback", *ECHO, "--input", voice, "--output", tmp_path / "a.wav", "--books", books).returncode == 0
    assert run("encode", *ECHO, voice, tmp_path / "v.sv", "--books", books).returncode == 0
    assert run("decode", tmp_path / "v.sv", tmp_path / "b.wav").returncode == 0
    found, rate_hz = soundfile.read(tmp_path / "a.wav")
    assert len(found) == 2 * rate_hz
    assert np.abs(found).max() > 0.1
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_fewer_books_can_be_taken_when_decoding(tmp_path: Path, voice: Path) -> None:
    run("encode", *ECHO, voice, tmp_path / "8.sv")
    run("encode", *ECHO, voice, tmp_path / "2.sv", "--books", "2")
    assert run("decode", tmp_path / "8.sv", tmp_path / "8.wav", "--books", "2").returncode == 0
    run("decode", tmp_path / "2.sv", tmp_path / "2.wav")
    assert (tmp_path / "8.wav").read_bytes() == (tmp_path / "2.wav").read_bytes()


def test_pipes_carry_the_same_as_files(tmp_path: Path, voice: Path) -> None:
    run("encode", *ECHO, voice, tmp_path / "v.sv")
    codes = run("encode", *ECHO, "-", "-", input=voice.read_bytes())
    assert codes.stdout == (tmp_path / "v.sv").read_bytes(), codes.stderr
    run("decode", tmp_path / "v.sv", tmp_path / "v.wav")
    sound = run("decode", "-", "-", input=codes.stdout)
    assert sound.stdout[44:] == (tmp_path / "v.wav").read_bytes()[44:], sound.stderr
    flac = tmp_path / "voice.flac"  # needs seeking: spooled
    soundfile.write(flac, *soundfile.read(voice))
    assert run("encode", *ECHO, "-", "-", input=flac.read_bytes()).stdout == codes.stdout
    with voice.open("rb") as file:  # redirected
        assert run("encode", *ECHO, "-", "-", stdin=file).stdout == codes.stdout


def test_the_summary_goes_where_the_sound_does_not(voice: Path) -> None:
    result = run("loopback", *ECHO, "--input", voice, "--output", "-", "--loss", "0.3", "--report")
    assert result.stdout.startswith(b"RIFF")
    for part in (b"delay", b"bit/s", b"real-time factor", b"packets (", b"ESTOI 0.", b"log-mel distance"):
        assert part in result.stderr


def test_a_picture_is_drawn(tmp_path: Path, voice: Path) -> None:
    picture = tmp_path / "p.png"
    result = run("loopback", *ECHO, "--input", voice, "--output", tmp_path / "o.wav", "--picture", picture)
    assert result.returncode == 0, result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    refused(run("loopback", *ECHO, "--input", voice, "--output", "-", "--picture", tmp_path / "p.xyz"), 2, ".xyz")


def test_seconds_end_it(tmp_path: Path, voice: Path) -> None:
    run("loopback", *ECHO, "--input", voice, "--output", tmp_path / "o.wav", "--seconds", "0.5")
    assert soundfile.info(tmp_path / "o.wav").duration == 0.5


def test_info_tells_codes_weights_and_sound_apart(tmp_path: Path, voice: Path) -> None:
    run("encode", *ECHO, voice, tmp_path / "codes", "--books", "5")
    text = run("info", tmp_path / "codes").stdout.decode()
    assert "echo 000000000000" in text
    assert "books sent     5" in text
    assert "2.00 s (32000 samples)" in text
    header = json.dumps(
        {"__metadata__": {"preset": "base"}, "w": {"dtype": "F16", "shape": [3, 4], "data_offsets": [0, 24]}}
    ).encode()
    (tmp_path / "weights").write_bytes(len(header).to_bytes(8, "little") + header + bytes(24))
    text = run("info", tmp_path / "weights").stdout.decode()
    assert "parameters     12" in text
    assert "preset         base" in text
    assert "channels       2" in run("info", voice).stdout.decode()
    refused(run("info", Path(__file__)), 3, "neither codes, weights nor a sound file")


def test_bench_prints_its_conditions() -> None:
    result = json.loads(run("bench", *ECHO, "--steps", "20", "--warm-up", "2", "--json").stdout)
    assert set(result["codec"][0]["stages"]) == {"mel", "encode", "decode", "vocode", "all"}
    assert result["conditions"]["n"] == 20
    assert result["codec"][0]["core_percent"] >= 0
    assert b"% of one core" in run("bench", *ECHO, "--steps", "20").stdout


def test_bad_sound_is_refused_and_leaves_nothing(tmp_path: Path, voice: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "nan.wav", np.full(50_000, np.nan), 16_000, "FLOAT")
    for name, words in [("none.wav", "no such file"), ("empty.wav", "empty"), ("nan.wav", "not a number")]:
        refused(run("encode", *ECHO, tmp_path / name, out / "a.sv"), 3, name, words)
        refused(run("loopback", *ECHO, "--input", tmp_path / name, "--output", out / "a.wav"), 3, name, words)
    refused(run("encode", *ECHO, voice, tmp_path / "none" / "a.sv"), 4, "folder does not exist")
    assert os.listdir(out) == []


def test_silence_is_carried_with_a_note(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(16_000), 16_000)
    result = run("loopback", *ECHO, "--input", tmp_path / "s.wav", "--output", tmp_path / "o.wav", "--report")
    assert result.returncode == 0
    assert b"is silent" in result.stderr
    assert b"ESTOI not measurable" in result.stdout


def test_a_truncated_code_file_gives_what_there_is_and_says_so(tmp_path: Path, voice: Path) -> None:
    run("encode", *ECHO, voice, tmp_path / "v.sv")
    whole = (tmp_path / "v.sv").read_bytes()
    (tmp_path / "cut.sv").write_bytes(whole[: len(whole) * 2 // 3])
    refused(run("decode", tmp_path / "cut.sv", tmp_path / "o.wav"), 4, "cut off after", "is decoded")
    assert 0.5 < soundfile.info(tmp_path / "o.wav").duration < 2
    refused(run("info", tmp_path / "cut.sv"), 4, "cut off after")


def test_a_foreign_code_file_is_refused(tmp_path: Path, voice: Path) -> None:
    refused(run("decode", voice, tmp_path / "o.wav"), 4, "is not a .sv file")
    refused(run("decode", tmp_path / "none.sv", tmp_path / "o.wav"), 4, "no such file")
    run("encode", *ECHO, voice, tmp_path / "v.sv")
    other = (tmp_path / "v.sv").read_bytes().replace(b"000000000000", b"0123456789ab")
    (tmp_path / "other.sv").write_bytes(other)
    refused(run("decode", tmp_path / "other.sv", tmp_path / "o.wav"), 4, "0123456789ab", "000000000000")
    assert not (tmp_path / "o.wav").exists()


def test_more_threads_than_processors_are_refused(voice: Path) -> None:
    result = run("encode", *ECHO, voice, "-", "--threads", "100000")
    assert result.returncode == 2
    assert b"'100000' is not a whole number from 1 to" in result.stderr


@pytest.mark.parametrize("options", [["--books", "9"], ["--books", "0"], ["--redundancy", "8"], ["--preset", "x"],
                                     ["--frames-per-packet", "256"]])  # fmt: skip
def test_options_out_of_range_are_refused(tmp_path: Path, voice: Path, options: list[str]) -> None:
    engine = [] if "--preset" in options else ECHO
    refused(run("encode", *engine, voice, tmp_path / "o.sv", *options), 2)


def test_a_file_that_may_not_grow_leaves_nothing(tmp_path: Path, voice: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limits on the size of files here")

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    for suffix in ("wav", "flac"):
        output = tmp_path / f"o.{suffix}"
        result = run("loopback", *ECHO, "--input", voice, "--output", output, preexec_fn=small_files)
        refused(result, 3, output.name)
    assert os.listdir(tmp_path) == ["voice.wav"]


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Ten minutes against one; a sparse file of two hours is read the same way, only longer."""
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, np.zeros(8000), 8000)
        with path.open("r+b") as file:
            from sottovoce.clients.wav import header

            file.write(header(8000, 60 * minutes * 8000))
            file.truncate(44 + 2 * 60 * minutes * 8000)
        watch = "import resource,subprocess,sys;p=subprocess.run(sys.argv[1:],capture_output=True);" \
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,p.returncode)"  # fmt: skip
        arguments = command("encode", *ECHO, path, tmp_path / "o.sv")
        result = subprocess.run([sys.executable, "-c", watch, *arguments], capture_output=True, check=True, timeout=300)
        peak, code = map(int, result.stdout.split())
        assert code == 0
        peaks.append(peak)
    assert peaks[1] < peaks[0] * 1.15
