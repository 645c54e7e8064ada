"""A text, while it comes, spoken by a server: over one connection, or over several where the first ones break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from sottovoce.stream.channel import Channel
from sottovoce.stream.client_messages import Start
from sottovoce.stream.errors import ConnectionFailed
from sottovoce.stream.messages import ServerMessage
from sottovoce.stream.server_messages import SegmentEnd, SegmentStart
from sottovoce.stream.session_events import TextArrived

from .backoff import Backoff
from .client import MOST_IN_VAIN, Client
from .talk import Heard, Refused, Talk
from .unheard import Unheard

_WAITING_PIECES = 4096
_NEWS_S = 5.0
"""Where nothing is spoken any more and no news comes for so long, what waits can only be text in which nothing can be said."""
MENDING_S = 30.0
"""How long to try to come back, where it has worked before: a server that starts again has models to load."""


class Narration:
    """One text, from ``source`` to what is heard of it.

    Attributes:
        breaks: times that it went on over another connection.
        earlier_ms: sound that was heard over the connections before this one.
    """

    def __init__(
        self,
        client: Client,
        start: Start,
        source: AsyncIterator[TextArrived],
        *,
        mend: bool,
        told: Callable[[ServerMessage], None] = lambda message: None,
        given: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            client: its ``told`` is ours from now on.
            start: of mode ``speak``, in sound.
            source: pieces of the text; read no faster than the server has room for it.
            mend: where the line breaks, begin again with the passage that broke off; else that is an error.
            told: gets every control message.
            given: is called when a piece of text goes to the server.
        """
        self.breaks = 0
        self.earlier_ms = 0.0
        self._client, self._start, self._source, self._mend, self._told, self._given = (
            client,
            start,
            source,
            mend,
            told,
            given,
        )
        self._unheard = Unheard()
        self._news = asyncio.Event()
        self._flushed = False  # whether nothing was written since the last flush
        self._heard_ms = 0.0
        client.told = self._hear_message

    async def heard(self) -> AsyncIterator[Heard]:
        """The sound, piece by piece; what was given before counts as played.

        Raises:
            ConnectionFailed: there is no server, it refuses, or the line broke and is not to be mended, or cannot be.
            ProtocolError, and whatever the source raises.
        """
        said: Channel[TextArrived] = Channel(_WAITING_PIECES, "wait", "text")
        pumping = asyncio.create_task(self._pump(said), name="text")
        in_vain = 0
        backoff: Backoff | None = None
        try:
            while True:
                begun, heard_before = False, self._unheard.n_heard
                try:
                    async with self._client.talk(self._start, backoff=backoff) as talk:
                        begun = True
                        async for piece in self._session(talk, said):
                            yield piece
                    break
                except Refused:
                    raise
                except ConnectionFailed:
                    in_vain = in_vain + 1 if self._unheard.n_heard == heard_before else 0
                    if not (self._mend and begun) or in_vain == MOST_IN_VAIN:
                        raise
                    self._client.patience_s = max(self._client.patience_s, MENDING_S)
                    self.breaks += 1
                    backoff = backoff or Backoff()
                    self.earlier_ms, self._heard_ms = self.earlier_ms + self._heard_ms, 0.0
            await pumping  # what was wrong with the text is told when what there was of it was heard
        finally:
            pumping.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await pumping

    async def _pump(self, said: Channel[TextArrived]) -> None:
        async with said:
            async for piece in self._source:
                await said.send(piece)

    async def _session(self, talk: Talk, said: Channel[TextArrived]) -> AsyncIterator[Heard]:
        rate_hz = self._start.out.rate_hz or talk.hello.codec.rate_hz
        helpers = [asyncio.create_task(self._write(talk, said)), asyncio.create_task(self._stay(talk))]
        try:
            async for heard in talk:
                if len(heard.pcm):
                    yield heard
                    self._heard_ms = heard.start_ms + 1000 * len(heard.pcm) / rate_hz
                    self._unheard.hear(self._heard_ms)
                    self._news.set()
        finally:
            for task in helpers:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _write(self, talk: Talk, said: Channel[TextArrived]) -> None:
        """First what the last session left unsaid."""
        with suppress(ConnectionFailed):  # whoever listens is told
            again, flushed = self._unheard.restart(), self._flushed
            if again:
                await self._give(talk, again, is_new=False)
                if flushed:
                    await talk.flush_text()
            async for piece in said:
                if piece.text is not None:
                    await self._give(talk, piece.text)
                    self._flushed = False
                elif not piece.end:
                    self._flushed = True
                    await talk.flush_text()
            await talk.end()

    async def _give(self, talk: Talk, text: str, is_new: bool = True) -> None:
        """Waits where enough waits to be spoken."""
        if is_new:
            self._unheard.write(text)  # first of all: a line that breaks loses none of it
        room = talk.hello.limits.text_chars // 2
        piece = max(room // 2, 1)
        for at in range(0, len(text), piece):
            while self._unheard.waiting_chars - len(text) + at > room:
                self._news.clear()
                try:
                    async with asyncio.timeout(_NEWS_S):
                        await self._news.wait()
                except TimeoutError:
                    if self._unheard.is_quiet:
                        break
            self._given()
            await talk.write(text[at : at + piece])

    async def _stay(self, talk: Talk) -> None:
        """Let the server know that we are there, while nobody writes and nothing is played."""
        with suppress(ConnectionFailed):
            while True:
                await asyncio.sleep(talk.hello.limits.idle_s / 3)
                await talk.played(talk.played_ms)

    def _hear_message(self, message: ServerMessage) -> None:
        match message:
            case SegmentStart():
                self._unheard.begin(message)
            case SegmentEnd():
                self._unheard.end(message)
        self._news.set()
        self._told(message)
