"""Where a room is: ``mqtt://host/room`` on a broker, ``ws://host/room`` on a sottovoce server; with an s behind TLS."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from sottovoce.stream.errors import UsageError
from sottovoce.stream.room_transport import Connect, check_name

PASSWORD_VARIABLE = "SOTTOVOCE_MQTT_PASSWORD"
_SCHEMES = ("mqtt", "mqtts", "ws", "wss")
_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class RoomAddress:
    """One room, and how its carrier is asked."""

    scheme: str
    host: str
    port: int
    room: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    authorities: str | None = None
    "File of certificates to trust instead of the system's."

    @property
    def place(self) -> str:
        """Without secrets, and without the room."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def carrier(self, room: str, peer: str | None, counts: Counter[str] | None = None, listens: bool = True) -> Connect:
        """Connects to it as ``peer``, both named as they travel. Raises UsageError: a package for that is not installed."""
        try:
            if self.scheme.startswith("ws"):
                from sottovoce.stream.ws_room import RoomServer, WsRoom

                return WsRoom(RoomServer(self.place, self.token, self.authorities), room, peer, counts, listens).connect
            from sottovoce.stream.mqtt_room import Broker, MqttRoom

            tls = self.scheme == "mqtts"
            broker = Broker(self.host, self.port, self.user, self.password, tls, self.authorities)
            return MqttRoom(broker, room, peer, counts, listens).connect
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            extra = "serve" if self.scheme.startswith("ws") else "peer"
            raise UsageError(
                f"{package} must be installed for {self.scheme}: pip install 'sottovoce[{extra}]'"
            ) from error


def parse_address(url: str, token: str | None = None, authorities: str | None = None) -> RoomAddress:
    """The room at ``url``. Raises UsageError: that is no address of a room; the message repeats no password."""
    try:
        where = urlsplit(url)
        host, port = where.hostname, where.port
    except ValueError:
        host, port, where = None, None, urlsplit("")
    if where.scheme not in _SCHEMES or not host or where.query or where.fragment:
        raise UsageError("a room has an address like mqtt://host/room or ws://host:8765/room")
    room = unquote(where.path.removeprefix("/"))
    try:
        check_name(room, "a room's name")
    except ValueError as error:
        raise UsageError(f"{error}; the address is like {where.scheme}://host/room") from error
    user = None if where.username is None else unquote(where.username)
    password = None if where.password is None else unquote(where.password)
    if where.scheme.startswith("ws") and user is not None:
        raise UsageError("a server takes a token, not a user: see --token")
    return RoomAddress(
        scheme=where.scheme,
        host=host,
        port=_PORTS[where.scheme] if port is None else port,
        room=room,
        user=user,
        password=password or (os.environ.get(PASSWORD_VARIABLE) or None if user is not None else None),
        token=token,
        authorities=authorities,
    )
