"""The thread that the models run in, and its face towards asyncio.

Coroutines hand in pieces of work and wait; the thread takes the piece that is due first, together with every other of its
kind and length, as one batch. A piece may ask for several kinds in a row, each of which works on what the one before it gave:
it comes back when all of them are done. There is never more than one waiting piece for each (row, first kind), so the queue is
bounded by the engine's rows.

Two threads meet in three places only: the inbox of the engine's thread, ``call_soon_threadsafe``, and the futures,
of which the thread asks whether anybody still waits.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .admission import ROUNDS, Admission
from .clock import Clock, monotonic
from .descriptor import Descriptor
from .engine import KINDS, TALK_KINDS, Engine, Kind, Work, n_frames
from .errors import EngineBusy, EngineStopped, NoSlot
from .ramp import ChunkTimes
from .statistics import Latency
from .step_times import StepTimes

_PACED_S = 1.0
"""How long a pace holds."""


class Visit(NamedTuple):
    """What the engine made of a piece."""

    answers: list[Any]
    "Of each kind that was asked for."
    last_s: float
    "Seconds between the last two answers; 0 if there is one."


class _Request:
    """A piece of work, and who waits for it."""

    __slots__ = (
        "answers", "asked_s", "begun", "data", "done_s", "due_s", "fresh", "future", "kind", "kinds", "last_s", "n_frames",
        "session",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        kinds: Sequence[Kind],
        data: Any,
        n_frames: int,
        due_s: float,
        fresh: bool,
        asked_s: float,
    ) -> None:
        self.session = session
        self.n_frames = n_frames
        self.kinds = kinds
        self.data = data
        self.due_s = due_s
        self.fresh = fresh
        self.asked_s = asked_s
        self.future: asyncio.Future[Visit] = asyncio.get_running_loop().create_future()
        self.begun = False  # this and all below is the engine's thread's
        self.kind: Kind | None = kinds[0]  # what is to be done next; None: nothing
        self.answers: list[Any] = []
        self.done_s = self.last_s = 0.0


class Session:
    """One row of the engine until it is closed; ``with loop.open() as session`` closes it."""

    def __init__(self, loop: EngineLoop, kinds: Sequence[Kind]) -> None:
        self._loop = loop
        self.kinds = kinds
        self._closed = False
        self.newest: dict[Kind, _Request] = {}  # by first kind
        self.row: int | None = None  # owned by the engine's thread

    @property
    def descriptor(self) -> Descriptor:
        """The codec that answers."""
        return self._loop.descriptor

    async def step(self, kind: Kind, data: NDArray[Any], due_s: float, *, fresh: bool = False) -> NDArray[Any]:
        """`visit` for one kind: its answer."""
        answer: NDArray[Any] = (await self.visit((kind,), data, due_s, fresh=fresh)).answers[0]
        return answer

    async def visit(self, kinds: Sequence[Kind], data: NDArray[Any], due_s: float, *, fresh: bool = False) -> Visit:
        """Have the engine do one piece; see `engine.Kind` for shapes.

        Args:
            kinds: what to do with ``data``, with the answer to that, and so on.
            data: float32 or int16; must not be changed before the answer is there.
            due_s: when the answer is needed; who is due first is served first.
            fresh: forget the state of these kinds first, as another stream begins.

        Cancelling takes back what the engine has not begun; a kind that it has begun moves its state.

        Raises:
            ValueError: ``data`` does not fit the first kind.
            RuntimeError: another piece that begins with this kind is waiting: a stream has one order.
            EngineStopped: the engine failed or stopped, or this session was closed meanwhile.
        """
        n = n_frames(self.descriptor, kinds[0], data)
        return await self._loop._ask(self, kinds, data, n, due_s, fresh)

    async def talk(self, kind: Kind, data: Any, due_s: float, *, fresh: bool = False) -> Any:
        """As `step`, for the kinds ``read`` and ``talk``; the engine must be a `talk_engine.TalkEngine`."""
        return (await self._loop._ask(self, (kind,), data, 1, due_s, fresh)).answers[0]

    @property
    def chunks(self) -> ChunkTimes:
        """What chunks of a speech take."""
        return self._loop.chunks

    @property
    def closed(self) -> bool:
        """Whether the row was given back."""
        return self._closed

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

    def __init__(self, engine: Engine, clock: Clock = monotonic, admission: Admission | None = None) -> None:
        """``clock`` is read in both threads. ``admission``: who may come while there are rows; None: everybody."""
        self._engine = engine
        self._clock = clock
        self._admission = admission
        self.times = StepTimes() if admission is None else admission.times
        "Of all steps."
        self._descriptor = engine.descriptor
        self._rows = engine.rows
        self.sessions: Counter[Kind] = Counter()
        "That need each kind."
        self.chunks = ChunkTimes(self.times, self.sessions, engine.descriptor.frame_ms / 1000)
        self._n_open = 0
        self._pace_s, self._paced_s = 0.0, -math.inf  # and when it was found
        self._stopping = False
        self._failure: BaseException | None = None
        self._asyncio: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._unanswered: set[_Request] = set()
        self._asked: list[_Request] = []  # in this turn of the event loop
        self._inbox: SimpleQueue[list[_Request] | Session | None] = SimpleQueue()  # work, a row to close, or the end
        self._thread = Thread(target=self._run, name="sottovoce-engine", daemon=True)
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
        return self._n_open

    @property
    def pace_s(self) -> float:
        """How far apart rounds should be in which what many clients say is taken together."""
        now_s = self._clock()
        if self._admission is None:
            return self._descriptor.frame_ms / 1000 / ROUNDS[0]
        if now_s >= self._paced_s + _PACED_S:
            self._pace_s, self._paced_s = self._admission.pace_s(self.sessions), now_s
        return self._pace_s

    @property
    def waiting(self) -> int:
        """Pieces that somebody waits for."""
        return len(self._unanswered)

    @property
    def longest_wait_s(self) -> float:
        """How long the oldest of them has waited; 0 if there is none."""
        return max((self._clock() - request.asked_s for request in self._unanswered), default=0.0)

    def check(self) -> None:
        """Raises EngineStopped: the engine does not run, and why."""
        if self._failure is not None:
            raise self._stopped()
        if self._asyncio is None or self._stopping:
            raise EngineStopped("the engine is not running")

    def open(self, kinds: Sequence[Kind] = KINDS) -> Session:
        """Take a row, at once, for a stream whose frames need ``kinds`` each.

        Raises NoSlot: there is none, or the engine has no time for one more; EngineStopped: the engine does not run.
        """
        self.check()
        if self._n_open >= self._rows:
            raise NoSlot(self._rows)
        if self._admission is not None and not self._admission.fits(self.sessions + Counter(kinds)):
            raise EngineBusy(self._n_open, self._rows)
        self.sessions.update(kinds)
        self.chunks.changed()
        self._n_open += 1
        return Session(self, kinds)

    async def __aenter__(self) -> EngineLoop:
        self._asyncio = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop after the batch in hand; whoever still waits gets EngineStopped."""
        self._stopping = True
        self._inbox.put(None)
        await self._ended.wait()
        self._thread.join()

    def _stopped(self) -> EngineStopped:
        """A new error each time: one that is raised in several tasks would mix their traces."""
        if self._failure is None:
            return EngineStopped("the engine was stopped")
        error = EngineStopped(f"the engine failed: {type(self._failure).__name__}: {self._failure}")
        error.__cause__ = self._failure
        return error

    async def _ask(
        self, session: Session, kinds: Sequence[Kind], data: Any, n_frames: int, due_s: float, fresh: bool
    ) -> Visit:
        self.check()
        if session.closed:
            raise EngineStopped("this session is closed")
        before = session.newest.get(kinds[0])
        if before is not None and not before.begun and not before.future.done():
            raise RuntimeError(f"a step of kind {kinds[0]!r} is already waiting in this session")
        request = session.newest[kinds[0]] = _Request(session, kinds, data, n_frames, due_s, fresh, self._clock())
        self._unanswered.add(request)
        if not self._asked:
            request.future.get_loop().call_soon(self._hand_over)
        self._asked.append(request)
        try:
            return await request.future
        finally:
            self._unanswered.discard(request)

    def _hand_over(self) -> None:
        """All that was asked for at once goes to the thread at once, or it would begin with the first piece alone."""
        self._inbox.put(self._asked)
        self._asked = []

    def _release(self, session: Session) -> None:
        for request in self._unanswered:
            if request.session is session:
                _answer(request, EngineStopped("this session was closed"))
        self._inbox.put(session)  # after the batch in hand, before any later one
        self.sessions.subtract(session.kinds)
        self.chunks.changed()
        self._n_open -= 1

    # ---- the engine's thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        waiting: list[_Request] = []
        try:
            while self._receive(waiting):
                batch = _take(waiting)
                if batch:
                    self._step(batch)
                    waiting += [request for request in batch if request.kind]
                    if done := [request for request in batch if not request.kind]:
                        self._tell(self._answer_all, done)
        except Exception as error:  # whatever a model raises must reach who waits for it
            self._failure = error
        finally:
            self._tell(self._end)

    def _receive(self, waiting: list[_Request]) -> bool:
        """Add what is asked for to ``waiting``, at least one piece, and close rows. False: it is the end."""
        while not (waiting and self._inbox.empty()):
            message = self._inbox.get()
            if message is None:
                return False
            if isinstance(message, list):
                waiting += message
            elif message.row is not None:
                self._engine.close(message.row)
                message.row = None
        return True

    def _step(self, batch: list[_Request]) -> None:
        began_s, kind = self._clock(), batch[0].kind
        assert kind is not None
        work = [
            Work(self._row(r.session), kind, r.answers[-1] if r.answers else r.data, r.due_s, r.fresh) for r in batch
        ]
        answers = self._engine.step(work)
        if len(answers) != len(work):
            raise RuntimeError(f"the engine gave {len(answers)} answers to {len(work)} pieces of work")
        now_s = self._clock()
        self.step_latency[kind].add(now_s - began_s)
        self.times.add(kind, len(batch), now_s - began_s, batch[0].n_frames)
        for request, answer in zip(batch, answers, strict=True):
            request.last_s = now_s - request.done_s if request.answers else 0.0
            request.done_s = now_s
            request.answers.append(answer)
            n = len(request.answers)
            request.kind = request.kinds[n] if n < len(request.kinds) else None

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
            self._inbox.put(None)

    # ---- back on the event loop ----------------------------------------------------------------------------

    def _answer_all(self, requests: list[_Request]) -> None:
        self.chunks.changed()
        for request in requests:
            _answer(request, Visit(request.answers, request.last_s))

    def _end(self) -> None:
        for request in self._unanswered:
            _answer(request, self._stopped())
        self._ended.set()


def _take(waiting: list[_Request]) -> list[_Request]:
    """The piece that is due first and all others of its kind and length, by slack; the others stay. What nobody waits for
    goes."""
    wanted = [request for request in waiting if not request.future.done()]
    wanted.sort(key=lambda request: request.due_s)
    first = (wanted[0].kind, wanted[0].n_frames) if wanted else None
    batch = [request for request in wanted if (request.kind, request.n_frames) == first]
    waiting[:] = [request for request in wanted if (request.kind, request.n_frames) != first]
    for request in batch:
        request.begun = True
    return batch


def _answer(request: _Request, answer: Visit | BaseException) -> None:
    if request.future.done():  # cancelled, or its session was closed while the engine worked
        return
    if isinstance(answer, BaseException):
        request.future.set_exception(answer)
    else:
        request.future.set_result(answer)
