"""A chat server on a free port of this machine: real HTTP, real server-sent events, no language model."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

STREAM = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"


def delta(text: str | None, index: int = 0, finish: str | None = None) -> bytes:
    """An event with a piece of the answer."""
    choice = {"index": index, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    return event({"id": "1", "object": "chat.completion.chunk", "choices": [choice]})


def event(data: object) -> bytes:
    """Any event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


@dataclass
class Line:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None

    async def begin(self, status: int = 200, kind: str = STREAM, **headers: str) -> None:
        """Answer with a status; what follows comes in chunks."""
        told = {"Content-Type": kind, "Transfer-Encoding": "chunked", **headers}
        lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in told.items())]
        await self.write("\r\n".join([*lines, "", ""]).encode())

    async def send(self, *parts: bytes) -> None:
        """A chunk each."""
        for part in parts:
            await self.write(b"%x\r\n%s\r\n" % (len(part), part))

    async def end(self) -> None:
        """Nothing follows, in good order."""
        await self.write(b"0\r\n\r\n")

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_left(self) -> None:
        """Wait until the client has closed the line."""
        assert await self.reader.read() == b""


Answer = Callable[[Line], Awaitable[None]]


@asynccontextmanager
async def chatting(answer: Answer) -> AsyncIterator[str]:
    """Its address, with /v1. What ``answer`` raises is raised in the end, and the line closed when it returns."""
    failures: list[BaseException] = []
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        running.add(task)
        try:
            head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines if line)}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            await answer(Line(reader, writer, head.split()[1], headers, body))
        except Exception as error:
            failures.append(error)
        finally:
            writer.close()
            running.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        if running:
            await asyncio.wait(running)
    finally:
        server.close()
    if failures:
        raise failures[0]
