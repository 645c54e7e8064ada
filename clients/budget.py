"""``sottovoce budget``: what a voice costs on a link, byte by byte."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict, replace
from typing import Any

from sottovoce.stream.budget import CODECS, LINKS, Budget, Cost, Route, budget
from sottovoce.stream.errors import UsageError
from sottovoce.stream.profiles import PROFILES
from sottovoce.stream.room_transport import check_name

from .options import count
from .pipes import say

_HIDDEN_ROOM, _HIDDEN_PEER = "r" * 8, "p" * 4
"""With a key, names are as long as these."""
_LAYERS = {"codes": "codes", "repeated": "again", "header": "head", "seal": "seal"}
_LAYERS |= {"mqtt": "mqtt", "websocket": "ws", "tls": "tls", "tcp": "tcp", "ip": "ip"}
"""What is printed above each."""


def add_budget(commands: Any) -> None:
    """To the subparsers ``commands``."""
    parser = commands.add_parser("budget", help="what a voice costs on a link, headers and all")
    parser.set_defaults(command=_budget)
    parser.add_argument("--profile", choices=PROFILES, help="default: all")
    parser.add_argument(
        "--link", choices=(*LINKS, "all"), default="mqtt", help="default mqtt, which is MQTT 5; mqtt3 is 3.1.1"
    )
    parser.add_argument("--key", action="store_true", help="sealed with a room key")
    parser.add_argument(
        "--room", default="room", metavar="NAME", help="its name is sent with packets; default %(default)s"
    )
    parser.add_argument("--name", default="anna", metavar="NAME", help="of the peer; so is this; default %(default)s")
    parser.add_argument("--ipv6", action="store_true", help="default: IPv4")
    parser.add_argument("--preset", choices=CODECS, default="base", help="codec; default %(default)s")
    parser.add_argument("--books", type=count, metavar="N", help="instead of the profile's")
    parser.add_argument("--frames-per-packet", type=count, metavar="N", help="instead of the profile's")
    parser.add_argument("--redundancy", type=int, metavar="N", help="instead of the profile's")
    parser.add_argument("--json", action="store_true", help="one JSON object for each profile and link")


def _budget(arguments: Namespace) -> None:
    from sottovoce.stream.packet import MAX_FRAMES, MAX_REDUNDANCY  # slow

    codec = CODECS[arguments.preset]
    changes = {name: getattr(arguments, name) for name in ("books", "frames_per_packet", "redundancy")}
    changes = {name: value for name, value in changes.items() if value is not None}
    if not 1 <= changes.get("books", 1) <= codec.books:
        raise UsageError(f"--books must be 1 to {codec.books}, not {arguments.books}")
    if changes.get("frames_per_packet", 1) > MAX_FRAMES:
        raise UsageError(f"--frames-per-packet must be 1 to {MAX_FRAMES}, not {arguments.frames_per_packet}")
    if not 0 <= changes.get("redundancy", 0) <= MAX_REDUNDANCY:
        raise UsageError(f"--redundancy must be 0 to {MAX_REDUNDANCY}, not {arguments.redundancy}")
    try:
        check_name(arguments.room, "a room's name")
        check_name(arguments.name, "a peer's name")
    except ValueError as error:
        raise UsageError(str(error)) from error
    room, peer = (_HIDDEN_ROOM, _HIDDEN_PEER) if arguments.key else (arguments.room, arguments.name)
    for link in LINKS.values() if arguments.link == "all" else [LINKS[arguments.link]]:
        route = Route(link, room, peer, arguments.ipv6)
        profiles = PROFILES.values() if arguments.profile is None else [PROFILES[arguments.profile]]
        budgets = [budget(replace(profile, **changes), route, codec, arguments.key) for profile in profiles]
        if arguments.json:
            for one in budgets:
                say(json.dumps(_plain(one)))
        else:
            _print(budgets, sealed=arguments.key)


def _print(budgets: list[Budget], sealed: bool) -> None:
    route = budgets[0].route
    names = f"room {route.room}, peer {route.peer}" if not sealed else "sealed, names hidden"
    say(f"{route.link.name}: {route.link.words}, {'IPv6' if route.ipv6 else 'IPv4'}, {names}")
    say("")
    say(f"{'':8} {'':4} {'bytes of one packet':^{6 * 10}} {'':>7} {'bit/s':>7} {'bit/s':>6}")
    heads = "".join(f" {head:>5}" for head in _LAYERS.values())
    say(f"{'profile':8} {'way':4}{heads} {'all':>5} {'per s':>7} {'voice':>7} {'acks':>6}")
    for one in budgets:
        for cost in (one.up, one.down):
            name = one.profile.name if cost.way == "up" else ""
            bytes_of = "".join(f" {cost.layers[layer]:5}" for layer in _LAYERS)
            say(
                f"{name:8} {cost.way:4}{bytes_of} {cost.packet_bytes:5} {cost.packets_per_s:7.2f} "
                f"{cost.bit_per_s:7.0f} {cost.ack_bit_per_s:6.0f}"
            )
    say("")
    say(f"{'':8} {'codes':>5} {'delay':>6} {'talker, bit/s':^13} {'listener, bit/s':^15} {'end of talk':>11}")
    say(f"{'profile':8} {'bit/s':>5} {'ms':>6} {'up':>6} {'down':>6} {'up':>7} {'down':>7} {'bytes':>11}")
    for one in budgets:
        (talker_up, talker_down), (listener_up, listener_down) = one.talker_bit_per_s, one.listener_bit_per_s
        say(
            f"{one.profile.name:8} {one.code_bit_per_s:5.0f} {one.delay_ms:6.0f} {talker_up:6.0f} {talker_down:6.0f} "
            f"{listener_up:7.0f} {listener_down:7.0f} {one.talk_end_bytes:11}"
        )
    up, down = route.alive_bit_per_s
    say("")
    say(
        "up: to broker or server; down: from there; acks go the other way. In IP packets, while one speaks without a pause"
    )
    echo = ", and what a talker is sent of its own voice" if route.link.echoes else ""
    say(f"talker, listener: all of a line, {up:.0f} bit/s up and {down:.0f} bit/s down to keep it alive included{echo}")
    say("")


def _plain(one: Budget) -> dict[str, Any]:
    def plain(cost: Cost) -> dict[str, Any]:
        return {
            "bytes": cost.layers,
            "packet_bytes": cost.packet_bytes,
            "ack_bytes": cost.ack_bytes,
            "bit_per_s": cost.bit_per_s,
            "ack_bit_per_s": cost.ack_bit_per_s,
        }

    def ways(bit_per_s: tuple[float, float]) -> dict[str, float]:
        return {"up": bit_per_s[0], "down": bit_per_s[1]}

    return {
        "profile": asdict(one.profile),
        "link": asdict(one.route.link),
        "ipv6": one.route.ipv6,
        "delay_ms": one.delay_ms,
        "packets_per_s": one.up.packets_per_s,
        "code_bit_per_s": one.code_bit_per_s,
        "up": plain(one.up),
        "down": plain(one.down),
        "talk_end_bytes": one.talk_end_bytes,
        "alive_bit_per_s": ways(one.route.alive_bit_per_s),
        "talker_bit_per_s": ways(one.talker_bit_per_s),
        "listener_bit_per_s": ways(one.listener_bit_per_s),
    }
