"""``sottovoce peer``, ``listen`` and ``broker`` from outside: processes on a real broker, and bad input of every kind."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sottovoce.clients.cli import main
from sottovoce.clients.room_address import PASSWORD_VARIABLE, parse_address
from sottovoce.stream.room_key import RoomKey
from support.brokers import MOSQUITTO, free_port
from support.program import command, interruptible, refused, run, script

CLIP = Path(__file__).parents[2] / "clients" / "demo.flac"
ECHO = ("--backend", "echo")
PATIENCE_S = 40.0


class Program:
    """One that runs, and what it says."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self.process = subprocess.Popen(
            command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=interruptible,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.strip())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def said(self, words: str, times: int = 1) -> None:
        """Wait until it has."""
        with self._news:
            found = self._news.wait_for(lambda: sum(words in line for line in self.lines) >= times, PATIENCE_S)
        assert found, f"{words!r} is not in {self.lines}"

    def ends(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reading.join(PATIENCE_S)
        return code

    def close(self) -> None:
        self.process.kill()
        self.ends()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def programs(*running: Program) -> Iterator[None]:
    try:
        yield
    finally:
        for program in running:
            program.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """The address of a mosquitto, without a room."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed (Debian package mosquitto)")
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nuser root\nallow_anonymous true\n")
    process = subprocess.Popen([MOSQUITTO, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three seconds of somebody who speaks, and a second of nothing."""
    pcm, rate_hz = soundfile.read(CLIP, dtype="float32")
    file = tmp_path / "clip.wav"
    soundfile.write(file, np.concatenate([pcm[: 3 * rate_hz], np.zeros(rate_hz, np.float32)]), rate_hz)
    return file


def envelope(file: Path) -> np.ndarray:
    """Loudness of 32 ms around every 4 ms, of sound at 16 kHz."""
    pcm, rate_hz = soundfile.read(file, dtype="float32")
    assert rate_hz == 16_000
    total = np.concatenate([[0.0], np.cumsum(pcm.astype(np.float64) ** 2)])
    return np.log10(np.maximum((total[512::64] - total[:-512:64]) / 512, 1e-6))


def likeness(heard: Path, whole: Path, skipped_s: float = 0.0) -> float:
    """How well the loudness of ``whole``, but for its beginning, is found somewhere in what was heard: 1 is perfectly."""
    a, b = (
        envelope(heard),
        envelope(whole)[round(skipped_s / 0.004) : round(3 / 0.004)],
    )  # the end may not be played yet
    places = (a[i : i + len(b)] for i in range(len(a) - len(b) + 1))
    return max(float(np.corrcoef(place, b)[0, 1]) for place in places if place.std() > 0)


def test_a_file_is_heard_across_a_broker_as_through_a_loopback(broker: str, clip: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    assert run("keygen", key).returncode == 0
    heard, whole, stats = tmp_path / "heard.wav", tmp_path / "whole.wav", tmp_path / "stats.json"
    assert run("loopback", "--input", clip, "--output", whole, *ECHO, "--books", 4).returncode == 0
    room = f"{broker}/kitchen", "--key", key, *ECHO
    bert = Program("listen", *room, "--name", "bert", "--output", heard, "--stats", stats)
    with programs(bert):
        bert.said("in room kitchen as bert")
        result = run("peer", *room, "--name", "anna", "--profile", "live", "--input", clip, "--output", os.devnull)
        assert result.returncode == 0, result.stderr
        bert.said("anna has gone")
        bert.process.send_signal(signal.SIGINT)
        assert bert.ends() == 130
    assert any(line.startswith("heard anna") for line in bert.lines)
    assert likeness(heard, whole) > 0.9
    told = json.loads(stats.read_text())
    (anna,) = told["peers"].values()
    receiver = anna["receiver"]
    assert anna["name"] == "anna"
    assert receiver["received"] == receiver["played"] + receiver["waiting"] + sum(receiver["dropped"].values())
    assert receiver["played"] > 80
    assert told["counts"]["frames_played"] * 512 == soundfile.info(heard).frames


def test_who_is_killed_is_told_of_at_once_and_who_leaves_too(broker: str, clip: Path) -> None:
    common = f"{broker}/r", *ECHO, "--output", os.devnull
    bert = Program("listen", *common, "--name", "bert")
    anna = Program("peer", *common, "--name", "anna", "--ptt", "--input", clip, "--seconds", 60)
    with programs(anna, bert):
        bert.said("anna is here")
        anna.said("bert is here")
        anna.process.kill()
        killed_s = time.monotonic()
        bert.said("anna has gone")
        assert time.monotonic() - killed_s < 15  # its keep-alive; the system tells the broker sooner
        bert.process.send_signal(signal.SIGTERM)
        assert bert.ends() == 143


def test_a_bridge_joins_a_broker_and_a_server(broker: str, clip: Path, tmp_path: Path) -> None:
    port = free_port()
    heard, whole, stats = tmp_path / "heard.wav", tmp_path / "whole.wav", tmp_path / "stats.json"
    assert run("loopback", "--input", clip, "--output", whole, *ECHO, "--books", 4).returncode == 0
    server = Program("serve", "--port", port, *ECHO)
    with programs(server):
        server.said("serves echo")
        there, here = f"ws://127.0.0.1:{port}/r", f"{broker}/r"
        bert = Program("listen", here, "--name", "bert", "--output", heard, "--stats", stats, *ECHO)
        carl = Program("listen", there, "--name", "carl", "--output", os.devnull, "--bridge", here, *ECHO)
        with programs(bert, carl):
            bert.said("carl is here")
            anna = Program("peer", there, "--name", "anna", "--input", clip, "--output", os.devnull, "--ptt", *ECHO)
            with programs(anna):
                anna.said("bert is here")
                bert.said("anna is here")
                assert anna.ends() == 0
                bert.said("anna has gone")
            bert.process.send_signal(signal.SIGINT)
            assert bert.ends() == 130
    assert likeness(heard, whole, skipped_s=0.6) > 0.9, stats.read_text()  # until a line for her was open


def test_our_own_broker_serves_who_has_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv(PASSWORD_VARIABLE, "geheim")
    broker = Program("broker", "--port", port)
    with programs(broker):
        broker.said(f"mqtt://127.0.0.1:{port}")
        refused(run("broker", "--port", port), 10, "cannot serve", "in use")
        common = *ECHO, "--output", os.devnull, "--seconds", "0.2"
        assert run("listen", f"mqtt://anna@127.0.0.1:{port}/r", *common).returncode == 0
        refused(run("listen", f"mqtt://anna:falsch@127.0.0.1:{port}/r", *common), 11, "check user and password")
        broker.process.send_signal(signal.SIGINT)
        assert broker.ends() == 130


# ---- bad input -------------------------------------------------------------------------------------------------


def failing(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """The one line that it says."""
    assert main([str(argument) for argument in arguments]) == code
    error = capsys.readouterr().err
    assert error.startswith("sottovoce: ")
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    "url",
    [
        "", "kitchen", "http://host/room", "mqtt://", "mqtt:///room", "mqtt://host:99999/room", "mqtt://host:x/room", "ws://[/r",
        "mqtt://host", "mqtt://host/", "mqtt://host/a/b", "mqtt://host/a%2Fb", "mqtt://host/r?x=1", "mqtt://host/r#x",
        "mqtt://host/" + "r" * 65, "mqtt://host/%00", "ws://anna:geheim@host/r",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = failing(capsys, 2, "listen", url, *ECHO, "--output", os.devnull)
    assert "geheim" not in error


def test_an_address_says_all_that_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    known = parse_address("mqtts://anna:a%40b@[::1]:99/k%C3%BCche")
    assert (known.scheme, known.host, known.port, known.room) == ("mqtts", "::1", 99, "küche")
    assert (known.user, known.password) == ("anna", "a@b")
    assert known.place == "mqtts://[::1]:99"
    assert "a@b" not in repr(known)
    assert [parse_address(f"{scheme}://h/r").port for scheme in ("mqtt", "mqtts", "ws", "wss")] == [1883, 8883, 80, 443]
    monkeypatch.setenv(PASSWORD_VARIABLE, "geheim")
    assert parse_address("mqtt://anna@h/r").password == "geheim"
    assert parse_address("mqtt://h/r").password is None


URL = "mqtt://127.0.0.1:9/r"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--name", "a/b"), 2, "--name has 1 to 64"),
        (("--name", ""), 2, "--name has 1 to 64"),
        (("--profile", "loud"), 2, "invalid choice"),
        (("--books", "0"), 2, "whole number from 1"),
        (("--redundancy", "8"), 2, "0 to 7"),
        (("--seconds", "-1"), 2, "0.001"),
        (("--talkers", "0"), 2, "whole number from 1"),
        (("--key", "/nowhere/key"), 14, "could not be read"),
        (("--bridge", "nowhere"), 2, "address like"),
        (("--input", "/nowhere.wav"), 3, "nowhere.wav"),
        (("--output", "sound.xyz"), 3, "no format"),
        ((), 11, "is the broker running"),
    ],
)
def test_every_option_that_cannot_be_is_one_clear_line(
    arguments: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["peer", URL, *ECHO, "--ptt"]
    if "--input" not in arguments:
        common += ["--input", str(CLIP)]
    if "--output" not in arguments:
        common += ["--output", os.devnull]
    assert words in failing(capsys, code, *common, *arguments)


def test_keys_and_bridges_and_rooms_must_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOTTOVOCE_ROOM_KEY", RoomKey.generate().to_text())
    error = failing(capsys, 2, "listen", URL, "--bridge", "mqtt://host/other", "--output", os.devnull, *ECHO)
    assert "same name" in error
    monkeypatch.setenv("SOTTOVOCE_ROOM_KEY", "sottovoce-room-nonsense")
    assert "no room key" in failing(capsys, 14, "listen", URL, "--output", os.devnull, *ECHO)


def test_no_output_file_is_left_where_no_room_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard, stats = tmp_path / "heard.wav", tmp_path / "stats.json"
    failing(capsys, 11, "listen", URL, "--output", heard, "--stats", stats, *ECHO)
    assert list(tmp_path.iterdir()) == []
    same = tmp_path / "same.wav"
    same.touch()
    failing(capsys, 2, "listen", URL, "--output", same, "--stats", same, *ECHO)


@pytest.mark.parametrize(
    ("package", "url", "extra"), [("aiomqtt", URL, "peer"), ("websockets", "ws://127.0.0.1:9/r", "serve")]
)
def test_what_is_not_installed_is_named(package: str, url: str, extra: str) -> None:
    lines = f"sys.modules[{package!r}] = None\nfrom sottovoce.clients.cli import main; sys.exit(main())"
    result = subprocess.run(
        script(lines, "listen", url, "--output", os.devnull, *ECHO), capture_output=True, check=False, timeout=60
    )
    refused(result, 2, package, f"sottovoce[{extra}]")
    lines = lines.replace("main())", "main(['--help']))")
    assert subprocess.run(script(lines), capture_output=True, check=False, timeout=60).returncode == 0


def test_a_broker_lets_no_strangers_in_unasked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    assert "set a password" in failing(capsys, 2, "broker", "--host", "0.0.0.0")
    assert "go together" in failing(capsys, 2, "broker", "--cert", "x.pem")
    monkeypatch.setenv(PASSWORD_VARIABLE, "geheim")
    assert "contradicts" in failing(capsys, 2, "broker", "--no-auth")
