"""One WebSocket conversation as it runs: the socket, the rules (`protocol.Session`), a row of the engine, and a mode.

Four tasks and one more: `_read` hands what comes to the session and obeys its events, `_write` sends what the session
lets it, `_watch` sees to it that nobody is waited for too long, `_tell` sends statistics every second, and the mode
(`modes.py`) makes sound of what was said. When `_write` ends all end, and the row is given back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from asyncio import Task, TaskGroup
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .admission import SPOKEN
from .client_messages import Start, Update
from .clock import Clock, monotonic
from .engine import KINDS, Kind
from .errors import EngineStopped, NoSlot, PacketError, ProtocolError, SottovoceError, UsageError
from .incoming import Incoming
from .loop import EngineLoop
from .loss import GilbertLoss
from .meter import Meter
from .metrics import Metrics
from .modes import Job, Mode
from .outgoing import Outgoing
from .packer import Dial
from .protocol import Session
from .samples import FORMATS, RATES_HZ
from .server_messages import Audio, Codec, Hello, Limits
from .session_events import (
    Closed,
    DialTurned,
    Event,
    GenerationCancelled,
    MediaArrived,
    SoundEnded,
    StartAsked,
    TextArrived,
)
from .statistics import Statistics
from .telling import stats

logger = logging.getLogger(__name__)

RETRY_MS = 1000.0
"""When to ask again for a row."""
_STATS_S = 1.0
_LEAST_WAIT_S = 0.001
_AT_ONCE = 8
"""Messages of one client that are heard before others have their turn."""


class Socket(Protocol):
    """What a conversation needs of a WebSocket that is open."""

    async def receive(self) -> str | bytes | None:
        """The next message; None: closed or lost."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Returns when the message is on its way. Raises OSError: the socket is closed or lost."""
        ...

    async def close(self, code: int) -> None:
        """Say goodbye. Raises OSError as `send`."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """What the conversations of one server share."""

    loop: EngineLoop
    modes: Mapping[str, Mode]
    limits: Limits
    metrics: Metrics
    voices: tuple[str, ...] = ()
    clock: Clock = monotonic

    def hello(self, name: str) -> Hello:
        """What a client is told first; ``name`` is its session's."""
        audio = Audio(RATES_HZ, FORMATS)
        return Hello(name, audio, Codec.of(self.loop.descriptor), tuple(self.modes), self.voices, self.limits)


def _kinds(start: Start) -> Sequence[Kind]:
    """What each frame of the session asks of the engine."""
    if start.mode == "speak":
        return SPOKEN
    return KINDS[2 * (start.in_.kind == "codes") : len(KINDS) - 2 * (start.out.kind == "codes")]


class Call:
    """One client, from hello to goodbye."""

    def __init__(self, socket: Socket, service: Service, name: str) -> None:
        """``name`` is told to the client, and stands in the log."""
        self._socket = socket
        self._service = service
        self._name = name
        self._clock = service.clock
        self._session = Session(service.hello(name), service.clock())
        self._statistics = Statistics(service.loop.descriptor)
        self._meter = Meter(service.metrics, self._session, self._statistics)
        self._wake = asyncio.Event()  # the session may have something to send
        self._sending_s: float | None = None  # since when the line has not taken what is being sent
        self._tasks = TaskGroup()
        self._job: Job | None = None  # since the session was accepted
        self._mode: Task[None] | None = None

    async def run(self) -> None:
        """Carry it to its end. Raises nothing that the client could cause."""
        try:
            async with self._tasks as tasks:
                writing = tasks.create_task(self._write(), name="write")
                others = [
                    tasks.create_task(self._read(), name="read"),
                    tasks.create_task(self._watch(writing), name="watch"),
                    tasks.create_task(self._tell(), name="tell"),
                ]
                writing.add_done_callback(lambda _: [task.cancel() for task in (*others, self._mode) if task])
        finally:
            self._give_back()
            self._meter.end()

    # ---- the socket ------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Hand what comes to the session, and obey it."""
        while (message := await self._socket.receive()) is not None:
            now_s = self._clock()
            pause_s = self._session.pause_s(now_s)
            if pause_s > 0 or self._session.counts["messages_in"] % _AT_ONCE == 0:
                await asyncio.sleep(pause_s)  # without one too, the others get their turn
                now_s = self._clock()
            await self._obey(self._session.receive(message, now_s))
        await self._obey(self._session.gone())

    async def _write(self) -> None:
        """Send what may be sent, until the session is over and everything is said."""
        session = self._session
        try:
            while True:
                self._wake.clear()
                while (message := session.next_to_send(now_s := self._clock())) is not None:
                    self._sending_s = now_s
                    await self._socket.send(message)
                    self._sending_s = None
                if self._job:
                    self._job.outgoing.has_sent()
                if session.close_code is not None:
                    break
                await self._wake.wait()
            if session.ended_by != "gone":
                self._sending_s = self._clock()
                await self._socket.close(session.close_code)
        except OSError:
            await self._obey(session.gone())

    async def _watch(self, writing: Task[None]) -> None:
        """Who says nothing, plays nothing or takes nothing is left when its time is over; no message sets a timer for that."""
        session, slow_s = self._session, self._service.limits.slow_s
        while True:
            now_s = self._clock()
            if self._sending_s is not None and now_s >= self._sending_s + slow_s:
                await self._obey(session.fail("slow", "the line takes nothing"))
                writing.cancel()  # there is no goodbye
            await self._obey(session.tick(now_s))
            due_s = now_s + slow_s  # no wait that begins from now on is over before
            if session.ended_by is None:
                due_s = min(due_s, session.deadline_s())
            if self._sending_s is not None:
                due_s = min(due_s, self._sending_s + slow_s)
            await asyncio.sleep(max(due_s - now_s, _LEAST_WAIT_S))

    async def _tell(self) -> None:
        """Statistics, every second; sessions that began together are not told together."""
        wait_s = _STATS_S * random.uniform(0.5, 1)
        while True:
            await asyncio.sleep(wait_s)
            wait_s = _STATS_S
            self._meter.look()
            if self._job:
                self._session.say(stats(self._session, self._statistics, self._job.dial, self._meter))
                self._wake.set()

    # ---- what the rules make of it ---------------------------------------------------------------------------

    async def _obey(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case StartAsked(start):
                    await self._begin(start)
                case MediaArrived() | TextArrived() if self._job:
                    self._meter.arrived(self._clock())
                    try:
                        await self._job.incoming.put(event)
                    except ProtocolError as error:
                        await self._fail(error.code, str(error))
                case GenerationCancelled():
                    self._meter.playout.restart()
                case DialTurned(update) if self._job:
                    self._turn(self._job, update)
                case SoundEnded() if self._job:
                    self._job.incoming.close()
                case Closed() if self._mode:
                    self._mode.cancel()
        if self._session.is_received:
            self._meter.received(self._clock())
        self._stir()

    def _stir(self) -> None:
        """Let `_write` look, if there is something to see."""
        if self._session.has_news:
            self._wake.set()

    async def _fail(self, code: str, message: str, retry_ms: float | None = None) -> None:
        await self._obey(self._session.fail(code, message, retry_ms))

    async def _begin(self, start: Start) -> None:
        """A row, or a refusal at once."""
        try:
            loss = GilbertLoss(start.loss, start.burst)
        except ValueError as error:
            return await self._fail("bad_message", str(error))
        try:
            row = self._service.loop.open(_kinds(start))
        except NoSlot as error:
            return await self._fail("no_slot", f"{error.reason}; try again", RETRY_MS)
        except EngineStopped as error:
            return await self._fail("internal", str(error))
        session, descriptor = self._session, row.descriptor
        session.accept(descriptor.delay_ms, self._clock())
        wire_hz = session.rate_hz(start.in_)
        most_chars = self._service.limits.text_chars
        incoming = Incoming(start, wire_hz, descriptor.rate_hz, session.generation, self._took, most_chars)
        self._statistics.watch(incoming.channel)
        outgoing = Outgoing(session, descriptor, self._meter, self._stir, self._clock)
        dial = Dial(descriptor.books, start.books)
        self._job = Job(start, row, incoming, outgoing, session, dial, loss, self._statistics, self._clock)
        self._meter.begin(start.mode, start.live)
        self._mode = self._tasks.create_task(self._carry(self._job), name=start.mode)

    def _took(self, ms: float) -> None:
        if self._session.took(ms):
            self._wake.set()

    def _turn(self, job: Job, update: Update) -> None:
        if update.books is not None:
            job.dial.books = update.books
        if update.view is not None:
            job.outgoing.view = update.view
        if update.loss is not None:
            try:
                job.loss.turn(update.loss, update.burst)
            except ValueError as error:
                self._session.object("unsupported", str(error))

    async def _carry(self, job: Job) -> None:
        """The mode to its end, and its failures to the client."""
        try:
            await self._service.modes[job.start.mode](job)
            self._session.finish()
        except (ProtocolError, PacketError) as error:
            await self._fail("bad_message", str(error))
        except UsageError as error:  # a text that is too long
            await self._fail("unsupported", str(error))
        except SottovoceError as error:
            logger.error("session %s: %s", self._name, error)
            await self._fail("internal", str(error))
        except Exception:
            logger.exception("session %s", self._name)
            await self._fail("internal", "the server failed; its log tells why")
        finally:
            self._give_back()
            self._wake.set()

    def _give_back(self) -> None:
        if self._job:
            self._job.incoming.close()
            self._job.row.close()
