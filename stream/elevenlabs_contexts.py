"""Several texts on one WebSocket, each in a context of its own, as ElevenLabs has it: ``multi-stream-input``.

A context begins with its first text, takes a row with the first that is more than white space, and ends with ``close_context``.
What was flushed before that is spoken to its end; a context that is closed in the middle of its text, or closed once more, is
silent at once: that is how agents are interrupted. ``isFinal`` is the last word of each.
"""

from __future__ import annotations

import asyncio
from asyncio import Task, TaskGroup
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated

from starlette.websockets import WebSocket

from . import schema
from .call import Service
from .channel import Channel
from .client_messages import MOST_CHARS as MOST_MESSAGE_CHARS
from .client_messages import Name
from .elevenlabs import VoiceSettings, manner, output_format, patience_s, spoken
from .errors import ChannelClosed, ChannelFull, NoSlot, ProtocolError, UsageError
from .frames import Frame, Pcm
from .json_line import JsonLine, explained
from .loop import Session as Row
from .pipeline import first_error
from .schema import Length
from .session_events import TextArrived
from .speakers import Speakers, counted_row
from .talk_work import Manner
from .timed_sound import TimedSound

MULTI = "/v1/text-to-speech/{voice}/multi-stream-input"
MOST_OPEN, MOST = 5, 16
"""Contexts of a connection: those that take text, and all that are still spoken."""
_WAITING = 1024
"""Pieces of text."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A message of a client."""

    text: Annotated[str, Length(MOST_MESSAGE_CHARS)] | None = None
    context_id: Name | None = None
    flush: bool | None = None
    close_context: bool | None = None
    close_socket: bool | None = None
    voice_settings: VoiceSettings | None = None


async def multi_stream_input(websocket: WebSocket, service: Service, speakers: Speakers) -> None:
    """The endpoint."""
    line = JsonLine(websocket, service)
    await line.converse(_Connection(websocket, line, service, speakers).run)


@dataclass(eq=False)
class _Context:
    """One text."""

    name: str | None
    manner: Manner
    idle_s: float
    most_chars: int
    texts: Channel[TextArrived] = field(default_factory=lambda: Channel(_WAITING, "refuse", "said"))
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    "There is something to be said, or there never will be."
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    flushed: bool = True
    "Whether nothing was written since."
    waiting_chars: int = 0
    has_words: bool = False
    has_row: bool = False

    async def put(self, text: str | None) -> None:
        """A piece, or None: say it now; or "": we are still there. Raises ProtocolError: too much waits."""
        self.waiting_chars += len(text or "")
        if self.waiting_chars > self.most_chars:
            raise ProtocolError("overrun", f"more than {self.most_chars} characters of a context wait to be spoken")
        try:
            await self.texts.send(TextArrived(text, 0))
        except ChannelFull:
            raise ProtocolError("overrun", f"more than {_WAITING} messages of a context wait") from None
        except ChannelClosed:
            return  # it has ended meanwhile
        if text:
            self.flushed = False
            if text.strip():
                self.has_words = True
                self.begun.set()
        elif text is None:
            self.flushed = True

    def end(self) -> None:
        """Nothing more is said in it."""
        self.texts.close()
        self.begun.set()

    async def said(self) -> AsyncIterator[TextArrived]:
        """What was written, until its end; a writer who says nothing for ``idle_s`` has ended it."""
        while True:
            try:
                async with asyncio.timeout(self.idle_s):
                    piece = await self.texts.receive()
            except (TimeoutError, ChannelClosed):
                self.end()
                return
            yield piece
            self.waiting_chars -= len(piece.text or "")


class _Connection:
    """One client."""

    def __init__(self, websocket: WebSocket, line: JsonLine, service: Service, speakers: Speakers) -> None:
        self._websocket = websocket
        self._line = line
        self._service = service
        self._speakers = speakers
        self._form = output_format(None)
        self._contexts: dict[str | None, _Context] = {}  # those that take text
        self._speaking: dict[_Context, Task[None]] = {}
        self._freed = asyncio.Event()  # a row of ours

    async def run(self) -> None:
        """To its end. Raises what the client did wrong, or what failed; WebSocketDisconnect: the client is gone."""
        query, voice = self._websocket.query_params, self._websocket.path_params["voice"]
        manner(self._speakers, voice, None, query.get("seed"))
        self._form = output_format(query.get("output_format"))
        idle_s = patience_s(query.get("inactivity_timeout"))
        async with first_error(), TaskGroup() as tasks:
            await self._listen(tasks, idle_s)
            for context in self._contexts.values():
                context.end()
            leaving = tasks.create_task(self._line.until_gone(), name="leave")
            while self._speaking:
                await asyncio.wait(self._speaking.values())
            leaving.cancel()

    # ---- what the client says ------------------------------------------------------------------------------------

    async def _listen(self, tasks: TaskGroup, idle_s: float) -> None:
        """Obey it until it closes the socket. Raises as `run`."""
        while True:
            values = await self._line.receive(idle_s)
            if "contextId" in values:  # the documentation has both
                values["context_id"] = values.pop("contextId")
            said = schema.read(_Said, values, "message")
            if said.close_socket:
                return
            context = self._contexts.get(said.context_id)
            if (
                context is not None and context.texts.closed
            ):  # it has been silent for too long, and is still being spoken
                del self._contexts[said.context_id]
                context = None
            if said.close_context:
                self._close(said.context_id)
                continue
            if context is None:
                if not said.text:
                    continue  # nothing begins with a flush, nor with a sign of life
                context = self._open(tasks, said, idle_s)
            await context.put(said.text if said.text is not None else "")
            if said.flush:
                await context.put(None)

    def _open(self, tasks: TaskGroup, said: _Said, idle_s: float) -> _Context:
        """Raises ProtocolError: there are too many; UsageError: a speed that is none."""
        if len(self._contexts) >= MOST_OPEN or len(self._speaking) >= MOST:
            raise ProtocolError("max_active_conversations", f"at most {MOST_OPEN} contexts at once; close one first")
        query, voice = self._websocket.query_params, self._websocket.path_params["voice"]
        how = manner(self._speakers, voice, said.voice_settings, query.get("seed"))
        context = _Context(said.context_id, how, idle_s, self._speakers.most_chars)
        self._contexts[context.name] = context
        self._speaking[context] = tasks.create_task(self._carry(context), name="context")
        return context

    def _close(self, name: str | None) -> None:
        context = self._contexts.pop(name, None)
        if context is not None and context.flushed:
            context.end()
        elif context is not None:
            context.stopped.set()
        else:  # once more: whoever is still speaking under this name is interrupted
            for closing in self._speaking:
                if closing.name == name:
                    closing.stopped.set()

    # ---- what it is told -------------------------------------------------------------------------------------------

    async def _carry(self, context: _Context) -> None:
        """A context to its end."""
        told: dict[str, object] = {"isFinal": True, "contextId": context.name}
        speaking = asyncio.create_task(self._say(context), name="speech")
        stopping = asyncio.create_task(context.stopped.wait(), name="stop")
        try:
            await asyncio.wait([speaking, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (speaking, stopping):
                task.cancel()
            await asyncio.wait([speaking, stopping])
            error = None if speaking.cancelled() else speaking.exception()
            context.end()
            if self._contexts.get(context.name) is context:
                del self._contexts[context.name]
            del self._speaking[context]
            self._freed.set()
        if isinstance(error, NoSlot | UsageError):  # of this context alone
            told |= explained(error)
        elif error is not None:
            raise error
        await self._line.send(told)

    async def _say(self, context: _Context) -> None:
        await context.begun.wait()
        if not context.has_words:
            return
        service, codec_hz = self._service, self._service.loop.descriptor.rate_hz
        sound = TimedSound(codec_hz, self._form.stream(codec_hz))

        async def sink(frame: Frame[Pcm]) -> None:
            if piece := await sound.push(frame):
                await self._line.send({**spoken(piece), "isFinal": False, "contextId": context.name})

        with ExitStack() as stack:
            row = await self._row(context, stack)
            await self._speakers.say(context.said(), sink, row, context.manner, service.clock, sound.told)
        if piece := await sound.finish():
            await self._line.send({**spoken(piece), "isFinal": False, "contextId": context.name})

    async def _row(self, context: _Context, stack: ExitStack) -> Row:
        """A row; where all are taken, one of our own contexts' that ends. Raises NoSlot: it would be for strangers to end."""
        while True:
            try:
                row = stack.enter_context(counted_row(self._service.loop, self._service.metrics, "stream-input"))
            except NoSlot:
                if not any(other.has_row for other in self._speaking):
                    raise
            else:
                context.has_row = True
                return row
            self._freed.clear()
            await self._freed.wait()
