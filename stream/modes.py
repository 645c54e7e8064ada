"""What a server can do with a session: a coroutine for each mode, between what the client says and what it hears.

A mode gets a `Job` and returns when ``job.incoming`` has ended and everything is handed to ``job.outgoing``. To add one,
put it into the mapping that the server is made with: ``hello.modes`` names what is there, anything else is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from . import pipeline
from .client_messages import Start
from .clock import Clock
from .generation import Generation
from .incoming import Incoming
from .loop import Session as Row
from .loss import GilbertLoss
from .outgoing import Outgoing
from .packer import Dial
from .pipeline import Settings
from .protocol import Session
from .statistics import Statistics


@dataclass(frozen=True, slots=True)
class Job:
    """What a mode works with."""

    start: Start
    "What the client asked for."
    row: Row
    "Of the engine; nothing else uses it."
    incoming: Incoming
    outgoing: Outgoing
    session: Session
    "To `say` what the client shall know: segments, words."
    dial: Dial
    loss: GilbertLoss
    "Both may be turned by the client on the way."
    statistics: Statistics
    clock: Clock

    @property
    def generation(self) -> Generation:
        """What is still wanted."""
        return self.session.generation


Mode = Callable[[Job], Awaitable[None]]
"""It may raise any SottovoceError; being cancelled it ends at once."""


async def loopback(job: Job) -> None:
    """What the client says comes back through the codec, or half of it: pcm or codes in, pcm or codes out."""
    start, incoming, outgoing = job.start, job.incoming, job.outgoing
    settings = Settings(
        frames_per_packet=start.frames_per_packet,
        redundancy=start.redundancy,
        live=start.live,
        aligned=not start.live,
    )
    common: dict[str, Any] = {
        "taps": outgoing.taps,
        "generation": job.generation if start.live else None,
        "clock": job.clock,
    }
    match start.in_.kind, start.out.kind:
        case "pcm", "pcm":
            await pipeline.loopback(
                incoming.sound(),
                outgoing.sound,
                job.row,
                settings,
                job.statistics,
                dial=job.dial,
                loss=job.loss,
                **common,
            )
        case "pcm", "codes":
            await pipeline.encode(
                incoming.sound(), outgoing.packet, job.row, settings, job.statistics, dial=job.dial, **common
            )
        case _:
            await pipeline.decode(incoming.packets(), outgoing.sound, job.row, settings, job.statistics, **common)
    await outgoing.last()


MODES: dict[str, Mode] = {"loopback": loopback}
"""What every server can do."""
