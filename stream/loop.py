"""The thread that the models run in, and its face towards asyncio.

Coroutines hand in pieces of work and wait; the thread takes the piece that is due first, together with every
other piece of its kind, as one batch. There is never more than one waiting piece for each (row, kind), so the
queue is bounded by the engine's rows.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from .clock import Clock, monotonic
from .descriptor import Descriptor
from .engine import KINDS, TALK_KINDS, Engine, Kind, Work, n_frames
from .errors import EngineStopped, NoSlot
from .statistics import Latency


class _Request:
    """A piece of work, and who waits for it."""

    __slots__ = ("asked_s", "data", "due_s", "fresh", "future", "kind", "session")

    def __init__(
        self, session: Session, kind: Kind, data: NDArray[Any], due_s: float, fresh: bool, asked_s: float
    ) -> None:
        self.session = session
        self.kind = kind
        self.data = data
        self.due_s = due_s
        self.fresh = fresh
        self.asked_s = asked_s
        self.future: asyncio.Future[NDArray[Any]] = asyncio.get_running_loop().create_future()


class Session:
    """One row of the engine until it is closed; ``with loop.open() as session`` closes it."""

    def __init__(self, loop: EngineLoop) -> None:
        self._loop = loop
        self._closed = False
        self.row: int | None = None  # owned by the engine's thread

    @property
    def descriptor(self) -> Descriptor:
        """The codec that answers."""
        return self._loop.descriptor

    async def step(self, kind: Kind, data: NDArray[Any], due_s: float, *, fresh: bool = False) -> NDArray[Any]:
        """Have the engine do one piece; see `engine.Kind` for shapes.

        Args:
            kind: what to do.
            data: float32 or int16; must not be changed before the answer is there.
            due_s: when the answer is needed; who is due first is served first.
            fresh: forget the state of this kind first, as another stream begins.

        Cancelling takes back a piece that the engine has not begun; one that it has begun moves the state.

        Raises:
            ValueError: ``data`` does not fit ``kind``.
            RuntimeError: another step of this kind is waiting: a stream has one order.
            EngineStopped: the engine failed or stopped, or this session was closed meanwhile.
        """
        n_frames(self.descriptor, kind, data)
        if self._closed:
            raise EngineStopped("this session is closed")
        return await self._loop._ask(self, kind, data, due_s, fresh)

    async def talk(self, kind: Kind, data: Any, due_s: float, *, fresh: bool = False) -> Any:
        """As `step`, for the kinds ``read`` and ``talk``; the engine must be a `talk_engine.TalkEngine`."""
        if self._closed:
            raise EngineStopped("this session is closed")
        return await self._loop._ask(self, kind, data, due_s, fresh)

    def close(self) -> None:
        """Give the row back. Steps still waiting end with EngineStopped. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._loop._release(self)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EngineLoop:
    """Runs an engine in its own thread while in ``async with``; call its methods on the event loop only."""

    def __init__(self, engine: Engine, clock: Clock = monotonic) -> None:
        """``clock`` is read in both threads."""
        self._engine = engine
        self._clock = clock
        self._descriptor = engine.descriptor
        self._rows = engine.rows
        self._open = 0
        self._wakeup = threading.Condition()  # guards what both threads touch: the next four
        self._requests: dict[tuple[Session, Kind], _Request] = {}
        self._to_close: deque[Session] = deque()
        self._stopping = False
        self._failure: BaseException | None = None
        self._asyncio: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="sottovoce-engine", daemon=True)
        self._unanswered: set[_Request] = set()
        self.step_latency: dict[Kind, Latency] = {kind: Latency() for kind in KINDS + TALK_KINDS}
        "Seconds that the engine itself took, by kind; a batch counts once."

    @property
    def descriptor(self) -> Descriptor:
        """The codec inside the engine."""
        return self._descriptor

    @property
    def rows(self) -> int:
        """How many sessions there may be at once."""
        return self._rows

    @property
    def rows_taken(self) -> int:
        """How many there are."""
        return self._open

    @property
    def waiting(self) -> int:
        """Steps that somebody waits for."""
        return len(self._unanswered)

    @property
    def longest_wait_s(self) -> float:
        """How long the oldest of them has waited; 0 if there is none."""
        return max((self._clock() - request.asked_s for request in self._unanswered), default=0.0)

    def check(self) -> None:
        """Raises EngineStopped: the engine does not run, and why."""
        self._check_running()

    def open(self) -> Session:
        """Take a row, at once. Raises NoSlot: there is none; EngineStopped: the engine does not run."""
        self._check_running()
        if self._open >= self._rows:
            raise NoSlot(self._rows)
        self._open += 1
        return Session(self)

    async def __aenter__(self) -> EngineLoop:
        self._asyncio = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop after the batch in hand; whoever still waits gets EngineStopped."""
        with self._wakeup:
            self._stopping = True
            self._wakeup.notify()
        await self._ended.wait()
        self._thread.join()

    def _check_running(self) -> None:
        if self._failure is not None:
            raise self._stopped()
        if self._asyncio is None or self._stopping:
            raise EngineStopped("the engine is not running")

    def _stopped(self) -> EngineStopped:
        """A new error each time: one that is raised in several tasks would mix their traces."""
        if self._failure is None:
            return EngineStopped("the engine was stopped")
        error = EngineStopped(f"the engine failed: {type(self._failure).__name__}: {self._failure}")
        error.__cause__ = self._failure
        return error

    async def _ask(self, session: Session, kind: Kind, data: NDArray[Any], due_s: float, fresh: bool) -> NDArray[Any]:
        self._check_running()
        request = _Request(session, kind, data, due_s, fresh, self._clock())
        key = (session, kind)
        with self._wakeup:
            if key in self._requests:
                raise RuntimeError(f"a step of kind {kind!r} is already waiting in this session")
            self._requests[key] = request
            self._wakeup.notify()
        self._unanswered.add(request)
        try:
            return await request.future
        finally:
            with self._wakeup:
                if self._requests.get(key) is request:  # cancelled before the engine took it
                    del self._requests[key]
            self._unanswered.discard(request)

    def _release(self, session: Session) -> None:
        with self._wakeup:
            mine = [key for key in self._requests if key[0] is session]
            for key in mine:
                del self._requests[key]
            self._to_close.append(session)  # after the batch in hand, before any later one
            self._wakeup.notify()
        self._open -= 1
        for request in [request for request in self._unanswered if request.session is session]:
            _answer(request, EngineStopped("this session was closed"))

    # ---- the engine's thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._tell(self._answer_all, batch, self._step(batch))
        except Exception as error:  # whatever a model raises must reach who waits for it
            self._failure = error
        finally:
            self._tell(self._end)

    def _next_batch(self) -> list[_Request] | None:
        """Wait for work; None when the loop stops. Closes the rows that were given back."""
        with self._wakeup:
            while not (self._stopping or self._requests or self._to_close):
                self._wakeup.wait()
            closing = list(self._to_close)
            self._to_close.clear()
            batch: list[_Request] = []
            if not self._stopping and self._requests:
                ordered = sorted(self._requests.values(), key=lambda request: request.due_s)
                batch = [request for request in ordered if request.kind == ordered[0].kind]
                for request in batch:
                    del self._requests[request.session, request.kind]
        for session in closing:
            if session.row is not None:
                self._engine.close(session.row)
                session.row = None
        return None if self._stopping else batch

    def _step(self, batch: list[_Request]) -> list[NDArray[Any]]:
        if not batch:
            return []
        began_s = self._clock()
        work = [Work(self._row(r.session), r.kind, r.data, r.due_s, r.fresh) for r in batch]
        answers = self._engine.step(work)
        if len(answers) != len(work):
            raise RuntimeError(f"the engine gave {len(answers)} answers to {len(work)} pieces of work")
        self.step_latency[batch[0].kind].add(self._clock() - began_s)
        return answers

    def _row(self, session: Session) -> int:
        """The session's row, taken at its first step, as only this thread may touch the engine."""
        if session.row is None:
            session.row = self._engine.open()
        return session.row

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        assert self._asyncio is not None
        try:
            self._asyncio.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the event loop is gone, and with it everybody who waited
            with self._wakeup:
                self._stopping = True

    # ---- back on the event loop ----------------------------------------------------------------------------

    def _answer_all(self, batch: list[_Request], answers: list[NDArray[Any]]) -> None:
        for request, answer in zip(batch, answers, strict=True):
            _answer(request, answer)

    def _end(self) -> None:
        for request in list(self._unanswered):
            _answer(request, self._stopped())
        self._ended.set()


def _answer(request: _Request, answer: NDArray[Any] | BaseException) -> None:
    if request.future.done():  # cancelled, or its session was closed while the engine worked
        return
    if isinstance(answer, BaseException):
        request.future.set_exception(answer)
    else:
        request.future.set_result(answer)
