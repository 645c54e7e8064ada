"""A client of a server at the level of its socket: it reads when it wants to, and sends what it wants to."""

import base64
import os
import select
import socket
import struct
from contextlib import suppress

from websockets.frames import OP_BINARY, OP_CLOSE, OP_PING, OP_PONG, OP_TEXT, Frame, Opcode

from sottovoce.stream import messages, wire
from sottovoce.stream.client_messages import Start
from sottovoce.stream.messages import ClientMessage, ServerMessage
from sottovoce.stream.wire import Media

SMALL_BYTES = 4096
"""A receive buffer that is full at once."""
_PATIENCE_S = 20.0


class RawPeer:
    """One connection. Nothing is read of it but by `read`."""

    def __init__(self, place: str, receive_bytes: int = SMALL_BYTES) -> None:
        host, _, port = place.partition(":")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)  # it counts from the handshake on
        self.socket.settimeout(_PATIENCE_S)
        self.socket.connect((host, int(port)))
        self._unread = b""
        self._host = place

    def handshake(self, path: str = "/v1/stream") -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {self._host}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: sottovoce.v1"]  # fmt: skip
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head

    def begin(self, start: Start) -> None:
        """The handshake, and a session."""
        self.handshake()
        self.say(start)

    def say(self, message: ClientMessage | Media) -> None:
        """Raises OSError: the server is gone, or has not read for a long time."""
        if isinstance(message, Media):
            self.socket.sendall(frame(OP_BINARY, message.pack()))
        else:
            self.socket.sendall(frame(OP_TEXT, messages.encode(message).encode()))

    def raw(self, data: bytes) -> None:
        """Bytes as they are. Raises as `say`."""
        self.socket.sendall(data)

    def wait(self) -> None:
        """Until there is something to read. Raises AssertionError: nothing comes."""
        assert self._unread or select.select([self.socket], [], [], _PATIENCE_S)[0]

    def read(self) -> ServerMessage | Media | None:
        """The next message; None: it was the last. Pings are answered. Raises OSError."""
        while True:
            opcode, payload = self._frame()
            if opcode == OP_CLOSE:
                return None
            if opcode == OP_PING:
                self.socket.sendall(frame(OP_PONG, payload))
            elif opcode == OP_TEXT:
                if (message := messages.from_server(payload.decode())) is not None:
                    return message
            elif opcode == OP_BINARY and (media := wire.unpack(payload)) is not None:
                return media

    def until_closed(self) -> None:
        """Read on until the server has closed the connection, in whatever way."""
        with suppress(ConnectionError):
            while self.socket.recv(65536):
                pass

    def reset(self) -> None:
        """Gone, without a goodbye of any kind."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def _frame(self) -> tuple[Opcode, bytes]:
        """Servers cut no message, and mask none."""
        head = self._take(2)
        size = head[1] & 127
        if size == 126:
            (size,) = struct.unpack(">H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._take(8))
        assert head[0] & 0x80
        return Opcode(head[0] & 15), self._take(size)

    def _take(self, n: int) -> bytes:
        while len(self._unread) < n:
            self._receive()
        taken, self._unread = self._unread[:n], self._unread[n:]
        return taken

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("the server has closed the connection")
        self._unread += data


def frame(opcode: Opcode, payload: bytes, fin: bool = True) -> bytes:
    """As a client sends it."""
    return Frame(opcode, payload, fin).serialize(mask=True)
