"""What should not be given to the program, and what it says to that: one line, early, and nothing is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sottovoce.clients.audio_in import AudioInput
from sottovoce.clients.pipes import check_apart
from sottovoce.clients.wav import header
from sottovoce.stream.errors import AudioFileError, UsageError
from support.program import interruptible, refused, run, script

ECHO = ("--backend", "echo")
RATE_HZ = 16_000


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Two seconds of noise."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 2 * RATE_HZ), RATE_HZ)
    return path


# ---- the command line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "words"), [
    (["encode", "a.wav"], "required: OUT.sv; see 'sottovoce encode --help'"),
    (["encode", "a.wav", "-", "--books", "x"], "invalid int value: 'x'; see 'sottovoce encode --help'"),
    (["play"], "invalid choice: 'play'"),
    ([], "required: command; see 'sottovoce --help'"),
    (["loopback", "--input", ""], "argument --input: the name is empty"),
    (["loopback", "--output", ""], "argument --output: the name is empty"),
    (["loopback", "--picture", ""], "argument --picture: the name is empty"),
    (["decode", "", "b.wav"], "argument IN.sv: the name is empty"),
    (["loopback", "--seconds", "1e305"], "'1e305' is not a number from 0.001 to 1e9"),
    (["loopback", "--seconds", "1e-9"], "'1e-9' is not a number from 0.001 to 1e9"),
])  # fmt: skip
def test_wrong_use_is_told_in_one_line(arguments: list[str], words: str) -> None:
    refused(run(*arguments), 2, words)


def test_the_version_is_told() -> None:
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.startswith(b"sottovoce ")


def test_nothing_slow_is_loaded_before_ctrl_c_is_heard() -> None:
    lines = (
        "from sottovoce.clients.cli import main; print({'asyncio', 'importlib.metadata', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run(script(lines), capture_output=True, timeout=60, check=False).stdout == b"set()\n"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_while_it_still_loads_is_one_line(sound: Path) -> None:
    """The signal comes as soon as something slow is asked for."""
    lines = f"""
import os, signal
class Loading:
    def find_spec(self, name, *_):
        if name == "asyncio":
            os.kill(os.getpid(), {signal.SIGINT:d})
sys.meta_path.insert(0, Loading())
from sottovoce.clients.cli import main
sys.exit(main())
"""
    refused(
        subprocess.run(script(lines, "encode", *ECHO, sound, "-"), capture_output=True, timeout=60, check=False,
                       preexec_fn=interruptible),
        130, "interrupted",
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("failure", ["ImportError", "SystemError"])
@pytest.mark.parametrize("module", ["numpy", "onnxruntime"])
def test_ctrl_c_that_breaks_a_library_while_it_loads_is_one_line(sound: Path, module: str, failure: str) -> None:
    """Libraries in C make other errors of it."""
    lines = f"""
import os, signal
class Loading:
    def find_spec(self, name, *_):
        if name == "{module}":
            try:
                os.kill(os.getpid(), {signal.SIGINT:d})
                os.getpid()  # where the handler is called at the latest
            except KeyboardInterrupt:
                raise {failure}("initialization failed") from None
from sottovoce.clients.cli import main
for name in [name for name in sys.modules if name.split(".")[0] == "{module}"]:
    del sys.modules[name]
sys.meta_path.insert(0, Loading())
sys.exit(main())
"""
    refused(
        subprocess.run(script(lines, "encode", sound, "-"), capture_output=True, timeout=60, check=False,
                       preexec_fn=interruptible),
        130, "interrupted",
    )  # fmt: skip


# ---- one file for two things -------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    ["encode", *ECHO, "a.wav", "a.wav"],
    ["encode", *ECHO, "a.wav", "link"],
    ["decode", "a.wav", "./a.wav"],
    ["loopback", *ECHO, "--input", "a.wav", "--output", "a.wav"],
    ["loopback", *ECHO, "--input", "a.wav", "--output", "-", "--picture", "link"],
])  # fmt: skip
def test_what_is_read_is_not_written_over(sound: Path, arguments: list[str]) -> None:
    before = sound.read_bytes()
    (sound.parent / "link").symlink_to(sound)
    refused(run(*arguments, cwd=sound.parent), 2, "two of the files given are the same")
    assert sound.read_bytes() == before


def test_standard_input_and_output_are_files_too(sound: Path) -> None:
    with sound.open("rb") as read, sound.open("ab") as written:
        result = subprocess.run(
            script("from sottovoce.clients.cli import main; sys.exit(main())", "encode", *ECHO, "-", "-"),
            stdin=read, stdout=written, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    refused(result, 2, "two of the files given are the same")


def test_devices_and_files_that_are_not_there_yet_may_be_given_twice(tmp_path: Path) -> None:
    check_apart(os.devnull, os.devnull)
    check_apart(None, tmp_path / "a", tmp_path / "a")
    check_apart(str(tmp_path / "a"), None, None)
    (tmp_path / "a").touch()
    with pytest.raises(UsageError):
        check_apart(None, tmp_path / "a", tmp_path / "a")


# ---- sound -------------------------------------------------------------------------------------------------


def remarks(path: Path) -> list[str]:
    with AudioInput(str(path), RATE_HZ) as sound:
        while sound.read() is not None:
            pass
        return sound.remarks()


def cut(path: Path, n_bytes: int) -> Path:
    (path.parent / f"cut{path.suffix}").write_bytes(path.read_bytes()[:-n_bytes])
    return path.parent / f"cut{path.suffix}"


@pytest.mark.parametrize("suffix", ["wav", "ogg", "opus"])
@pytest.mark.parametrize("n_bytes", [2, 3000])
def test_sound_that_is_cut_off_is_remarked(tmp_path: Path, suffix: str, n_bytes: int) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * 24_000)
    soundfile.write(path, noise, 24_000, format="OGG" if suffix == "opus" else None,
                    subtype="OPUS" if suffix == "opus" else None)  # fmt: skip
    assert not remarks(path)
    (told,) = remarks(cut(path, n_bytes))
    assert f"cut.{suffix} is cut off: it ends after" in told


def test_sound_that_is_cut_off_in_a_pipe_is_remarked(sound: Path) -> None:
    result = run("encode", *ECHO, "-", "-", input=sound.read_bytes()[:-2000])
    assert result.returncode == 0
    assert result.stderr.startswith(b"sottovoce: note: standard input is cut off: it ends after 1.94 s")


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFF00, 0x80000000, 0xFFFFFFFF])
def test_a_stream_whose_header_cannot_know_is_not_called_cut_off(sound: Path, size: int) -> None:
    told = header(RATE_HZ)[:40] + size.to_bytes(4, "little")
    result = run("encode", *ECHO, "-", "-", input=told + sound.read_bytes()[44:])
    assert (result.returncode, result.stderr) == (0, b"")


def test_sound_too_short_to_leave_a_sample_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(header(2_000_000_000, 1000) + bytes(2000))
    with pytest.raises(AudioFileError, match=r"a\.wav is too short: nothing is left of it at 16000 Hz"):
        remarks(tmp_path / "a.wav")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
def test_a_name_that_is_no_text_is_a_name(sound: Path) -> None:
    name = os.fsdecode(os.fsencode(sound.parent) + b"/\xff.flac")
    result = run("loopback", *ECHO, "--input", sound, "--output", name)
    assert result.returncode == 0, result.stderr
    assert b"kind           sound (FLAC" in run("info", name).stdout
    refused(run("encode", *ECHO, name + "x", "-"), 3, "\\udcff.flacx: there is no such file")


# ---- pictures ----------------------------------------------------------------------------------------------


def picture(sound: Path, name: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    return run("loopback", *ECHO, "--input", sound, "--output", "b.wav", "--picture", name, cwd=sound.parent, **options)


def test_a_picture_that_cannot_be_written_is_told_at_once(sound: Path) -> None:
    refused(picture(sound, "none/p.png"), 1, "p.png could not be written: its folder does not exist")
    refused(picture(sound, "p.pgf"), 2, "'.pgf' names no kind of picture; use one of .png")
    assert os.listdir(sound.parent) == ["a.wav"]


def test_a_picture_that_fails_in_the_end_does_not_cost_the_sound(sound: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limits on the size of files here")
    limit = sound.stat().st_size + 1000  # enough for the sound, not for the picture

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = picture(
        sound, "p.svg", preexec_fn=small_files, env={**os.environ, "MPLCONFIGDIR": str(sound.parent / "m")}
    )
    refused(result, 1, "p.svg could not be written")
    assert soundfile.info(sound.parent / "b.wav").duration == 2
    assert not (sound.parent / "p.svg").exists()


def test_no_backend_is_needed_for_a_picture(sound: Path) -> None:
    result = picture(sound, "p.pdf", env={**os.environ, "MPLBACKEND": "bogus"})
    assert result.returncode == 0, result.stderr
    assert (sound.parent / "p.pdf").read_bytes().startswith(b"%PDF")


# ---- devices -----------------------------------------------------------------------------------------------


def test_a_missing_device_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    """The folder of weights holds none, which would be told when they are loaded."""
    result = run("loopback", "--weights", tmp_path, "--input-device", "no such microphone", "--output", "/dev/null")
    refused(result, 5)
