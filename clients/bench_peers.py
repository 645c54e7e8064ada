"""Our codec beside others in the same run: blocks of steps in turn, so that what slows the machine slows both.

Which of the others load is found out before anything is measured: minutes must not be lost for want of a package.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sottovoce.stream.engine import Engine
from sottovoce.stream.errors import UsageError

from .bench_steps import Codec, StageTimes, percentiles
from .pipes import tell

if TYPE_CHECKING:
    from sottovoce.stream.peer_codecs import Peer

ROUNDS = 6
BLOCK_MS = 800.0
"""Sound in a block."""


@dataclass(frozen=True, slots=True)
class Versus:
    """Ours and theirs, one stream."""

    name: str
    version: str
    does: str
    "Which of our stages do the same; ``all``: samples to codes to samples."
    chunk_ms: float
    "Theirs; ours is a code frame."
    step: StageTimes
    "Of theirs."
    rtf: float
    our_rtf: float
    ratio: float
    "How many times faster ours is: middle times per second of sound."
    n: int
    "Their steps."


def load_peers(names: Sequence[str] | None, chunk_ms: float, threads: int) -> list[Peer]:
    """Those of ``names``; of None all that load, and a line on standard error for each that does not.

    Raises:
        UsageError: one that is named does not load, or none does.
    """
    if names is not None and not names:
        return []  # and no torch
    try:
        from sottovoce.stream.peer_codecs import PEERS, make_peer
    except ImportError as error:
        raise UsageError(f"--vs needs torch, and the peers' packages: {error}; see the README") from error
    if names is not None:
        return [make_peer(name, chunk_ms, threads) for name in names]
    peers, missing = [], []
    for name in PEERS:
        try:
            peers.append(make_peer(name, chunk_ms, threads))
        except UsageError as error:
            missing.append(str(error))
    if not peers:
        raise UsageError(f"there is nobody to measure beside it: {'; '.join(missing)}; see the README")
    for why in missing:
        tell(f"sottovoce: left out: {why}")
    return peers


def versus(peer: Peer, engine: Engine) -> Versus:
    """Blocks of both in turn; the first round warms up and does not count."""
    frame_ms = engine.descriptor.frame_ms
    ours = Codec(engine, 1)
    their_s: list[float] = []
    our_s: list[float] = []
    for turn in range(1 + ROUNDS):
        mine = _block(lambda: _ours(ours, peer.does), round(BLOCK_MS / frame_ms))
        theirs = _block(lambda: _timed(peer.step), max(round(BLOCK_MS / peer.chunk_ms), 1))
        if turn:
            our_s += mine
            their_s += theirs
    ours.close()
    rtf, our_rtf = (float(np.median(s)) * 1000 / ms for s, ms in ((their_s, peer.chunk_ms), (our_s, frame_ms)))
    step = percentiles(their_s)
    return Versus(peer.name, peer.version, peer.does, peer.chunk_ms, step, rtf, our_rtf, rtf / our_rtf, len(their_s))


def _block(step: Callable[[], float], n: int) -> list[float]:
    step()  # what the other one pushed out of the caches
    return [step() for _ in range(n)]


def _ours(chain: Codec, does: str) -> float:
    """Seconds of a step of the whole chain, or of one of its kinds."""
    data, taken_s = chain.next(), 0.0
    for kind in chain.kinds:
        began_s = time.perf_counter()
        data = chain.step(kind, data)
        if does in ("all", kind):
            taken_s += time.perf_counter() - began_s
    return taken_s


def _timed(step: Callable[[], Any]) -> float:
    began_s = time.perf_counter()
    step()
    return time.perf_counter() - began_s
