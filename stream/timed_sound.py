"""Speech as bytes, and the passages that begin in them: what tells a listener when each character is heard."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .frames import Frame, Pcm
from .sound_stream import SoundStream
from .talk import PassageBegan, TalkEvent

_ROUNDING_MS = 0.5


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the sound."""

    data: bytes
    began: PassageBegan | None
    "The passage whose first sound this is."

    def __bool__(self) -> bool:
        return bool(self.data or self.began)


class TimedSound:
    """One text's. `told` hears of a passage before its first frame is pushed."""

    def __init__(self, in_hz: int, sound: SoundStream) -> None:
        """``sound`` takes the codec's rate, ``in_hz``."""
        self._sound = sound
        self._in_hz = in_hz
        self._passages: deque[PassageBegan] = deque()  # told, and not yet heard
        self._n_samples = 0

    def told(self, event: TalkEvent) -> None:
        """What the talker tells."""
        if isinstance(event, PassageBegan):
            self._passages.append(event)

    async def push(self, frame: Frame[Pcm]) -> Piece:
        """The bytes that follow."""
        at_ms, self._n_samples = 1000 * self._n_samples / self._in_hz, self._n_samples + len(frame.data)
        return self._piece(await self._sound.push(frame.data), at_ms)

    async def finish(self) -> Piece:
        """The rest."""
        return self._piece(await self._sound.finish(), 1000 * self._n_samples / self._in_hz)

    def _piece(self, data: bytes, at_ms: float) -> Piece:
        begins = self._passages and self._passages[0].start_ms <= at_ms + _ROUNDING_MS
        return Piece(data, self._passages.popleft() if begins else None)
