"""One of many servers: what Ray Serve runs in a process of its own, an engine and the server's addresses around it.

Its proxies carry every WebSocket to one replica and leave it there. A session is where its socket is; when a replica dies its
sessions end, and nobody else's.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from ray import serve
from ray.serve.request_router import FIFOMixin, RequestRouter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from . import messages, metrics
from .admission import Admission
from .engine import Engine
from .errors import EngineStopped
from .loop import EngineLoop
from .rooms import PATH as ROOM_PATH
from .rooms import ROOM_CLOSE_CODES, ROOM_PROTOCOL
from .server import STALLED_S, ServerOptions, make_app, make_service, warm_up
from .server_messages import Error

_ANSWER_S = 5.0
"""What another replica has to tell its numbers."""

Make = Callable[[], tuple[Engine, ServerOptions]]
"""What a replica begins with. It is called on the replica's machine, and must be importable there."""


class LeastTaken(FIFOMixin, RequestRouter):  # type: ignore[misc, unused-ignore]
    """The replica with the fewest connections now: sessions are long, and few.

    Ray's own router takes the better of two by chance, by numbers that may be seconds old: both may be full, others not.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named | {"use_replica_queue_len_cache": False})

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        """All of them, as equals; Ray asks each how much it has to do. Of several with the least it takes the first."""
        return [random.sample(candidate_replicas, len(candidate_replicas))]


@serve.ingress()
class Replica:
    """An engine and the server's addresses around it, in a process of Ray's."""

    def __init__(self, make: Make, alone: bool) -> None:
        """``alone``: there are never others."""
        self._make = make
        self._alone = alone

    async def __serve_build_asgi_app__(self) -> Starlette:
        """Ray calls it once, in the event loop that everything else runs in too."""
        engine, options = self._make()
        loop = EngineLoop(engine, admission=Admission(engine.descriptor.frame_ms / 1000))
        self._service = make_service(loop, options)
        routes: list[BaseRoute] = [Route("/metrics", self._all_metrics)]
        if not self._alone:
            routes.append(WebSocketRoute(ROOM_PATH, no_rooms))

        @asynccontextmanager
        async def alive(app: Starlette) -> AsyncIterator[None]:
            async with loop:
                await warm_up(loop, talks=options.speakers is not None)
                yield

        app = make_app(self._service, replace(options, routes=tuple(routes)), alive)
        app.add_middleware(StillThere)
        return app

    async def check_health(self) -> None:
        """Ray asks. Raises EngineStopped: the engine failed, or makes no progress."""
        loop = self._service.loop
        loop.check()
        if loop.longest_wait_s > STALLED_S:
            raise EngineStopped(f"a step has not been answered for {loop.longest_wait_s:.0f} s")

    async def metrics(self) -> tuple[str, str]:
        """This replica's name and numbers."""
        return serve.get_replica_context().replica_id.unique_id, self._service.metrics.text().decode()

    async def _all_metrics(self, request: Request) -> Response:
        """``GET /metrics``: of every replica that answers, with its name as a label; whoever is asked."""
        context = serve.get_replica_context()
        handle = serve.get_deployment_handle(context.deployment, context.app_name)
        try:
            told = await handle.broadcast("metrics").results_async(timeout_s=_ANSWER_S, return_exceptions=True)
        except TimeoutError:
            return Response("a replica does not answer", 503, media_type="text/plain")
        families: dict[str, Metric] = {}
        for name, text in [answer for answer in told if isinstance(answer, tuple)]:
            for one in text_string_to_metric_families(text):
                family = families.setdefault(one.name, Metric(one.name, one.documentation, one.type))
                for sample in one.samples:
                    family.add_sample(sample.name, {**sample.labels, "replica": name}, sample.value)
        return Response(generate_latest(SimpleNamespace(collect=families.values)), media_type=metrics.CONTENT_TYPE)


class StillThere:
    """ASGI middleware for clients that were gone before their handshake came here.

    Where ASGI has ``websocket.connect`` first, and Starlette takes anything else for a fault, Ray may begin with the end.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        waiting = [await receive()]
        if waiting[0]["type"] == "websocket.disconnect":
            return

        async def next_one() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, next_one, send)


async def no_rooms(websocket: WebSocket) -> None:
    """``/v1/room``: those of one room would not meet, each with another replica."""
    with suppress(OSError, WebSocketDisconnect):
        await websocket.accept(ROOM_PROTOCOL if ROOM_PROTOCOL in websocket.scope["subprotocols"] else None)
        error = Error("unsupported", "a cluster has no rooms: they need a server of their own")
        await websocket.send_text(messages.encode(error))
        await websocket.close(ROOM_CLOSE_CODES["unsupported"])
