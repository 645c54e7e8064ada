"""Two peers as a user would start them, in network namespaces with a bad line between, talking through a real mosquitto.

    talker == line with conditions ==> broker == good line ==> listener

Needs Linux, root, iproute2 and mosquitto (see `link.hosts_need`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .link import Conditions, Line, Namespace
from .room_programs import Broker, Program

_SOTTOVOCE = str(Path(sys.executable).with_name("sottovoce"))
GOOD = Conditions(delay_ms=5)
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
        broker = stack.enter_context(Broker(middle, folder))
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


@contextmanager
def _peer(host: Namespace, command: str, url: str, options: Sequence[str]) -> Iterator[Program]:
    program = Program(host.command(_SOTTOVOCE, command, url, *options))
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
