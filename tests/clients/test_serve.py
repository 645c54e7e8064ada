"""``sottovoce serve`` and ``sottovoce loopback --server``, as a person runs them."""

import json
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from support import program, tiny_talk
from support.program import refused
from support.served import NO_TOKEN, served


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_serves_until_a_signal_ends_it(number: int, code: int) -> None:
    with served("--rows", "2") as (serving, place):
        host, _, port = place.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            assert b'"rows":2' in client.makefile("rb").read()
        serving.send_signal(number)
        _, complaints = serving.communicate(timeout=30)
        assert serving.returncode == code
        assert complaints == "sottovoce: interrupted\n"


def test_what_was_loaded_is_no_garbage_to_look_through() -> None:
    """What the program has at the moment when it says that it is ready."""
    lines = """
import gc
from sottovoce.clients import cli, serve
say = serve.say
serve.say = lambda line: say(f"{gc.get_freeze_count()} frozen: {line}")
sys.exit(cli.main())
"""
    command = program.script(lines, "serve", "--backend", "echo", "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=NO_TOKEN) as serving:
        assert serving.stdout is not None
        line = serving.stdout.readline()
        serving.kill()
    frozen, _, rest = line.partition(" frozen: ")
    assert rest.startswith("sottovoce serves echo")
    assert int(frozen) > 10_000


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_while_it_speaks(number: int, code: int, tmp_path: Path) -> None:
    tiny_talk.write_codec(tmp_path)
    tiny_talk.write_talker(tmp_path)
    body = json.dumps({"input": "This goes on for a while. " * 150, "response_format": "pcm", "speed": 0.25}).encode()
    with served("--weights", str(tmp_path), codec="tiny") as (serving, place):
        host, _, port = place.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(
                b"POST /v1/audio/speech HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            serving.send_signal(number)
            with suppress(ConnectionResetError):
                while client.recv(1 << 20):
                    pass
        _, complaints = serving.communicate(timeout=60)
        assert serving.returncode == code
        assert complaints == "sottovoce: interrupted\n"


def test_a_file_goes_through_it_as_through_a_codec_of_ones_own(tmp_path: Path) -> None:
    pcm = np.random.default_rng(0).normal(0, 0.1, 44100).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", pcm, 44100)
    with served(SOTTOVOCE_TOKEN="s3cret-token") as (_, place):
        files = ("--input", tmp_path / "in.wav", "--output", tmp_path / "far.wav")
        url = place.replace("http", "ws")
        refused(program.run("loopback", "--server", url, *files, env=NO_TOKEN), 11, "needs its token")
        assert not (tmp_path / "far.wav").exists()
        result = program.run("loopback", "--server", url, *files, env=NO_TOKEN | {"SOTTOVOCE_TOKEN": "s3cret-token"})
        assert result.returncode == 0, result.stderr
        assert url in result.stdout.decode()
    program.run("loopback", "--backend", "echo", "--input", tmp_path / "in.wav", "--output", tmp_path / "near.wav")
    far, near = soundfile.read(tmp_path / "far.wav"), soundfile.read(tmp_path / "near.wav")
    assert far[1] == near[1]
    np.testing.assert_array_equal(far[0], near[0])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--host", "0.0.0.0"), 2, ("anybody who reaches 0.0.0.0", "SOTTOVOCE_TOKEN", "--no-auth")),
        (("--host", "::"), 2, ("anybody",)),
        (("--host", "example.org"), 2, ("anybody",)),
        (("--token", "s3cret-token", "--no-auth"), 2, ("contradicts",)),
        (("--token", "short"), 2, ("8 to 200",)),
        (("--token", "with space in it"), 2, ("8 to 200",)),
        (("--cert", "a.pem"), 2, ("--cert and --key",)),
        (("--cert", "a.pem", "--key", "b.pem"), 10, ("a.pem", "No such file")),
        (("--origin", "example.org"), 2, ("--origin",)),
        (("--origin", "https://example.org/page"), 2, ("--origin",)),
        (("--port", "65536"), 2, ("--port",)),
        (("--port", "http"), 2, ("--port",)),
        (("--rows", "0"), 2, ("--rows",)),
        (("--rows", "8193"), 2, ("--rows", "a whole number from 1 to 8192")),
        (("--host", "203.0.113.7", "--no-auth"), 10, ("203.0.113.7",)),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(
    arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    refused(program.run("serve", "--backend", "echo", *arguments, env=NO_TOKEN), code, *words)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(program.run("serve", "--backend", "echo", "--port", port, env=NO_TOKEN), 10, str(port), "--port")


def test_what_is_for_a_codec_on_this_machine_is_refused_with_a_server() -> None:
    files = ("--input", "in.wav", "--output", "out.wav")
    for option in (("--report",), ("--picture", "a.png"), ("--backend", "echo")):
        refused(program.run("loopback", "--server", "ws://127.0.0.1:9", *files, *option), 2, option[0])
    refused(program.run("loopback", "--server", "http://127.0.0.1:9", *files), 2, "ws://host:port")
