"""The server: an engine, the conversations that use it, and the HTTP around them, as one ASGI application.

Read from top to bottom: `serve` is the life of a server, `make_app` its addresses, then what each of them does.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import Lifespan, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from . import elevenlabs, metrics, openai_speech, speak_mode
from .admission import CHUNKS, HEARD, Admission
from .call import Call, Service, Socket
from .clock import Clock
from .elevenlabs_contexts import MULTI, multi_stream_input
from .elevenlabs_timestamps import TIMESTAMPS
from .engine import Engine
from .errors import EngineStopped
from .guard import Guard, Rules
from .hosting import Tls, host
from .loop import EngineLoop, Session
from .messages import PATH
from .metrics import Metrics
from .modes import MODES, Mode
from .page import Page
from .room_mode import attend
from .rooms import PATH as ROOM_PATH
from .rooms import ROOM_PROTOCOL, RoomLimits, Rooms
from .server_messages import PROTOCOL, Limits
from .speakers import Speakers
from .talk_work import Manner, Moment, Reading, Score

logger = logging.getLogger(__name__)

STALLED_S = 5.0
"""A step that was not answered for so long: the engine makes no progress."""
_WARM_FRAMES = 4
_WARM_CHUNKS = 2


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What a server is made with, besides its engine."""

    limits: Limits = field(default_factory=lambda: Limits(sessions=0))
    "``sessions`` is filled in: the engine's rows."
    rules: Rules = field(default_factory=Rules)
    modes: Mapping[str, Mode] = field(default_factory=lambda: MODES)
    speakers: Speakers | None = None
    "Where the engine talks: they bring the mode ``speak``, and the addresses that speak."
    rooms: RoomLimits = field(default_factory=RoomLimits)
    web: Path | None = None
    "Folder of the page at ``/``."
    routes: tuple[BaseRoute, ...] = ()
    "Of adapters; they come before ours."
    tls: Tls | None = None


async def serve(
    engine: Engine, options: ServerOptions, listening: socket.socket, ready: Callable[[], None] = lambda: None
) -> None:
    """Serve until cancelled; then every session is closed, and the engine stopped.

    Args:
        engine: used by nobody else.
        options: how.
        listening: a bound socket; closed in the end.
        ready: called once clients may come, with a warm engine.

    Raises:
        EngineStopped: the engine failed while it was warmed up.
        ServeError: the certificate or its key cannot be used.
    """
    with listening:
        async with EngineLoop(engine, admission=Admission(engine.descriptor.frame_ms / 1000)) as loop:
            await warm_up(loop, talks=options.speakers is not None)
            service = make_service(loop, options)
            app = make_app(service, options)
            await host(app, listening, service.limits, options.tls, ready, lambda: loop.pace_s)


async def warm_up(loop: EngineLoop, talks: bool = False) -> None:
    """Take every kind of step a few times, so that the first client waits for none of what happens once; by one row, by two,
    by four and so on, so that it is known who may come; where there is a talker, also of a few frames at once."""
    n, score = 1, None
    while n < 2 * loop.rows:
        with ExitStack() as stack:
            # Whoever needs nothing is let in.
            rows = [stack.enter_context(loop.open(())) for _ in range(min(n, loop.rows))]
            if talks and score is None:
                score = await rows[0].talk("read", Reading("ə", Manner()), 0.0)
            for _ in range(_WARM_FRAMES):
                await asyncio.gather(*(_warm_up(row, score) for row in rows))
            for chunk in CHUNKS[:-1] if talks else ():
                for _ in range(_WARM_CHUNKS):
                    await asyncio.gather(*(_warm_up_chunk(row, chunk) for row in rows))
        n *= 2


async def _warm_up(row: Session, score: Score | None) -> None:
    """A frame; of the talker too, where there is a score to speak."""
    mel = await row.step("mel", np.zeros(row.descriptor.frame_samples, np.float32), 0.0)
    codes = await row.step("encode", mel, 0.0)
    await row.step("vocode", await row.step("decode", codes, 0.0), 0.0)
    if score is not None:
        await row.talk("talk", Moment(score, 0), 0.0)


async def _warm_up_chunk(row: Session, n_frames: int) -> None:
    codes = np.zeros((n_frames, row.descriptor.books), np.int16)
    await row.visit(HEARD, codes, 0.0)


def make_service(loop: EngineLoop, options: ServerOptions) -> Service:
    """What the conversations of a server share."""
    limits = replace(options.limits, sessions=loop.rows)
    modes, names = dict(options.modes), tuple[str, ...]()
    if options.speakers is not None:
        modes["speak"], names = speak_mode.mode(options.speakers), options.speakers.names
    return Service(loop, modes, limits, Metrics(loop), names)


def make_app(service: Service, options: ServerOptions, lifespan: Lifespan[Starlette] | None = None) -> Starlette:
    """The addresses of a server; `service.loop` must run as long as it does, for which there is ``lifespan``."""
    rooms = Rooms(options.rooms)
    service.metrics.watch_rooms(rooms)
    routes: list[BaseRoute] = [
        *options.routes,
        WebSocketRoute(PATH, _Handshake(PROTOCOL, partial(stream, service=service), strict=True)),
        WebSocketRoute(ROOM_PATH, _Handshake(ROOM_PROTOCOL, partial(room, rooms=rooms, clock=service.clock))),
        *speaking(service, options.speakers),
        Route("/v1/models", partial(models, service=service, loaded_s=int(time.time()))),
        Route("/v1/audio/voices", partial(voices, speakers=options.speakers)),
        Route("/v1/{rest:path}", unknown, methods=["POST"]),
        Route("/health", partial(health, service=service)),
        Route("/metrics", partial(prometheus, service=service)),
    ]
    if options.web is not None:
        routes.append(Mount("/", Page(options.web)))
    guard = Middleware(Guard, rules=options.rules, clock=service.clock)
    return Starlette(routes=routes, middleware=[guard], lifespan=lifespan)


def speaking(service: Service, speakers: Speakers | None) -> list[BaseRoute]:
    """The addresses that speak, in the manner of others."""
    if speakers is None:
        return [Route(openai_speech.PATH, no_speech, methods=["POST"])]
    stream = partial(elevenlabs.stream, service=service, speakers=speakers)
    return [
        Route(openai_speech.PATH, partial(openai_speech.speech, service=service, speakers=speakers), methods=["POST"]),
        Route(elevenlabs.VOICES, partial(elevenlabs.voices, speakers=speakers)),
        Route(elevenlabs.STREAM, stream, methods=["POST"]),
        Route(elevenlabs.WHOLE, stream, methods=["POST"]),
        Route(TIMESTAMPS, partial(stream, timed=True), methods=["POST"]),
        WebSocketRoute(elevenlabs.INPUT, partial(elevenlabs.stream_input, service=service, speakers=speakers)),
        WebSocketRoute(MULTI, partial(multi_stream_input, service=service, speakers=speakers)),
    ]


# ---- the native protocol ---------------------------------------------------------------------------------------


class _Handshake:
    """An ASGI application for a `WebSocketRoute`: Starlette's WebSocket to the end of the handshake, no longer.

    Its checks of every message would be a part of what the server's processor does for a frame of sound.
    """

    def __init__(self, protocol: str, converse: Callable[[Socket], Awaitable[None]], strict: bool = False) -> None:
        """``protocol``: of ours; with ``strict`` whoever offers only others is turned away."""
        self._protocol = protocol
        self._converse = converse
        self._strict = strict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket, offered = WebSocket(scope, receive, send), scope["subprotocols"]
        ours = self._protocol if self._protocol in offered else None
        if self._strict and offered and ours is None:
            await websocket.close()  # a handshake that ends in 403: we do not speak what it speaks
            return
        try:
            await websocket.accept(ours)
        except (OSError, WebSocketDisconnect):
            return
        await self._converse(_Socket(receive, send))


async def stream(socket: Socket, service: Service) -> None:
    """``/v1/stream``: one conversation (PROTOCOL.md, section 2)."""
    await Call(socket, service, secrets.token_hex(4)).run()


async def room(socket: Socket, rooms: Rooms, clock: Clock) -> None:
    """``/v1/room``: one peer of a room (PROTOCOL.md, section 3)."""
    await attend(socket, rooms, clock)


class _Socket:
    """An open WebSocket of ASGI as `call.Socket`. Sending raises OSError where the client is gone, as ASGI has it."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def receive(self) -> str | bytes | None:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        return text if text is not None else bytes(message["bytes"])

    async def send(self, message: str | bytes) -> None:
        await self._send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})

    async def close(self, code: int) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": ""})


# ---- HTTP --------------------------------------------------------------------------------------------------------


async def models(request: Request, service: Service, loaded_s: int) -> Response:
    """``GET /v1/models``, as OpenAI has it: the codec, and a talker if there is one. ``created`` is when they were loaded."""
    descriptor = service.loop.descriptor
    common = {"object": "model", "created": loaded_s, "owned_by": "sottovoce", "model_hash": descriptor.model_hash}
    names = [descriptor.preset]
    if service.voices:
        names.append(openai_speech.model_name(descriptor.preset))
    return JSONResponse({"object": "list", "data": [{"id": name, **common} for name in names]})


async def voices(request: Request, speakers: Speakers | None) -> Response:
    """``GET /v1/audio/voices``: those that can speak here, by name, and what is known of them."""
    if speakers is None:
        return JSONResponse({"voices": []})
    return JSONResponse({"voices": list(speakers.names), "about": [asdict(voice) for voice in speakers.voices]})


async def no_speech(request: Request) -> Response:
    """``POST /v1/audio/speech`` where nobody can speak: says so. An adapter's route comes before this one."""
    message = "no model here can speak a text: this server carries voices (mode loopback of /v1/stream)"
    error = {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
    return JSONResponse({"error": error}, 404)


async def unknown(request: Request) -> Response:
    """What clients of others ask for, and is not here."""
    return openai_speech.refuse(404, "not_found", "this server has no such address; PROTOCOL.md lists what it has")


async def health(request: Request, service: Service) -> Response:
    """``GET /health``: 200, or 503 and why, where the engine failed or makes no progress."""
    loop = service.loop
    told: dict[str, object] = {"rows": loop.rows, "rows_taken": loop.rows_taken}
    try:
        loop.check()
    except EngineStopped as error:
        return JSONResponse({"status": "stopped", "reason": str(error), **told}, 503)
    if loop.longest_wait_s > STALLED_S:
        reason = f"a step has not been answered for {loop.longest_wait_s:.0f} s"
        return JSONResponse({"status": "stalled", "reason": reason, **told}, 503)
    return JSONResponse({"status": "ok", **told})


async def prometheus(request: Request, service: Service) -> Response:
    """``GET /metrics``, for Prometheus."""
    return Response(service.metrics.text(), media_type=metrics.CONTENT_TYPE)
