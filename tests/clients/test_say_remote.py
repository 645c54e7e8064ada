"""``sottovoce say --server``: as a person uses it, with a server in a process of its own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from support import program, tiny_talk
from support.program import refused
from support.same import STEP_16_BITS, assert_same
from support.served import NO_TOKEN, served

TEXT = "Good day, dear friend. It has left."


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny_talk.write_codec(folder)
    tiny_talk.write_talker(folder)
    return folder


@pytest.fixture(scope="module")
def url(weights: Path) -> Iterator[str]:
    with served("--weights", str(weights), codec="tiny", SOTTOVOCE_TOKEN="s3cret-token") as (_, place):
        yield place.replace("http", "ws")


def say(url: str, *arguments: object, text: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    env = NO_TOKEN | {"SOTTOVOCE_TOKEN": "s3cret-token"}
    return program.run("say", "--server", url, *arguments, env=env, input=text)


def test_it_is_what_a_talker_on_this_machine_says(url: str, weights: Path, tmp_path: Path) -> None:
    here, there, piped = tmp_path / "here.wav", tmp_path / "there.wav", tmp_path / "piped.wav"
    lines = "from sottovoce.clients import engines\nengines.PRESETS += ('tiny',)\n"
    lines += "from sottovoce.clients.cli import main\nsys.exit(main())"
    told = ("say", TEXT, "--preset", "tiny", "--weights", weights, "--voice", "joe", "--output", here)
    subprocess.run(program.script(lines, *told), check=True, capture_output=True, timeout=120)
    result = say(url, TEXT, "--voice", "joe", "--words", "--output", there)
    assert result.returncode == 0, result.stderr
    words = [line.split()[2] for line in result.stdout.decode().splitlines()]
    assert words == ["Good", "day", "dear", "friend", "It", "has", "left"]
    summary = result.stderr.decode().splitlines()
    assert [line.split("  ")[0] for line in summary] == ["voice", "sound", "first audio"]
    assert "joe at ws://" in summary[0]
    assert_same(soundfile.read(there)[0], soundfile.read(here)[0], STEP_16_BITS)
    by_pipe = say(url, "-", "--voice", "joe", "--output", piped, text=TEXT.encode())
    assert by_pipe.returncode == 0, by_pipe.stderr
    assert_same(soundfile.read(piped)[0], soundfile.read(here)[0], STEP_16_BITS)


def test_what_cannot_be_said_there_is_one_line_and_no_file(url: str, tmp_path: Path) -> None:
    out = ("--output", tmp_path / "a.wav")
    refused(say(url, TEXT, *out, "--voice", "bob"), 2, "'bob'", "ann, joe")
    refused(say(url, "\N{GRINNING FACE}", *out), 2, "nothing in this text")
    refused(say(url, TEXT, *out, "--books", "99"), 2, "--books")
    refused(say(url, TEXT, *out, "--seed", "1"), 2, "--seed is for a talker on this machine")
    refused(program.run("say", "--server", url, TEXT, *out, env=NO_TOKEN), 11, "needs its token")
    refused(say("http://127.0.0.1:9", TEXT, *out), 2, "ws://host:port")
    assert list(tmp_path.iterdir()) == []


def test_its_voices_are_listed_and_a_server_that_cannot_speak_is_told(url: str) -> None:
    assert say(url, "--voices").stdout == b"ann\njoe\n"
    with served() as (_, place):
        refused(say(place.replace("http", "ws"), "--voices"), 2, "cannot speak")
