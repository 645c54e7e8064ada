"""The two stages between text and codes: pieces of text -> clauses with their times settled -> frames of codes.

A clause is read (phonemes, durations) while the one before is spoken. One text is spoken in one breath: what the talker
remembers goes on from clause to clause, and ends with the text. Everything is timed on the media clock of the sound that comes
out of the codec, its delay included; the clock begins with the generation.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from .channel import Channel
from .clauses import Border, Clause, Clauses
from .errors import UsageError
from .frames import Codes, Frame
from .lead import Lead
from .loop import Session
from .packer import Dial
from .ramp import Ramp
from .session_events import TextArrived
from .spoken import Spoken, joined, shortened
from .stages import Line, Tap
from .talk_work import Manner, Moment, Reading, Score

LEAST_PAUSE_S = {Border.WORD: 0.0, Border.CLAUSE: 0.03, Border.SENTENCE: 0.12, Border.PARAGRAPH: 0.4}
"""Of the silence behind a clause; what the talker itself wants is mostly longer."""
END_PAUSE_S = 0.2
"""Of the silence behind a text: the last sound dies away, and comes out of the codec."""
MOST_CHARS = 100_000
"""In a text of a client elsewhere: two hours of speech."""
MOST_SYMBOLS = 300
"""Read at once, as others wait for the engine meanwhile; a clause of numbers can have more."""
_NO_CHARACTER = re.compile("[\ud800-\udfff]")
"""Halves of one: JSON can have them, and a command line that is not UTF-8."""
_PIECE_CHARS = 100
"""Of a long piece, cut at once: nobody waits for more, nor does a cancel."""


@dataclass(frozen=True, slots=True)
class PhonemeTime:
    """When a symbol sounds, in milliseconds of the generation."""

    symbol: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class WordTime:
    """When a word sounds."""

    text: str
    "As it was written."
    start_char: int
    "Within its text."
    end_char: int
    start_ms: float
    end_ms: float
    phonemes: tuple[PhonemeTime, ...]


@dataclass(frozen=True, slots=True)
class PassageBegan:
    """The first frame of a clause follows: what it says, and when."""

    generation: int
    number: int
    "Counts the clauses of a generation."
    text: str
    start_ms: float
    end_ms: float
    "Of its last frame, the pause behind it included."
    words: tuple[WordTime, ...]


@dataclass(frozen=True, slots=True)
class PassageEnded:
    """The last frame of a clause, its pause included, was written: a gap from here on is no fault. Not told of one that was
    cancelled."""

    generation: int
    number: int
    end_ms: float


TalkEvent = PassageBegan | PassageEnded


@dataclass(frozen=True, slots=True)
class Passage:
    """A clause that can be spoken, or a part of a long one."""

    text: str
    "As it was written; parts joined are the clause."
    words: tuple[Spoken, ...]
    "Placed within the whole text."
    score: Score


class TextEnd:
    """Nothing more follows in this text."""


class Words(Protocol):
    """What knows how words sound: `reader.Reader`."""

    async def words(self, text: str) -> list[Spoken]:
        """Of a clause, in order."""
        ...


async def read(
    texts: AsyncIterable[TextArrived],
    out: Channel[Frame[Passage | TextEnd]],
    line: Line,
    session: Session,
    reader: Words,
    manner: Manner,
    most_chars: int | None = MOST_CHARS,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """Pieces of text, however they are cut -> clauses. When ``texts`` ends, so does the text.

    Args:
        most_chars: in a text; None: it may go on for ever.
        begun: is called when the words of a clause are known, before their durations are.

    Raises UsageError: a text is longer than ``most_chars``.
    """
    cutter: Clauses | None = None
    generation = n_chars = seq = n_read = 0
    frame_s = session.descriptor.frame_ms / 1000

    async def send(data: Passage | TextEnd) -> None:
        nonlocal seq
        now_s = line.clock()
        await out.send(Frame(data, seq, generation, now_s, now_s))
        seq += 1

    async def pass_on(clauses: Sequence[Clause]) -> None:
        nonlocal n_read
        for clause in clauses:
            if line.generation.is_stale(generation):
                return
            words = await reader.words(clause.text)
            begun()
            for part in _in_parts(clause, words):
                if line.generation.is_stale(generation):
                    return
                phonemes, _ = joined(part.words)
                due_s = line.clock() + (frame_s if n_read else 0.0)  # what was read before is made sound first
                score = await session.talk("read", Reading(phonemes, manner, part.least_pause_s), due_s)
                n_read += 1
                await send(Passage(part.text, part.words, score))

    async def end() -> None:
        nonlocal cutter
        if cutter is not None and not line.generation.is_stale(generation):
            await pass_on(cutter.end())
            await send(TextEnd())
        cutter = None

    async with out:
        async for piece in texts:
            if line.generation.is_stale(piece.generation):
                continue
            if cutter is None or piece.generation != generation:
                cutter, n_chars, n_read, generation = Clauses(), 0, 0, piece.generation
            text = _NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", piece.text or "")
            n_chars += len(text)
            if most_chars is not None and n_chars > most_chars:
                raise UsageError(f"the text is longer than {most_chars} characters; say it in parts")
            for at in range(0, len(text), _PIECE_CHARS):
                await pass_on(cutter.push(text[at : at + _PIECE_CHARS]))
                await asyncio.sleep(0)  # nothing else waits here where the pieces are there and hold no clause
            if piece.end:
                await end()
            elif piece.text is None:
                await pass_on(cutter.flush())
                await asyncio.sleep(0)
        await end()


@dataclass(frozen=True, slots=True)
class _Part:
    """Of a clause, what is read at once."""

    text: str
    words: tuple[Spoken, ...]
    "Placed within the whole text."
    least_pause_s: float


def _in_parts(clause: Clause, words: Sequence[Spoken]) -> Iterator[_Part]:
    """``words`` of a clause in parts of about `MOST_SYMBOLS` at most; the pause is behind the last."""
    words = [part for word in words for part in shortened(word, MOST_SYMBOLS)]
    edges, n_symbols = [0], 0
    for i, word in enumerate(words):
        more = len(word.before + word.phonemes + word.after) + 1
        if i > edges[-1] and n_symbols + more > MOST_SYMBOLS:
            edges.append(i)
            n_symbols = 0
        n_symbols += more
    chars = [0, *(words[i].start_char for i in edges[1:]), len(clause.text)]
    for n, (begin, end) in enumerate(pairwise([*edges, len(words)] if words else [])):
        some = (
            replace(word, start_char=clause.start_char + word.start_char, end_char=clause.start_char + word.end_char)
            for word in words[begin:end]
        )
        pause_s = LEAST_PAUSE_S[clause.border] if end == len(words) else 0.0
        yield _Part(clause.text[chars[n] : chars[n + 1]], tuple(some), pause_s)


async def talk(
    passages: Channel[Frame[Passage | TextEnd]],
    out: Channel[Frame[Codes]],
    line: Line,
    session: Session,
    lead: Lead,
    dial: Dial | None = None,
    tell: Callable[[TalkEvent], None] = lambda event: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    tap: Tap[Codes] | None = None,
    ramp: Ramp | None = None,
) -> None:
    """Clauses -> codes, as soon as ``lead`` allows.

    Args:
        ramp: how many frames to send at once, to be made sound together: those of a clause at most, none waits for words that
            are not there yet. None: each by itself.
        dial: how many books to keep; the talker writes all of them.
        tell: is told what is spoken when, just before its first frame is sent.
    """
    speech = _Speech(passages, out, line, session, lead, dial, sleep, tap, ramp)
    async with out:
        async for item in passages:
            if not line.wanted(item, passages.name):
                continue
            speech.go_on(item.generation)
            if isinstance(item.data, TextEnd):
                await speech.tail()
                speech.text_ended()
            else:
                await speech.say(item.data, tell)


class _Speech:
    """What `talk` knows from one clause to the next."""

    def __init__(
        self,
        passages: Channel[Frame[Passage | TextEnd]],
        out: Channel[Frame[Codes]],
        line: Line,
        session: Session,
        lead: Lead,
        dial: Dial | None,
        sleep: Callable[[float], Awaitable[None]],
        tap: Tap[Codes] | None,
        ramp: Ramp | None,
    ) -> None:
        self.score: Score | None = None
        "Of the newest clause of this text, while it is wanted."
        self._passages, self._out, self._line, self._session = passages, out, line, session
        self._lead, self._dial, self._sleep, self._tap, self._ramp = lead, dial, sleep, tap, ramp
        self._frame_ms = session.descriptor.frame_ms
        self._generation: int | None = None
        self._n_frames = self._number = self._seq = 0
        self._fresh = True

    def go_on(self, generation: int) -> None:
        """Something of ``generation`` is there."""
        now_s = self._line.clock()
        if generation != self._generation:
            self._generation, self._n_frames, self._number = generation, 0, 0
            self.text_ended()
            self._lead.restart()
        else:
            self._lead.resume(now_s)

    def text_ended(self) -> None:
        """The talker shall forget what it said."""
        self.score, self._fresh = None, True

    async def say(self, passage: Passage, tell: Callable[[TalkEvent], None]) -> None:
        """All frames of a clause, as long as they are wanted."""
        self.score, first = passage.score, self._n_frames
        began = PassageBegan(
            self._generation or 0,
            self._number,
            passage.text,
            start_ms=first * self._frame_ms,
            end_ms=(first + passage.score.n_frames) * self._frame_ms,
            words=self._times(passage),
        )
        self._number += 1
        if not await self._speak(0, passage.score.n_frames, lambda: tell(began)):
            self._passages.drop("stale")
            return
        tell(PassageEnded(began.generation, began.number, self._n_frames * self._frame_ms))

    async def tail(self) -> None:
        """Silence behind a text that has ended, if it was wanted to its end."""
        if self.score is None:
            return
        last = self.score.n_frames
        await self._speak(last, last + self.score.frames_short_of(END_PAUSE_S))

    async def _speak(self, frame: int, end: int, told: Callable[[], None] | None = None) -> bool:
        """The frames of the score from ``frame`` to ``end``; False: they are not wanted any more.

        ``told`` is called before the first is sent.
        """
        while frame < end:
            chunk: list[Codes] = []
            n = await self._next(end - frame)
            due_s = self._lead.due_s(self._line.clock())
            while len(chunk) < n and not self._stale():
                chunk.append(await self._make(frame + len(chunk), due_s))
            if self._stale():
                return False
            if told is not None:
                told()
            told = None
            for codes in chunk:
                await self._send(codes)
            if self._stale():
                return False
            frame += n
        return True

    async def _next(self, most: int) -> int:
        """Waits until it is time for some frames, ``most`` at most; how many."""
        clock, ramp = self._line.clock, self._ramp
        n = ramp.n_frames(clock(), most) if ramp else 1
        wait_s = self._lead.wait_s(clock(), n)
        if wait_s > 0:
            await self._sleep(wait_s)
            n = ramp.n_frames(clock(), n) if ramp else 1  # it may have overslept
        return n

    async def _make(self, frame: int, due_s: float) -> Codes:
        """The codes of a frame."""
        assert self.score is not None
        began_s = self._line.clock()
        moment = Moment(self.score, frame)
        codes: Codes = await self._session.talk("talk", moment, due_s, fresh=self._fresh)
        self._fresh = False
        self._line.statistics.stage("talk").add(self._line.clock() - began_s)
        return codes

    async def _send(self, codes: Codes) -> None:
        now_s = self._line.clock()
        due_s = self._lead.due_s(now_s)
        # What is made ahead of its time is new; what is late is as old as it is late.
        born_s = min(now_s, due_s)
        books = self._dial.books if self._dial else None
        if books is not None:
            codes[:, books:] = -1
        self._line.statistics.codes.add(codes)
        generation = self._generation or 0
        frame = Frame(codes, self._seq, generation, born_s, now_s, books=books, due_s=due_s)
        if self._tap:
            self._tap(frame)
        await self._out.send(frame)
        self._seq += 1
        self._n_frames += 1
        self._lead.wrote(self._line.clock())

    def _stale(self) -> bool:
        if self._line.generation.is_stale(self._generation or 0):
            self.score = None  # a clause that was cancelled does not end
            return True
        return False

    def _times(self, passage: Passage) -> tuple[WordTime, ...]:
        """Exact: the slots are ours, and the clause begins with the next frame."""
        origin_ms = self._n_frames * self._frame_ms
        score, (phonemes, places) = passage.score, joined(passage.words)

        def at_ms(symbol: int) -> float:
            return round(origin_ms + 1000 * score.begins_s(symbol), 6)  # floats would show 34.99999999999999

        found = []
        for word, place in zip(passage.words, places, strict=True):
            inside = [i + 1 for i in place]  # behind the pause that every clause begins with
            sounds = tuple(PhonemeTime(phonemes[i - 1], at_ms(i), at_ms(i + 1)) for i in inside)
            start_ms, end_ms = at_ms(inside[0]), at_ms(inside[-1] + 1)
            found.append(WordTime(word.text, word.start_char, word.end_char, start_ms, end_ms, sounds))
        return tuple(found)
