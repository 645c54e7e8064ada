"""``sottovoce loopback --server``: the same ends as a loopback on this machine, the codec on another."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

from sottovoce.stream.errors import ServeError
from sottovoce.stream.frames import Frame
from sottovoce.stream.messages import ServerMessage
from sottovoce.stream.pipeline import Settings
from sottovoce.stream.server_messages import Stats

from .ends import EndOptions, Ends, check_ends
from .engines import check_books
from .interrupts import run
from .pipes import PIPE, check_apart, say, tell
from .quiet import quiet_libraries
from .sound_files import remark


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """What a person asks of a loopback through a server."""

    server: str
    token: str | None
    ends: EndOptions
    settings: Settings


def loopback(options: RemoteOptions) -> None:
    """Carry it out, then print what the server told.

    Raises:
        ConnectionFailed: there is no server, it refuses, or it went away.
        SottovoceError: a file, a device or the options are at fault. No output file is left.
    """
    try:
        from .client import Client
        from .narration import MENDING_S
    except ModuleNotFoundError as error:
        raise ServeError(f"{error.name} must be installed for this: pip install 'sottovoce[serve]'") from error
    check_apart(options.ends.input, options.ends.output)
    check_ends(options.ends)
    newest: list[Stats] = []

    def told(message: ServerMessage) -> None:
        if isinstance(message, Stats):
            newest[:] = [message]
            client.patience_s = MENDING_S

    client = Client(options.server, options.token, told=told)
    descriptor = run(client.hello()).codec.descriptor()
    check_books(options.settings.books, descriptor)
    is_live = options.ends.input is None
    settings = replace(options.settings, live=is_live)
    devices = is_live or options.ends.output is None
    with quiet_libraries() if devices else nullcontext(), Ends(options.ends, descriptor, settings) as ends:
        run(_converse(client, ends, settings))
    if ends.sound:
        remark(ends.sound.remarks())
    lines = [f"{'codec':<17} {descriptor.preset} {descriptor.model_hash} at {options.server}"]
    if newest:
        stats = newest[0]
        lines.append(f"{'bitrate':<17} codes {stats.codes_bps:.0f} bit/s, packets {stats.wire_bps:.0f} bit/s")
        lines.append(f"{'at the server':<17} p50 {stats.age.p50_ms:.1f} ms, p95 {stats.age.p95_ms:.1f} ms a frame")
    if client.reconnects:
        lines.append(f"{'reconnects':<17} {client.reconnects}")
    for line in lines:
        (tell if options.ends.output == PIPE else say)(line)


async def _converse(client: object, ends: Ends, settings: Settings) -> None:
    from .client import Client

    assert isinstance(client, Client)
    ends.start()
    sink = ends.sink()
    heard = client.loopback(
        ends.source(lambda: False),
        books=settings.books,
        frames_per_packet=settings.frames_per_packet,
        redundancy=settings.redundancy,
        loss=settings.loss,
        burst=settings.burst,
        live=settings.live,
    )
    seq = 0
    async for pcm in heard:
        await sink(Frame(pcm, seq, 0, client.clock()))
        seq += 1
    if ends.speaker:
        await ends.speaker.drain()
