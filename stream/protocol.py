"""The server's side of one conversation over a WebSocket, sans I/O: messages and the time in, events and messages out.

No socket, no clock, no asyncio, no engine. Whoever drives it

1. sends what `next_to_send` gives until that is None, and closes the socket with `close_code` once that is not None;
2. hands every message to `receive`, and the end of the socket to `gone`, and obeys the events;
3. calls `tick` when `deadline` has come.

A client that breaks the rules of PROTOCOL.md, section 2, gets one error, and that is the end of its session: nothing that it
sends is ever raised.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from . import messages, wire
from .allowance import Allowance
from .client_messages import Cancel, Credit, End, Format, Ping, Start, Text, TextEnd, TextFlush, Update
from .errors import ProtocolError
from .generation import Generation
from .messages import CLOSE_CODES
from .outbox import Outbox, Piece
from .server_messages import Cancelled, Error, Hello, Pong, Started, Taken
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
from .wire import Kind, Media

BYTES_PER_SAMPLE = {"s16le": 2, "f32le": 4}
LEAST_LEAD_FRAMES = 2
"""Less credit would never let a frame go out while the one before it is played."""
NO_LOSS = "loss is simulated in mode loopback, between pcm and pcm only"
_KINDS = frozenset(Kind)
_TOLD_EVERY = 8
"""How often, within ``ahead_ms``, a client is told what was taken."""


class Session:
    """One client, from hello to close.

    Attributes:
        generation: what is still wanted; shared with whoever makes sound.
        start: what the client asked for; None before.
        outbox: what waits to be sent; None before `accept`.
        ended_by: None while it lives; then a key of `CLOSE_CODES`, ``end`` or ``gone``.
        counts: ``messages_in``, ``bytes_in``, ``messages_out``, ``bytes_out``, ``stale_in``, ``gaps_in``.
        buffered_ms, underruns: of the client's player, as it says.
        heard: what a mode that speaks says was heard of the present generation until a time within it, for `Cancelled`.
    """

    def __init__(self, hello: Hello, now_s: float) -> None:
        """``now_s``: seconds on any clock that never goes back, as everywhere here."""
        self.hello = hello
        self.generation = Generation()
        self.start: Start | None = None
        self.outbox: Outbox | None = None
        self.ended_by: str | None = None
        self.counts: Counter[str] = Counter()
        self.buffered_ms = 0.0
        self.underruns = 0
        self.heard: Callable[[float], str] = lambda played_ms: ""
        self._control: deque[str] = deque([messages.encode(hello)])
        self._ending = False  # the client has said its last
        self._finished = False  # so have we, once the outbox is empty
        self._heard_s = now_s
        self._moved_s = now_s  # when sound last got on, or had nothing to wait for
        self._allowance = Allowance(hello.limits.messages_per_s, now_s)
        self._next_seq: Counter[int] = Counter()
        self._came_ms = self._taken_ms = self._told_ms = 0.0

    @property
    def is_received(self) -> bool:
        """Whether the client has told that it has some of the sound: that it was played, or waits to be."""
        return self.outbox is not None and self.outbox.sent_ms > 0 and self.outbox.played_ms + self.buffered_ms > 0

    # ---- what the client does --------------------------------------------------------------------------------

    def pause_s(self, now_s: float) -> float:
        """How long to wait before the next message is read: a client that says too much is heard slowly."""
        return self._allowance.wait_s(now_s)

    def receive(self, message: str | bytes, now_s: float) -> list[Event]:
        """What one message means. Never raises for what the client did."""
        if self.ended_by is not None:
            return []
        self._heard_s = now_s
        self.counts["messages_in"] += 1
        self.counts["bytes_in"] += len(message)
        try:
            if isinstance(message, bytes):
                return self._media(wire.unpack(message))
            return self._said(messages.from_client(message), now_s)
        except ProtocolError as error:
            return self.fail(error.code, str(error))

    def gone(self) -> list[Event]:
        """The socket is closed, or lost."""
        return self._over("gone")

    # ---- what the server does --------------------------------------------------------------------------------

    def accept(self, delay_ms: float, now_s: float) -> None:
        """The session has its row: sound may come."""
        start = self._started()
        limits, frame_ms = self.hello.limits, self.hello.codec.frame_ms
        least = max(limits.least_lead_ms, LEAST_LEAD_FRAMES * frame_ms * start.frames_per_packet)
        lead_ms = min(max(start.lead_ms, least), max(limits.lead_ms, least))
        self.outbox = Outbox(lead_ms, max(lead_ms, least), start.live and start.mode != "speak")
        self._moved_s = now_s
        self.say(Started(0, delay_ms, lead_ms))

    def fail(self, code: str, message: str, retry_ms: float | None = None) -> list[Event]:
        """Tell the client what went wrong, and end. ``code`` is a key of `CLOSE_CODES`."""
        if self.ended_by is not None:
            return []
        self._control.append(messages.encode(Error(code, message[:1000], retry_ms=retry_ms)))
        return self._over(code)

    def object(self, code: str, message: str) -> None:
        """Tell the client that this cannot be, and go on."""
        self.say(Error(code, message[:1000], fatal=False))

    def say(self, message: messages.ServerMessage) -> None:
        """Send a control message; it goes before any sound that waits."""
        if self.ended_by is None:
            self._control.append(messages.encode(message))

    def took(self, ms: float) -> bool:
        """So much of what the client sent was taken, or thrown away: where sound waits it is told that it may send more.

        Returns whether it is told now.
        """
        self._taken_ms += ms
        if self._started().live or self._taken_ms - self._told_ms < self.hello.limits.ahead_ms / _TOLD_EVERY:
            return False
        self._told_ms = self._taken_ms
        self.say(Taken(self._taken_ms))
        return True

    def offer(self, media: Media, start_ms: float, end_ms: float, generation: int, now_s: float) -> bool:
        """Sound or codes to send, ``start_ms`` to ``end_ms`` of their generation; False: they are not wanted any more."""
        if self.ended_by is not None or self.outbox is None or self.generation.is_stale(generation):
            return False
        if not self.outbox.has_sound:
            self._moved_s = now_s
        self.outbox.put(Piece(media, start_ms, end_ms))
        return True

    def show(self, picture: Media, generation: int) -> None:
        """Something for the eye."""
        if self.ended_by is None and self.outbox is not None and not self.generation.is_stale(generation):
            self.outbox.show(picture)

    def finish(self) -> None:
        """Nothing more will be offered: end when all of it is sent."""
        self._finished = True

    def next_to_send(self, now_s: float) -> str | bytes | None:
        """The next message for the socket; None: nothing may be sent now."""
        message = self._next(now_s)
        if message is not None:
            self.counts["messages_out"] += 1
            self.counts["bytes_out"] += len(message)
        return message

    @property
    def has_news(self) -> bool:
        """Whether `next_to_send` or `close_code` has something to tell."""
        if self._control or self.ended_by is not None or self._finished:
            return True
        return self.outbox is not None and self.outbox.may_send

    @property
    def close_code(self) -> int | None:
        """What to close the socket with, once everything is said; None: not yet."""
        if self.ended_by is None or self._control:
            return None
        return CLOSE_CODES.get(self.ended_by, 1000)

    # ---- time --------------------------------------------------------------------------------------------------

    def deadline_s(self) -> float:
        """When to call `tick`."""
        limits = self.hello.limits
        idle_s = self._heard_s + limits.idle_s
        return min(idle_s, self._moved_s + limits.slow_s) if self._waits() else idle_s

    def tick(self, now_s: float) -> list[Event]:
        """What the time has brought about."""
        limits = self.hello.limits
        if now_s >= self._heard_s + limits.idle_s:
            return self.fail("idle", f"nothing was heard of you for {limits.idle_s:g} s; start again when you are back")
        if self._waits() and now_s >= self._moved_s + limits.slow_s:
            return self.fail("slow", f"you took none of the sound that waits for you for {limits.slow_s:g} s")
        return []

    # ---- the rules ---------------------------------------------------------------------------------------------

    def _said(self, message: messages.ClientMessage | None, now_s: float) -> list[Event]:
        match message:
            case None:  # a type of a later version
                return []
            case Ping(t):
                self.say(Pong(t))
                return []
            case Start():
                return self._start(message)
            case End() if self.start is None:
                return self._over("end")
        self._started()
        if self._ending and not isinstance(message, Credit | Cancel):
            raise ProtocolError("bad_message", f"a {message.TYPE} came after the end")
        match message:
            case End():
                self._ending = True
                return [SoundEnded()]
            case Credit():
                return self._credit(message, now_s)
            case Cancel():
                return self._cancel(message, now_s)
            case Update():
                return self._update(message)
            case Text(text):
                return self._text(TextArrived(text, self.generation.current))
            case TextFlush():
                return self._text(TextArrived(None, self.generation.current))
            case TextEnd():
                return self._text(TextArrived(None, self.generation.current, end=True))
        raise AssertionError(f"no rule for {message}")

    def _start(self, start: Start) -> list[Event]:
        if self.start is not None:
            raise ProtocolError("bad_message", "a session starts once; open another connection")
        hello = self.hello
        if start.mode not in hello.modes:
            raise ProtocolError("unsupported", f"this server cannot {start.mode}; it can {', '.join(hello.modes)}")
        for way, form in (("in", start.in_), ("out", start.out)):
            self._check_format(way, form)
        if start.in_.kind == start.out.kind == "codes":
            raise ProtocolError("unsupported", "codes in and codes out leave nothing to do")
        if start.loss > 0 and not _can_lose(start):
            raise ProtocolError("unsupported", NO_LOSS)
        if start.mode == "speak" and start.voice not in (None, *hello.voices):
            raise ProtocolError("bad_message", f"start.voice must be one of {', '.join(hello.voices)}")
        if start.books is not None and start.books > hello.codec.books:
            raise ProtocolError("bad_message", f"start.books must be 1 to {hello.codec.books}")
        if start.in_.kind == "codes" and start.model_hash is None:
            raise ProtocolError("bad_message", "codes come in: start must tell the model_hash that made them")
        if start.model_hash not in (None, hello.codec.model_hash):
            raise ProtocolError("model_mismatch", f"the model here is {hello.codec.preset} {hello.codec.model_hash}")
        self.start = start
        return [StartAsked(start)]

    def _check_format(self, way: str, form: Format) -> None:
        if form.kind == "pcm" and form.rate_hz not in (None, *self.hello.audio.rates_hz):
            raise ProtocolError("bad_message", f"start.{way}.rate_hz must be one of those in hello.audio.rates_hz")

    def _media(self, media: Media) -> list[Event]:
        start = self._started()
        if media.kind not in _KINDS:  # of a later version
            return []
        form = start.in_
        if media.kind != (Kind.PCM if form.kind == "pcm" else Kind.CODES) or start.mode == "speak":
            raise ProtocolError("bad_message", f"media of kind {media.kind} were not agreed on")
        if self._ending:
            raise ProtocolError("bad_message", "media came after the end")
        if form.kind == "pcm":
            wanted = media.count * BYTES_PER_SAMPLE[form.format]
            if len(media.payload) != wanted:
                raise ProtocolError(
                    "bad_message", f"{media.count} samples have {wanted} bytes, not {len(media.payload)}"
                )
            ms = 1000 * media.count / self.rate_hz(form)
        else:
            ms = media.count * self.hello.codec.frame_ms
        self._count_gap(media)
        age = wire.behind(media.generation, self.generation.current & 0xFFFF)
        if age < 0:
            raise ProtocolError("bad_message", "media of a generation that has not begun")
        self._came_ms += ms
        if not start.live and self._came_ms - self._taken_ms > self.hello.limits.ahead_ms:
            raise ProtocolError("overrun", f"you may send {self.hello.limits.ahead_ms:g} ms beyond what was taken")
        if age > 0:
            self.counts["stale_in"] += 1
            self.took(ms)
            return []
        return [MediaArrived(media, self.generation.current, ms)] if media.count else []

    def rate_hz(self, form: Format) -> int:
        """The rate that ``form`` means."""
        return self.hello.codec.rate_hz if form.rate_hz is None or form.kind == "codes" else form.rate_hz

    def _count_gap(self, media: Media) -> None:
        if self.counts["media_in"] and media.seq != self._next_seq[media.kind]:
            self.counts["gaps_in"] += 1
        self.counts["media_in"] += 1
        self._next_seq[media.kind] = media.seq + 1 & 0xFFFF

    def _credit(self, credit: Credit, now_s: float) -> list[Event]:
        age = wire.behind(credit.generation, self.generation.current & 0xFFFF)
        if age < 0:
            raise ProtocolError("bad_message", "credit for a generation that has not begun")
        self.buffered_ms, self.underruns = credit.buffered_ms, credit.underruns
        if age == 0 and self.outbox is not None and self.outbox.credit(credit.played_ms):
            self._moved_s = now_s
        return []

    def _cancel(self, cancel: Cancel, now_s: float) -> list[Event]:
        start, outbox = self._started(), self.outbox
        age = 0 if cancel.generation is None else wire.behind(cancel.generation, self.generation.current & 0xFFFF)
        if age < 0:
            raise ProtocolError("bad_message", "a cancel of a generation that has not begun")
        if age > 0 or outbox is None or self._finished:
            return []
        if start.mode == "loopback" and not start.live:
            self.object("unsupported", "sound that waits comes whole: it cannot be cancelled, only ended")
            return []
        if cancel.played_ms is not None:
            outbox.credit(cancel.played_ms)
        told = outbox.generated_ms, outbox.sent_ms, outbox.played_ms, self.heard(outbox.played_ms)
        outbox.restart()
        self._moved_s = now_s
        self.say(Cancelled(self.generation.cancel() & 0xFFFF, *told))
        return [GenerationCancelled()]

    def _update(self, update: Update) -> list[Event]:
        start = self._started()
        if update.books is not None and update.books > self.hello.codec.books:
            raise ProtocolError("bad_message", f"update.books must be 1 to {self.hello.codec.books}")
        if update.loss and not _can_lose(start):
            self.object("unsupported", NO_LOSS)
            return []
        return [DialTurned(update)]

    def _text(self, event: TextArrived) -> list[Event]:
        if self._started().mode != "speak":
            raise ProtocolError("bad_message", "text is for mode speak")
        return [event]

    def _started(self) -> Start:
        if self.start is None:
            raise ProtocolError("bad_message", "start must come first")
        return self.start

    def _next(self, now_s: float) -> str | bytes | None:
        if self._control:
            return self._control.popleft()
        if self.ended_by is not None or self.outbox is None:
            return None
        if (media := self.outbox.take()) is not None:
            if media.kind <= Kind.CODES:
                self._moved_s = now_s
            return media.pack()
        if self._finished and not self.outbox.has_sound:
            self._control.append(messages.encode(End()))
            self._over("end")
            return self._control.popleft()
        return None

    def _waits(self) -> bool:
        return self.outbox is not None and self.outbox.has_sound

    def _over(self, why: str) -> list[Event]:
        if self.ended_by is not None:
            return []
        self.ended_by = why
        if self.outbox is not None:
            self.outbox.clear()
        return [Closed(why)]


def _can_lose(start: Start) -> bool:
    return start.mode != "speak" and (start.in_.kind, start.out.kind) == ("pcm", "pcm")
