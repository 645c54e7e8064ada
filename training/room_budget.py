"""The budget against what is really on the wire: IP packets counted between a talker, a broker and a listener.

    python -m sottovoce.training.room_budget --links mqtt mqtts3 --profiles normal live      # Linux, as root

Each call runs in network namespaces through mosquitto, a talker that does not pause and a listener (`room_traffic`), plain and
sealed. Their lines count every byte from the IP header on (``link.py``). Prints what was measured, what ``sottovoce budget``
says, and by how much they differ; ends with status 1 where that is more than 5 %.

Over MQTT 3.1.1 a talker acknowledges its own echo. Where that comes less than 40 ms before the next packet, the packet does
it, and less is sent than the budget says: on lines of 20 ms with packets every 80 ms (``live``).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from sottovoce.stream.budget import CODECS, LINKS, Route, budget
from sottovoce.stream.profiles import PROFILES
from sottovoce.stream.room_key import RoomKey

from .link import Conditions, Line, LinkError, Namespace, hosts_need, tcp_bytes
from .room_programs import Broker, Program
from .room_traffic import ROOM, TALKER

MOST = 0.05
_SETTLE_S = 3.0
"""Descriptors, subscriptions and handshakes are over by then."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """One call."""

    link: str
    profile: str
    sealed: bool
    measured_bps: tuple[float, float, float, float]
    "Talker up and down, listener up and down."
    budgeted_bps: tuple[float, float, float, float]

    @property
    def off(self) -> tuple[float, ...]:
        """Measured over budgeted, less one."""
        return tuple(m / b - 1 for m, b in zip(self.measured_bps, self.budgeted_bps, strict=True))

    def row(self) -> str:
        """Of the table."""
        pairs = zip(self.measured_bps, self.budgeted_bps, self.off, strict=True)
        cells = [f"{m:.0f} / {b:.0f} ({100 * off:+.1f} %)" for m, b, off in pairs]
        return f"| {self.link}{', sealed' if self.sealed else ''} | {self.profile} | {' | '.join(cells)} |"


HEAD = (
    "| link | profile | talker up, measured / budget, bit/s | talker down | listener up | listener down |\n"
    "|---|---|---|---|---|---|"
)


def measure(
    link: str, profile: str, sealed: bool, seconds: float, delay_ms: float, number: int, folder: Path
) -> Traffic:
    """A call of at least ``seconds``, in whole packets. ``number``: 1 ... 99, of its own. Raises LinkError."""
    good = Conditions(delay_ms=delay_ms)
    packet_s = PROFILES[profile].frames_per_packet * CODECS["base"].frame_ms / 1000
    n_packets = -(-seconds // packet_s)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        hosts = [stack.enter_context(Namespace(f"svb{number}{who}")) for who in ("t", "m", "l")]
        talker, middle, listener = hosts
        thin = stack.enter_context(Line((talker, middle), 2 * number, (good, good)))
        ears = stack.enter_context(Line((listener, middle), 2 * number + 1, (good, good)))
        options = ["--link", link]
        if LINKS[link].tls:
            certificate, key = _certificate(folder, [thin.address(1), ears.address(1)])
            stack.enter_context(Broker(middle, folder, tls=(certificate, key)))
            options += ["--ca", str(certificate)]
        else:
            stack.enter_context(Broker(middle, folder))
        if sealed:
            path = folder / "room.key"
            path.write_text(RoomKey.generate().to_text())
            options += ["--key", str(path)]
        command = [sys.executable, "-m", "sottovoce.training.room_traffic"]
        ear = Program(listener.command(*command, ears.address(1), *options))
        stack.callback(ear.kill)
        ear.wait_for("in room")
        talk_s = str(_SETTLE_S + (n_packets + 2) * packet_s)
        mouth = Program(talker.command(*command, thin.address(1), *options, "--talk", profile, "--seconds", talk_s))
        stack.callback(mouth.kill)
        mouth.wait_for("in room")
        # From half way between two packets to half way between two others, so that none is cut.
        first = -(-_SETTLE_S // packet_s) + 0.5
        time.sleep(max(mouth.seen_s + first * packet_s - time.monotonic(), 0))
        before, began_s = [*tcp_bytes(thin), *tcp_bytes(ears)], time.monotonic()
        time.sleep(n_packets * packet_s)
        after, wall_s = [*tcp_bytes(thin), *tcp_bytes(ears)], time.monotonic() - began_s
    # A line of two peers alone carries talker up, talker down, then listener up, listener down.
    measured = [8 * (now - then) / wall_s for now, then in zip(after, before, strict=True)]
    key_names = (8, 4) if sealed else (len(ROOM), len(TALKER))
    route = Route(LINKS[link], "r" * key_names[0], "p" * key_names[1])
    cost = budget(PROFILES[profile], route, CODECS["base"], sealed)
    return Traffic(link, profile, sealed, (*measured,), (*cost.talker_bit_per_s, *cost.listener_bit_per_s))  # type: ignore[arg-type]


def _certificate(folder: Path, addresses: Sequence[str]) -> tuple[Path, Path]:
    """A certificate for these addresses that signs itself, and its key. Raises LinkError."""
    certificate, key = folder / "broker.pem", folder / "broker.key"
    names = ",".join(f"IP:{address}" for address in addresses)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += [
        "-subj",
        "/CN=broker",
        "-addext",
        f"subjectAltName={names}",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LinkError(f"openssl makes no certificate: {error}") from error
    key.chmod(0o644)  # mosquitto reads it as a user of its own
    return certificate, key


def main(argv: Sequence[str] | None = None) -> None:
    mqtt = [name for name, link in LINKS.items() if link.mqtt]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", nargs="+", choices=mqtt, default=mqtt)
    parser.add_argument("--profiles", nargs="+", choices=tuple(PROFILES), default=["live", "normal", "thrifty"])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each call, in whole packets")
    parser.add_argument("--delay-ms", type=float, default=5.0, help="of each way of a line; see below")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("runs/room-budget"))
    args = parser.parse_args(argv)
    if why := hosts_need("mosquitto", "openssl"):
        sys.exit(f"room_budget: no line can be laid: {why}")
    calls = list(product(args.links, args.profiles, (False, True)))
    with ThreadPoolExecutor(args.at_once) as pool:
        under_way = [
            pool.submit(measure, *call, args.seconds, args.delay_ms, number, (args.out / str(number)).resolve())
            for number, call in enumerate(calls, 1)
        ]
        try:
            found = [one.result() for one in under_way]
        except LinkError as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(f"room_budget: {error}")
    print("\n".join([HEAD, *(one.row() for one in found)]))
    worst = max(max(map(abs, one.off)) for one in found)
    print(f"\nworst: {100 * worst:.1f} %")
    if worst > MOST:
        sys.exit(1)


if __name__ == "__main__":
    main()
