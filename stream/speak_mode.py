"""The server's mode ``speak``: what a client writes is spoken, with the words and their times, and what of it was heard."""

from __future__ import annotations

from collections import deque

from .client_messages import MOST_CHARS
from .modes import Job, Mode
from .packer import Packer
from .server_messages import SegmentEnd, SegmentStart, Word
from .server_messages import Words as WordsTold
from .speakers import Speakers
from .speech import Context, Speech, speak, write
from .talk import PassageBegan, TalkEvent, WordTime
from .talk_work import Manner

MOST_WORDS = 4096
"""That a session remembers, to tell what was heard of them."""
_MOST_WORD_CHARS = 200


def mode(speakers: Speakers) -> Mode:
    """The mode ``speak`` for a server whose engine talks with these voices."""

    async def speak_job(job: Job) -> None:
        """Raises UsageError: there is no such voice, or the text is too long."""
        start, outgoing, descriptor = job.start, job.outgoing, job.row.descriptor
        assert job.session.outbox is not None
        voice = speakers.number(start.voice)
        lead_ms = max(job.session.outbox.lead_ms, 2 * descriptor.frame_ms)
        speed = 1.0 if start.speed is None else start.speed
        pcm = start.out.kind == "pcm"
        # What is packed is cut by its packer.
        speech = Speech(Manner(voice, speed), lead_ms, job.dial if pcm else None, speakers.most_chars)
        context = Context(
            job.row,
            speakers.reader(voice),
            job.statistics,
            job.generation,
            job.clock,
            first_audio=outgoing.first_audio,
            taps=outgoing.taps,
        )
        teller = _Teller(job)
        job.session.heard = teller.heard
        if pcm:
            await speak(job.incoming.texts(), outgoing.speech, speech, context, teller.tell)
        else:
            packer = Packer(descriptor, job.dial, start.frames_per_packet, start.redundancy)
            await write(job.incoming.texts(), outgoing.packet, packer, speech, context, teller.tell)
        await outgoing.last()

    return speak_job


class _Teller:
    """Tells the client what is spoken when, and remembers it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._generation = 0
        self._words: deque[WordTime] = deque(maxlen=MOST_WORDS)  # of that generation

    def tell(self, event: TalkEvent) -> None:
        job, generation = self._job, event.generation & 0xFFFF
        if job.generation.is_stale(event.generation):
            return
        if not isinstance(event, PassageBegan):
            job.session.say(SegmentEnd(generation, event.number, event.end_ms))
            return
        if event.generation != self._generation:
            self._generation = event.generation
            self._words.clear()
        self._words.extend(event.words)
        job.session.say(SegmentStart(generation, event.number, event.start_ms, event.text))
        if job.start.words and event.words:
            words = tuple(Word(word.text[:_MOST_WORD_CHARS], word.start_ms, word.end_ms) for word in event.words)
            job.session.say(WordsTold(generation, event.number, words))

    def heard(self, played_ms: float) -> str:
        """The words that were played to their end by then, the newest `MOST_WORDS` of them."""
        if self._job.generation.current != self._generation:
            return ""  # it was cancelled before a word of it was ready
        return " ".join(word.text for word in self._words if word.end_ms <= played_ms)[-MOST_CHARS:]
