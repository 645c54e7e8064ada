"""The commands ``peer``, ``listen`` and ``broker`` on the command line."""

from __future__ import annotations

import getpass
import os
import secrets
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import Any

from sottovoce.stream.errors import UsageError
from sottovoce.stream.profiles import DEFAULT, PROFILES, Profile

from .options import add_engine, count, engine_options, file_name, path, port, seconds
from .room_keys import VARIABLE, room_key

_NAME_CHARS = 24


def add_peer(commands: Any) -> None:
    """``peer`` and ``listen``, to the subparsers ``commands``."""
    peer: ArgumentParser = commands.add_parser("peer", help="talk in a room, on any MQTT broker or a sottovoce server")
    peer.set_defaults(command=_peer)
    _add_room(peer)
    peer.add_argument("--input", type=file_name, metavar="FILE", help="sound file, or -; default: the microphone")
    peer.add_argument("--input-device", metavar="NAME", help="microphone: number or part of its name")
    peer.add_argument("--profile", choices=tuple(PROFILES), default=DEFAULT,
                      help="how sound is cut into packets; default %(default)s; see 'sottovoce budget'")  # fmt: skip
    peer.add_argument("--books", type=count, metavar="N", help="codebooks to send; default: the profile's")
    peer.add_argument("--redundancy", type=int, metavar="N",
                      help="packets back that each packet repeats the coarsest book of; default: the profile's")  # fmt: skip
    peer.add_argument("--ptt", action="store_true",
                      help="push to talk: the space bar takes the floor and gives it back; a file takes it")  # fmt: skip

    listen = commands.add_parser("listen", help="hear a room, without a microphone")
    listen.set_defaults(command=_listen)
    _add_room(listen)


def add_broker(commands: Any) -> None:
    """To the subparsers ``commands``."""
    broker: ArgumentParser = commands.add_parser("broker", help="a small MQTT broker, for those who have none")
    broker.set_defaults(command=_broker)
    broker.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: this machine only")
    broker.add_argument("--port", type=port, default=1883, metavar="N", help="default 1883")
    broker.add_argument("--no-auth", action="store_true", help="anybody may come in, also from other machines")
    broker.add_argument("--cert", type=path, metavar="PEM", help="certificate for mqtts, with --key")
    broker.add_argument("--key", type=path, metavar="PEM")


def _add_room(parser: ArgumentParser) -> None:
    parser.add_argument("room", metavar="URL", help="mqtt://host/room, mqtts://..., ws://host:8765/room or wss://...")
    parser.add_argument("--name", metavar="NAME", help="how the others see you; default: your user's, and four letters")
    parser.add_argument("--key", type=path, metavar="FILE",
                        help=f"key of the room, from 'sottovoce keygen'; default: {VARIABLE} of the environment")  # fmt: skip
    parser.add_argument("--output", type=file_name, metavar="FILE", help="sound file, or -; default: the speaker")
    parser.add_argument("--output-device", metavar="NAME", help="speaker: number or part of its name")
    parser.add_argument("--seconds", type=seconds, metavar="S", help="leave after so long")
    parser.add_argument("--stats", type=path, metavar="JSON", help="write every counter there when it ends")
    parser.add_argument("--talkers", type=count, default=4, metavar="N", help="others heard at once; default 4")
    parser.add_argument("--bridge", metavar="URL", help="carry everybody over to this room too, and from there")
    parser.add_argument("--token", help="of a server; default: SOTTOVOCE_TOKEN of the environment")
    parser.add_argument("--ca", type=file_name, metavar="PEM", help="certificates to trust instead of the system's")
    add_engine(parser)


def _peer(arguments: Namespace) -> None:
    _converse(
        arguments,
        _profile(arguments),
        input=arguments.input,
        input_device=arguments.input_device,
        push_to_talk=arguments.ptt,
    )


def _listen(arguments: Namespace) -> None:
    _converse(arguments, PROFILES[DEFAULT], silent=True)


def _converse(
    arguments: Namespace,
    profile: Profile,
    *,
    input: str | None = None,
    input_device: str | None = None,
    push_to_talk: bool = False,
    silent: bool = False,
) -> None:
    from sottovoce.stream.room_transport import check_name

    from .room_address import parse_address

    token = arguments.token or os.environ.get("SOTTOVOCE_TOKEN") or None
    address = parse_address(arguments.room, token, arguments.ca)
    beyond = None if arguments.bridge is None else parse_address(arguments.bridge, token, arguments.ca)
    name = _default_name() if arguments.name is None else arguments.name
    try:
        check_name(name, "--name")
    except ValueError as error:
        raise UsageError(str(error)) from error
    key = room_key(arguments.key)
    if key is not None and beyond is not None and beyond.room != address.room:
        raise UsageError("with a key both rooms of a bridge must have the same name: it is part of what is sealed")
    from sottovoce.stream.peer import PeerOptions

    from .peer import PeerCommand, converse
    from .room_ends import RoomEndOptions

    converse(
        PeerCommand(
            address=address,
            peer=PeerOptions(address.room, name, profile, key, push_to_talk or silent, live=input is None),
            engine=engine_options(arguments),
            ends=RoomEndOptions(input, arguments.output, silent, input_device, arguments.output_device),
            seconds=arguments.seconds,
            stats=arguments.stats,
            bridge=beyond,
            talkers=arguments.talkers,
        )
    )


def _broker(arguments: Namespace) -> None:
    from .broker import BrokerOptions, serve

    serve(BrokerOptions(arguments.host, arguments.port, arguments.no_auth, arguments.cert, arguments.key))


def _profile(arguments: Namespace) -> Profile:
    """Raises UsageError: a number of it is out of range."""
    from sottovoce.stream.packet import MAX_REDUNDANCY

    profile = PROFILES[arguments.profile]
    if arguments.books is not None:
        profile = replace(profile, books=arguments.books)
    if arguments.redundancy is not None:
        if not 0 <= arguments.redundancy <= MAX_REDUNDANCY:
            raise UsageError(f"--redundancy must be 0 to {MAX_REDUNDANCY}, not {arguments.redundancy}")
        profile = replace(profile, redundancy=arguments.redundancy)
    return profile


def _default_name() -> str:
    """The user's, and something that no other of the user's has."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "peer"
    letters = "".join(c for c in user if c.isalnum() or c in "._-")[:_NAME_CHARS] or "peer"
    return f"{letters}-{secrets.token_hex(2)}"
