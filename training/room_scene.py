"""Two peers as a user would start them, in network namespaces with a bad line between, talking through a real mosquitto.

    talker == line with conditions ==> broker == good line ==> listener

Needs Linux, root, iproute2 and mosquitto (see `link.hosts_need`).
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .link import Conditions, Line, LinkError, Namespace

PORT = 1883
_SOTTOVOCE = str(Path(sys.executable).with_name("sottovoce"))
GOOD = Conditions(delay_ms=5)
_START_S = 60.0
"""What a peer has to build its models, on a machine that does other things as well."""
_AFTER_S = 8.0
"""How long the listener goes on when the talker is done: what is under way, and a broker's outage, end within it."""


@dataclass(frozen=True, slots=True)
class Call:
    """What came of a call."""

    talker: dict[str, Any]
    listener: dict[str, Any]
    "The statistics that the two peers wrote (``--stats``)."
    ip_bytes: tuple[int, int]
    "IP bytes that the talker put on its line while the call ran, and those that came back."
    seconds: float
    "Of the call, for those bytes."
    began_s: float
    "When the talk began in what the listener wrote, within a second."


@dataclass(frozen=True, slots=True)
class Scene:
    """The conditions of a call."""

    there: Conditions
    "Talker to broker."
    back: Conditions
    options: tuple[str, ...] = ()
    "Of the talking peer, such as ``--profile``."
    sealed: bool = False
    broker_dead_s: tuple[float, float] | None = None
    "When the broker is killed, in seconds after the talk began, and when it is started again."


def call(scene: Scene, said: Path, heard: Path, number: int = 1, seed: int = 0) -> Call:
    """Play ``said`` to a talker and write what the listener's speaker would have played to ``heard``.

    Args:
        scene: the conditions.
        said: a sound file.
        heard: WAV to write.
        number: 1 ... 99, unlike that of any other call that runs at the same time.
        seed: of losses and jitter.

    Raises:
        LinkError: a namespace or a line cannot be made, or a program failed.
    """
    folder = heard.parent
    with ExitStack() as stack:
        hosts = [stack.enter_context(Namespace(f"sv{number}{who}")) for who in ("t", "m", "l")]
        talker, middle, listener = hosts
        thin = stack.enter_context(Line((talker, middle), 2 * number, (scene.there, scene.back), seed))
        good = stack.enter_context(Line((listener, middle), 2 * number + 1, (GOOD, GOOD), seed))
        broker = stack.enter_context(_Broker(middle, folder))
        key = _key(folder / f"{heard.stem}.key") if scene.sealed else ()
        ear_stats, mouth_stats = heard.with_suffix(".listener.json"), heard.with_suffix(".talker.json")
        ear = stack.enter_context(
            _peer(
                listener,
                "listen",
                f"mqtt://{good.address(1)}/measured",
                ("--name", "listener", "--output", str(heard), "--stats", str(ear_stats), *key),
            )
        )
        mouth = stack.enter_context(
            _peer(
                talker,
                "peer",
                f"mqtt://{thin.address(1)}/measured",
                (
                    "--name",
                    "talker",
                    "--input",
                    str(said),
                    "--output",
                    str(heard.with_suffix(".talker.wav")),
                    "--stats",
                    str(mouth_stats),
                    *key,
                    *scene.options,
                ),
            )
        )
        began_s, before = mouth.seen_s, _bytes(thin)
        if scene.broker_dead_s is not None:
            dead_s, alive_s = scene.broker_dead_s
            time.sleep(dead_s)
            broker.kill()
            time.sleep(alive_s - dead_s)
            broker.start()
        mouth.finish()
        seconds, after = time.monotonic() - began_s, _bytes(thin)
        time.sleep(_AFTER_S)
        ear.leave()
    sent, back = (now - then for now, then in zip(after, before, strict=True))
    return Call(_read(mouth_stats), _read(ear_stats), (sent, back), seconds, began_s - ear.seen_s)


class _Broker:
    """mosquitto, which may die and rise."""

    def __init__(self, host: Namespace, folder: Path) -> None:
        self._host = host
        self._configuration = folder / f"{host.name}.conf"
        self._running: _Program | None = None

    def __enter__(self) -> _Broker:
        self._configuration.write_text(f"listener {PORT} 0.0.0.0\nallow_anonymous true\nset_tcp_nodelay true\n")
        self.start()
        return self

    def start(self) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if program is None:
            raise LinkError("mosquitto is not installed")
        self._running = _Program(self._host.command(program, "-v", "-c", str(self._configuration)))
        self._running.wait_for("mosquitto version .* running")

    def kill(self) -> None:
        assert self._running is not None
        self._running.kill()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._configuration.unlink()


class _Program:
    """A child whose words are read as they come, so that it never waits for us to read them."""

    def __init__(self, command: Sequence[str]) -> None:
        self._name = shlex.join(command)[:200]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.seen_s = 0.0
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str) -> None:
        """Until a line matches; ``seen_s`` is when. Raises LinkError: the program ended without it, or takes too long."""
        with self._changed:
            seen = self._changed.wait_for(
                lambda: any(re.search(pattern, line) for line in self._lines) or not self._reader.is_alive(), _START_S
            )
            if not seen or not any(re.search(pattern, line) for line in self._lines):
                raise LinkError(f"{self._name} does not begin: {''.join(self._lines[-3:]).strip()}")
            self.seen_s = time.monotonic()

    def finish(self) -> None:
        """Until it ends by itself. Raises LinkError: it failed."""
        if self._child.wait():
            raise LinkError(f"a peer failed: {''.join(self._lines[-3:]).strip()}")

    def leave(self) -> None:
        """Asked to. Raises LinkError: it does not end."""
        self._child.terminate()
        try:
            self._child.wait(_START_S)
        except subprocess.TimeoutExpired as error:
            raise LinkError("a peer does not end") from error

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


@contextmanager
def _peer(host: Namespace, command: str, url: str, options: Sequence[str]) -> Iterator[_Program]:
    program = _Program(host.command(_SOTTOVOCE, command, url, *options))
    try:
        program.wait_for("in room")
        yield program
    finally:
        program.kill()


def _key(path: Path) -> tuple[str, ...]:
    path.unlink(missing_ok=True)
    subprocess.run([_SOTTOVOCE, "keygen", str(path)], check=True, capture_output=True)
    return "--key", str(path)


def _bytes(line: Line) -> tuple[int, int]:
    there, back = (wire.counts["bytes"] for wire in line.wires)
    return there, back


def _read(stats: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(stats.read_text("utf-8"))
    return read
