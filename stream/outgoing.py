"""What a mode makes, as a client hears it: sound at its rate or code packets, timed; and pictures of it, if it wants to see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .clock import Clock
from .descriptor import Descriptor
from .first_audio import FirstAudio
from .frames import Frame, Pcm
from .meter import Meter
from .packet import shape
from .pictures import codes_bytes, mel_bytes
from .pipeline import Taps
from .protocol import Session
from .resample import Resampler
from .samples import to_bytes
from .wire import NO_FLAGS, Flag, Kind, Media


class Outgoing:
    """One session's output. Every generation begins at time zero, with a filter that remembers nothing.

    Attributes:
        view: whether the client wants pictures.
        taps: what shows them to it.
    """

    def __init__(
        self, session: Session, descriptor: Descriptor, meter: Meter, wake: Callable[[], None], clock: Clock
    ) -> None:
        """``wake`` is called when the session has something to send. ``session`` has been accepted."""
        assert session.start is not None
        assert session.outbox is not None
        self.view = session.start.view
        self.taps = Taps(self._mel_in, self._codes, self._mel_out)
        self._session = session
        self._outbox = session.outbox
        self._start = session.start
        self._form = session.start.out
        self._speaks = session.start.mode == "speak"
        self._wire_hz = session.rate_hz(session.start.out)
        self._descriptor = descriptor
        self._meter = meter
        self._wake = wake
        self._clock = clock
        self._room = asyncio.Event()
        self._generation: int | None = None
        self._position = 0  # in samples at the wire's rate, of this generation
        self._resampler = self._new_resampler()

    async def sound(self, frame: Frame[Pcm]) -> None:
        """Send sound of the codec; waits for room where sound waits. A sink for the pipelines."""
        self._begin(frame.generation)
        self._meter.sound(self._clock(), frame.born_s, frame.data)
        await self._send_pcm(self._resampler.push(frame.data), Flag.CONCEALED if frame.concealed else NO_FLAGS)

    async def speech(self, frame: Frame[Pcm]) -> None:
        """Send sound of a talker; waits for room. A sink for `speech.speak`, which itself watches over `first_audio`."""
        self._begin(frame.generation)
        self._meter.spoken(self._clock(), frame.born_s)
        await self._send_pcm(self._resampler.push(frame.data), NO_FLAGS)

    @property
    def first_audio(self) -> FirstAudio:
        """What the wait for the first sound is made of."""
        return self._meter.first_audio

    async def packet(self, packed: bytes) -> None:
        """Send a code packet. A sink for the pipelines."""
        self._begin(self._session.generation.current)
        self._meter.codes(self._clock())
        n_frames = shape(packed)[0]
        await self._send(Kind.CODES, packed, n_frames, n_frames * self._descriptor.frame_samples, NO_FLAGS)

    async def last(self) -> None:
        """Send the rest, if there is one, and the word that nothing follows."""
        self._begin(self._session.generation.current)
        if self._form.kind == "pcm":
            if self._speaks or not self._start.live:
                await self._send_pcm(self._resampler.finish(), NO_FLAGS)
            await self._send(Kind.PCM, b"", 0, 0, Flag.LAST)

    def has_sent(self) -> None:
        """Something left the outbox: there may be room."""
        self._room.set()

    def _begin(self, generation: int) -> None:
        if generation != self._generation:
            self._generation, self._position = generation, 0
            self._resampler = self._new_resampler()

    def _new_resampler(self) -> Resampler:
        return Resampler(self._descriptor.rate_hz, self._wire_hz, "live" if self._start.live else "file")

    async def _send_pcm(self, pcm: Pcm, flags: Flag) -> None:
        frame = self._wire_hz * self._descriptor.frame_samples // self._descriptor.rate_hz + 1
        for at in range(0, len(pcm), frame):  # a long rest needs credit like everything else
            piece = pcm[at : at + frame]
            await self._send(Kind.PCM, to_bytes(piece, self._form.format), len(piece), len(piece), flags)

    async def _send(self, kind: Kind, payload: bytes, count: int, n_samples: int, flags: Flag) -> None:
        while not self._outbox.has_room and not self._session.ended_by:
            self._room.clear()
            await self._room.wait()
            if self._speaks:  # who listens has stopped, or is slow; its clock begins anew
                self._meter.playout.restart()
        assert self._generation is not None
        began, self._position = self._position, self._position + n_samples
        media = Media(
            kind,
            seq=0,
            generation=self._generation & 0xFFFF,
            count=count,
            time=began & 0xFFFFFFFF,
            payload=payload,
            flags=flags if began else flags | Flag.FIRST,
        )
        per_ms = self._wire_hz / 1000
        self._session.offer(media, began / per_ms, self._position / per_ms, self._generation, self._clock())
        self._wake()

    # ---- for the eye -----------------------------------------------------------------------------------------

    def _mel_in(self, frame: Frame[Any]) -> None:
        self._meter.engine_began(self._clock())
        self._show(Kind.MEL_IN, frame, mel_bytes)

    def _codes(self, frame: Frame[Any]) -> None:
        self._meter.engine_began(self._clock())
        self._show(Kind.CODES_HEARD, frame, codes_bytes)

    def _mel_out(self, frame: Frame[Any]) -> None:
        self._show(Kind.MEL_OUT, frame, mel_bytes)

    def _show(self, kind: Kind, frame: Frame[Any], as_bytes: Callable[[Any], bytes]) -> None:
        if self.view:
            time = frame.seq * self._descriptor.frame_samples & 0xFFFFFFFF
            picture = Media(kind, 0, frame.generation & 0xFFFF, len(frame.data), time, as_bytes(frame.data))
            self._session.show(picture, frame.generation)
            self._wake()
