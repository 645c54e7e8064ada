"""What a client says, as a mode takes it: sound at the codec's rate, code packets, or text."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable

from .channel import Channel, Policy
from .client_messages import Start
from .errors import ChannelClosed, ChannelFull, PacketError, ProtocolError
from .frames import Pcm
from .generation import Generation
from .packet import shape
from .resample import Resampler
from .samples import from_bytes
from .session_events import MediaArrived, TextArrived

_MOST_WAITING = 4096
"""Messages between the socket and the mode: two seconds of the smallest pieces that anybody sends."""


class Incoming:
    """One session's input. Take one of `sound`, `packets` and `texts`, once; it ends when the client has said its last.

    What was cancelled while it waited is not given.
    """

    def __init__(
        self,
        start: Start,
        wire_hz: int,
        codec_hz: int,
        generation: Generation,
        took: Callable[[float], None],
        most_chars: int = 4000,
    ) -> None:
        """``took`` is told, in milliseconds, whatever has been done with; ``most_chars`` is how much text may wait."""
        policy: Policy = "drop_oldest" if start.live and start.mode != "speak" else "refuse"
        self.channel: Channel[MediaArrived | TextArrived] = Channel(_MOST_WAITING, policy, "said")
        self._start = start
        self._rates_hz = wire_hz, codec_hz
        self._generation = generation
        self._took = took
        self._most_chars = most_chars
        self._waiting_chars: Counter[int] = Counter()  # by generation

    async def put(self, event: MediaArrived | TextArrived) -> None:
        """Take what arrived; never waits. Raises ProtocolError: too much waits already."""
        if isinstance(event, TextArrived):
            self._count(event)
        try:
            await self.channel.send(event)
        except ChannelFull:
            raise ProtocolError(
                "overrun", f"more than {_MOST_WAITING} messages wait; send fewer, larger ones"
            ) from None
        except ChannelClosed:
            pass  # the mode has ended before the client has

    def close(self) -> None:
        """The client has said its last."""
        self.channel.close()

    async def sound(self) -> AsyncIterator[Pcm]:
        """Blocks at the codec's rate. Raises ProtocolError: a sample that is no number."""
        generation, resampler = None, self._resampler()
        async for said in self._wanted():
            if generation not in (None, said.generation):
                resampler = self._resampler()  # a filter remembers what was cancelled
            generation = said.generation
            yield resampler.push(from_bytes(said.media.payload, self._start.in_.format))
        if not self._start.live:
            yield resampler.finish()

    async def packets(self) -> AsyncIterator[bytes]:
        """Code packets. Raises PacketError: a packet that is none, or that holds other frames than its message counts."""
        async for said in self._wanted():
            if shape(said.media.payload)[0] != said.media.count:
                raise PacketError("a media message counts other frames than its packet holds")
            yield said.media.payload

    async def texts(self) -> AsyncIterator[TextArrived]:
        """Pieces of text, and the words to speak them."""
        async for said in self.channel:
            if isinstance(said, TextArrived):
                if not self._generation.is_stale(said.generation):
                    yield said
                # It is in hand until the next one is wanted.
                self._waiting_chars[said.generation] -= len(said.text or "")

    def _count(self, event: TextArrived) -> None:
        """Text of older generations waits for nothing. Raises ProtocolError: there is no room for this one."""
        waiting = self._waiting_chars[event.generation] + len(event.text or "")
        if waiting > self._most_chars:
            raise ProtocolError(
                "overrun", f"more than {self._most_chars} characters wait to be spoken; send them as they are heard"
            )
        self._waiting_chars = Counter({event.generation: waiting})

    async def _wanted(self) -> AsyncIterator[MediaArrived]:
        async for said in self.channel:
            if isinstance(said, MediaArrived):
                if not self._generation.is_stale(said.generation):
                    yield said
                self._took(said.ms)

    def _resampler(self) -> Resampler:
        return Resampler(*self._rates_hz, "live" if self._start.live else "file")
