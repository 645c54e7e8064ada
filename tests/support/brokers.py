"""Real MQTT brokers on free ports of this machine: mosquitto in a process of its own, amqtt in ours."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

MOSQUITTO = shutil.which("mosquitto") or (shutil.which("mosquitto", path="/usr/sbin"))
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (Debian package mosquitto)")


def free_port() -> int:
    """One that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Mosquitto:
    """A broker that can be killed, and started again on the same port with nothing kept."""

    def __init__(self, folder: Path, *lines: str) -> None:
        """``lines`` of configuration, after the listener's."""
        self.port = free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._config.write_text("\n".join([f"listener {self.port} 127.0.0.1", "user root", *lines]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = _started(self._config)
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                assert self._process.poll() is None, "mosquitto does not start"
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return

    def kill(self) -> None:
        """As a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _started(config: Path) -> "subprocess.Popen[bytes]":
    assert MOSQUITTO is not None
    return subprocess.Popen([MOSQUITTO, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@asynccontextmanager
async def mosquitto(folder: Path, *lines: str) -> AsyncIterator[Mosquitto]:
    """One that runs."""
    broker = Mosquitto(folder, *(lines or ("allow_anonymous true",)))
    await broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@asynccontextmanager
async def amqtt() -> AsyncIterator[int]:
    """The port of one that lets everybody in."""
    from amqtt.broker import Broker

    from sottovoce.clients.broker import BrokerOptions, config

    port = free_port()
    broker = Broker(config(BrokerOptions(port=port), None))
    await broker.start()
    try:
        yield port
    finally:
        await broker.shutdown()


class Proxy:
    """Between a client and a broker: counts what goes up, and can fall silent or break."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.up_bytes = 0
        self.on_up: Callable[[bytes], None] = lambda data: None
        self._to = port
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Both ends lose the other without a word."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, ours]
        await asyncio.gather(self._pass(reader, ours, up=True), self._pass(theirs, writer, up=False))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        try:
            while data := await reader.read(1 << 16):
                if up:
                    self.up_bytes += len(data)
                    self.on_up(data)
                writer.write(data)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()
