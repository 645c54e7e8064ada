"""A long call: two peers through mosquitto whose sound cards disagree. Memory, drift, delay, and what became of every frame.

    python -m sottovoce.training.room_long talk.wav --seconds 600 --ppm 150 -100     # Linux, as root

Each peer is a process in its own network namespace (`room_card`), behind a line of 60 ms with a spread of 10 ms. Prints a table
by minutes, the slope of memory, the drift that was estimated against the true one, and the balance of frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .link import Conditions, Line, LinkError, Namespace, hosts_need
from .room_programs import Broker, Program

NAMES = "anna", "bert"
_SETTLED_S = 120.0
"""Memory is judged from then on: models and tables have all been touched, and the first talks are over."""
Reading = dict[str, Any]


def call(
    said: Path, out: Path, ppm: Sequence[float], seconds: float, conditions: Conditions, options: Sequence[str] = ()
) -> list[list[Reading]]:
    """What the two peers told every ten seconds; ``options`` of `room_card` for both. Raises LinkError."""
    logs = [out / f"{name}.jsonl" for name in NAMES]
    with ExitStack() as stack:
        hosts = [stack.enter_context(Namespace(f"svlong{i}")) for i in range(3)]
        lines = [
            stack.enter_context(Line((host, hosts[2]), 201 + i, (conditions, conditions), i))
            for i, host in enumerate(hosts[:2])
        ]
        stack.enter_context(Broker(hosts[2], out))
        peers = []
        for i, (host, line) in enumerate(zip(hosts, lines, strict=False)):
            command = [sys.executable, "-m", "sottovoce.training.room_card", line.address(1), "--name", NAMES[i]]
            command += ["--ppm", str(ppm[i]), "--said", str(said), "--seconds", str(seconds), "--log", str(logs[i])]
            peers.append(Program(host.command(*command, "--from-s", str(30 * i), *options)))
            stack.callback(peers[-1].kill)
            peers[-1].wait_for("in room")
        until_s = time.monotonic() + seconds + 30
        for peer in peers:
            peer.finish(max(until_s - time.monotonic(), 1.0))
    return [[json.loads(line) for line in log.read_text("utf-8").splitlines()] for log in logs]


def _other(reading: Reading) -> Reading:
    """What a peer says of the one other peer; empty before it was heard."""
    found = [peer for peer in reading["peers"].values() if "receiver" in peer]
    return found[0] if found else {}


def minutes(told: Sequence[Sequence[Reading]]) -> str:
    """Markdown: a line a minute, anna's figures and bert's."""
    head = [
        "minute",
        "memory MiB",
        "drift estimated, ppm",
        "played faster by, ppm",
        "delay ms",
        "aims at ms",
        "dropped, concealed",
    ]
    rows = [head, ["---"] * len(head)]
    for readings in zip(*told, strict=False):
        at = round(readings[0]["at_s"])
        if at % 60 > 5:
            continue
        others = [_other(reading) for reading in readings]
        cells = [
            [f"{reading['rss_mib']:.1f}" for reading in readings],
            [_number(other.get("drift_ppm")) for other in others],
            [_number(other.get("playout_ppm")) for other in others],
            [_number(other.get("delay_ms")) for other in others],
            [_number(other.get("target_ms")) for other in others],
            [
                f"{sum(r['dropped'].values())}, {r['concealed']}" if (r := other.get("receiver")) else ""
                for other in others
            ],
        ]
        rows.append([str(round(at / 60)), *("; ".join(pair) for pair in cells)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:+.0f}"


def slope(readings: Sequence[Reading]) -> float:
    """Of memory, KiB a minute, by least squares over what came after the first two minutes."""
    late = [reading for reading in readings if reading["at_s"] > _SETTLED_S]
    if len(late) < 3:
        return float("nan")
    at_minutes = np.array([reading["at_s"] / 60 for reading in late], np.float64)
    kib = np.array([1024 * reading["rss_mib"] for reading in late], np.float64)
    return float(np.polyfit(at_minutes, kib, 1)[0])


def balance(sender: Reading, listener: Reading) -> str:
    """What became of the frames that one sent."""
    heard = _other(listener)["receiver"]
    unsent = {name.removeprefix("out."): n for name, n in sender["line"].items() if name.startswith("out.")}
    kept = heard["played"] + heard["waiting"] + sum(heard["dropped"].values())
    return (
        f"{sender['sender']['packets']} packets of {sender['sender']['frames']} frames sent, not sent: {unsent or 'none'}, "
        f"lost before: {sender['captured'] or 'none'}; "
        f"{heard['packets']} of {heard['received']} came: {heard['played']} played + {heard['waiting']} waiting + dropped "
        f"{heard['dropped'] or 'none'} = {kept}; refused {heard['refused'] or 'none'}; "
        f"repaired {heard['repaired']}, concealed {heard['concealed']}, of them {heard['inserted']} to let the delay grow, "
        f"missing {heard['missing']}; "
        f"{heard['pulls']} pulls = {heard['played'] + heard['repaired'] + heard['concealed'] + heard['silent']}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("said", type=Path, help="a talk, at 24 kHz; both say it again and again")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--ppm", type=float, nargs=2, default=(150.0, -100.0), help="of the two cards")
    parser.add_argument("--echo", action="store_true", help="without models, on a machine that is too busy for them")
    parser.add_argument("--loss", type=float, default=0.0, help="share of the time in which the lines have faded")
    parser.add_argument("--out", type=Path, default=Path("runs/long-call"))
    args = parser.parse_args(argv)
    if why := hosts_need("mosquitto"):
        sys.exit(f"room_long: no line can be laid: {why}")
    args.out.mkdir(parents=True, exist_ok=True)
    conditions = replace(Conditions(delay_ms=60, jitter_ms=10), loss=args.loss)
    try:
        options = ["--echo"] if args.echo else []
        told = call(args.said.resolve(), args.out, args.ppm, args.seconds, conditions, options)
    except LinkError as error:
        sys.exit(f"room_long: {error}")
    lines = [minutes(told), ""]
    for i, (name, readings) in enumerate(zip(NAMES, told, strict=True)):
        last = readings[-1]
        lines.append(
            f"{name}: card {args.ppm[i]:+g} ppm, heard the other (truly {args.ppm[1 - i]:+g} ppm beside the computer) at "
            f"{_number(_other(last).get('drift_ppm'))} ppm; memory {slope(readings):+.1f} KiB a minute; "
            f"{last['cpu_s'] / last['at_s']:.2f} of a core"
        )
    lines += [f"{NAMES[i]} to {NAMES[1 - i]}: {balance(told[i][-1], told[1 - i][-1])}" for i in range(2)]
    text = "\n".join(lines) + "\n"
    print(text)
    (args.out / "table.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
