"""Standard streams, named pipes and signals, from outside: whatever is at the other end, the program ends as it should."""

import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soundfile

from sottovoce.clients.wav import header
from support.program import command, interruptible, refused, run, script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes and signals")

ECHO = ("--backend", "echo")
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a.wav``, two seconds of noise, and ``a.sv`` and ``b.wav``, what the program makes of it."""
    folder = tmp_path_factory.mktemp("sounds")
    soundfile.write(folder / "a.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    assert run("encode", *ECHO, folder / "a.wav", folder / "a.sv", "--frames-per-packet", "1").returncode == 0
    assert run("decode", folder / "a.sv", folder / "b.wav").returncode == 0
    return folder


@needs_full
@pytest.mark.parametrize(("arguments", "code"), [
    (["encode", *ECHO, "a.wav", "-"], 4),
    (["loopback", *ECHO, "--input", "a.wav", "--output", "-"], 3),
    (["loopback", *ECHO, "--input", "a.wav", "--output", "/dev/null"], 3),
    (["info", "a.sv"], 3),
    (["--help"], 3),
])  # fmt: skip
def test_a_full_standard_output_is_told(folder: Path, arguments: list[str], code: int) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            command(*arguments), cwd=folder, stdout=full, stderr=subprocess.PIPE, env=buffered, timeout=60, check=False
        )
    refused(result, code, "standard output could not be written: the disk is full")


def closing(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


@pytest.mark.parametrize(("arguments", "descriptor", "code", "words"), [
    (["encode", *ECHO, "-", "x.sv"], 0, 3, "standard input is closed"),
    (["decode", "-", "x.wav"], 0, 4, "standard input is closed"),
    (["encode", *ECHO, "a.wav", "-"], 1, 4, "standard output is closed"),
    (["decode", "a.sv", "-"], 1, 3, "standard output is closed"),
    (["info", "a.sv"], 1, 3, "standard output is closed"),
])  # fmt: skip
def test_a_closed_stream_that_is_needed_is_told(
    folder: Path, arguments: list[str], descriptor: int, code: int, words: str
) -> None:
    refused(run(*arguments, cwd=folder, preexec_fn=closing(descriptor)), code, words)
    assert not list(folder.glob("x.*"))
    assert not list(folder.glob(".*"))


def test_no_file_of_ours_is_given_the_number_of_a_closed_stream() -> None:
    """With it would come what libraries print."""
    lines = "import os; from sottovoce.clients.pipes import hold_standard_streams as hold; hold(); os._exit(os.dup(2))"
    assert subprocess.run(script(lines), preexec_fn=closing(0, 1, 2), timeout=60, check=False).returncode >= 3


def test_closed_streams_that_are_not_needed_hurt_nobody(folder: Path, tmp_path: Path) -> None:
    result = run("encode", *ECHO, folder / "a.wav", tmp_path / "c.sv", "--frames-per-packet", "1",
                 preexec_fn=closing(0, 1, 2))  # fmt: skip
    assert result.returncode == 0
    assert (tmp_path / "c.sv").read_bytes() == (folder / "a.sv").read_bytes()


@contextmanager
def fifo(path: Path, content: bytes) -> Iterator[None]:
    """A named pipe that somebody writes to while inside."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    yield
    writer.join()


def test_a_named_pipe_is_read_as_a_pipe(folder: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", *soundfile.read(folder / "a.wav"))
    for name in ("a.wav", "a.flac"):
        pipe = tmp_path / f"pipe.{name}"
        with fifo(pipe, next(path for path in (folder / name, tmp_path / name) if path.exists()).read_bytes()):
            result = run("encode", *ECHO, pipe, tmp_path / "c.sv", "--frames-per-packet", "1")
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "c.sv").read_bytes() == (folder / "a.sv").read_bytes()
    with fifo(tmp_path / "pipe.sv", (folder / "a.sv").read_bytes()):
        assert run("decode", tmp_path / "pipe.sv", tmp_path / "b.wav").returncode == 0
    assert (tmp_path / "b.wav").read_bytes() == (folder / "b.wav").read_bytes()
    with fifo(tmp_path / "pipe", b""):
        refused(run("info", tmp_path / "pipe"), 1, "info must look into a file twice")


def test_sound_on_a_file_as_standard_output_says_how_long_it_is(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "b.wav").read_bytes()
    for mode, head in (("wb", header(16_000, 32_000)), ("ab", header(16_000))):
        with (tmp_path / mode).open(mode) as file:
            assert run_into(file, "decode", folder / "a.sv", "-") == 0
        assert (tmp_path / mode).read_bytes() == head + whole[44:]


def run_into(file: IO[bytes], *arguments: object) -> int:
    return subprocess.run(command(*arguments), stdout=file, timeout=60, check=False).returncode


@contextmanager
def started(*arguments: object, **options: object) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        command(*arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        preexec_fn=options.get("preexec_fn", interruptible),
    ) as program:  # type: ignore[call-overload]  # fmt: skip
        try:
            yield program
        finally:
            program.kill()


def part_of(folder: Path, program: "subprocess.Popen[bytes]", n_bytes: int) -> Path:
    """The half-written file, as soon as it is longer than that."""
    while True:
        assert program.poll() is None
        for part in folder.glob(".*.part"):
            if part.stat().st_size > n_bytes:
                return part


def ended(program: "subprocess.Popen[bytes]", number: int) -> int:
    program.send_signal(number)
    code = program.wait(20)
    assert program.stderr
    assert program.stderr.read() == b"sottovoce: interrupted\n"
    return code


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_it_and_nothing_is_left(folder: Path, tmp_path: Path, number: int, code: int) -> None:
    """While it waits for more from a pipe, of which half a sample has come."""
    with started("loopback", *ECHO, "--input", "-", "--output", tmp_path / "o.wav") as program:
        assert program.stdin
        program.stdin.write((folder / "a.wav").read_bytes()[: 44 + 40_001])
        part_of(tmp_path, program, 44)
        assert ended(program, number) == code
    assert not os.listdir(tmp_path)


def test_a_signal_ends_it_while_half_a_record_has_come(folder: Path, tmp_path: Path) -> None:
    codes = (folder / "a.sv").read_bytes()
    with started("decode", "-", tmp_path / "o.wav") as program:
        assert program.stdin
        program.stdin.write(codes[: len(codes) // 2])
        part_of(tmp_path, program, 44)
        program.stdin.write(codes[len(codes) // 2 :][:1])
        assert ended(program, signal.SIGINT) == 130
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("arguments", [["loopback", *ECHO, "--input", "long.wav", "--output", "-"],
                                       ["encode", *ECHO, "long.wav", "-", "--frames-per-packet", "1"]])  # fmt: skip
def test_a_signal_ends_it_while_nobody_reads_its_output(
    folder: Path, arguments: list[str], number: int, code: int
) -> None:
    fcntl = pytest.importorskip("fcntl")
    soundfile.write(folder / "long.wav", np.zeros(16_000 * 600), 16_000)
    arguments = [str(folder / "long.wav") if argument == "long.wav" else argument for argument in arguments]
    with started(*arguments) as program:
        assert program.stdout
        fcntl.fcntl(program.stdout, fcntl.F_SETPIPE_SZ, 2 * mmap.PAGESIZE)
        n_bytes = n_looks = 0
        while n_bytes <= mmap.PAGESIZE or n_looks < 50_000:  # there is room in the pipe, or it has just been written
            assert program.poll() is None
            before, n_bytes = n_bytes, waiting(program.stdout)
            n_looks = n_looks + 1 if n_bytes == before else 0
        assert ended(program, number) == code


def waiting(pipe: IO[bytes]) -> int:
    """Bytes that lie in a pipe."""
    import array
    import fcntl
    import termios

    n_bytes = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, n_bytes)
    return n_bytes[0]


def test_a_program_that_was_told_to_ignore_ctrl_c_does(folder: Path, tmp_path: Path) -> None:
    def nohup() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    sound = (folder / "a.wav").read_bytes()
    with started("loopback", *ECHO, "--input", "-", "--output", tmp_path / "o.wav", preexec_fn=nohup) as program:
        assert program.stdin
        program.stdin.write(sound[:30_000])
        part = part_of(tmp_path, program, 44)
        program.send_signal(signal.SIGINT)
        program.send_signal(signal.SIGHUP)
        program.stdin.write(sound[30_000:])
        assert part_of(tmp_path, program, part.stat().st_size)
        assert ended(program, signal.SIGTERM) == 143
    assert not os.listdir(tmp_path)


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    with started("loopback", *ECHO, "--input", folder / "a.wav", "--output", "-", "--realtime") as program:
        assert program.stdout
        assert program.stderr
        program.stdout.read(44)
        program.stdout.close()
        assert program.wait(20) == 141
        assert program.stderr.read() == b""


def test_the_help_tells_every_exit_code_in_order_and_nothing_of_the_code() -> None:
    told = run("--help").stdout.decode().split("exit codes:\n")[1].splitlines()
    assert [int(line.split()[0]) for line in told] == [*range(1, 16), 129, 130, 141, 143]
    assert not any("_" in line for line in told)


def test_the_help_tells_every_command() -> None:
    text = run("--help").stdout.decode()
    listed = {line.split()[0] for line in text.splitlines() if line.startswith("    ") and line[4] != " "}
    assert listed == {
        *("loopback", "encode", "decode", "say", "doctor", "serve", "load", "overhead", "peer", "listen", "broker"),
        *("budget", "keygen", "devices", "info", "bench", "verify", "export"),
    }
