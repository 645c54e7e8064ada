"""A real server on a free port of this machine, within the test's event loop."""

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from sottovoce.stream.engine import EchoEngine, Engine
from sottovoce.stream.server import ServerOptions, serve


@asynccontextmanager
async def serving(
    rows: int = 2, options: ServerOptions | None = None, engine: Engine | None = None
) -> AsyncIterator[str]:
    """Its address without a scheme, as ``127.0.0.1:12345``."""
    listening = socket.create_server(("127.0.0.1", 0))
    ready = asyncio.Event()
    task = asyncio.create_task(serve(engine or EchoEngine(rows), options or ServerOptions(), listening, ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def open_socket(place: str, **headers: str) -> ClientConnection:
    """A client of its own: nothing of ours but the address."""
    return await connect(
        f"ws://{place}/v1/stream",
        subprotocols=[Subprotocol("sottovoce.v1")],
        compression=None,
        additional_headers=headers,
        close_timeout=1,
    )


async def get(place: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Status and body."""

    def ask() -> tuple[int, str]:
        request = urllib.request.Request(f"http://{place}{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def health(place: str) -> dict[str, Any]:
    """What ``/health`` says."""
    return dict(json.loads((await get(place, "/health"))[1]))


async def until_free(place: str) -> None:
    """Wait until no session has a row; a test that waits in vain runs into its timeout."""
    while (await health(place))["rows_taken"]:
        pass
