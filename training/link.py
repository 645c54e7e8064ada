"""A bad line between network namespaces: delay, jitter, loss in bursts, reordering, a rate limit, outages; for measuring rooms.

What ``tc netem`` does, where a kernel has no netem: each end of a line is a TUN device inside a namespace, and a thread of this
process carries the IP packets between the two. Linux only, as root.

`Wire` is one direction, sans I/O; `Line` is both, with the thread; `Namespace` is one host.
"""

from __future__ import annotations

import heapq
import math
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x0001 | 0x1000
_MTU = 1500
_QUEUE_BYTES = 30_000
"""Of a line with a rate limit, beyond which packets are dropped: what a cheap modem holds."""


class LinkError(RuntimeError):
    """The line cannot be laid: not root, not Linux, or a tool is missing."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of one direction of a line."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    "Standard deviation of the delay; order is kept but for ``reorder``."
    loss: float = 0.0
    "Share of the time in which the line has faded and every IP packet is lost."
    fade_ms: float = 100.0
    "Mean length of a fade, of which two may overlap. In time, not in packets, as on the air: what is sent later comes through."
    reorder: float = 0.0
    "Share of packets that overtake those before them: they have no delay."
    rate_bps: float | None = None
    outages_s: tuple[tuple[float, float], ...] = ()
    "From when to when nothing passes, after the line was laid; the packets of that time are lost."


class Wire:
    """One direction of a line: what goes in at a time comes out at a later one, or never."""

    def __init__(self, conditions: Conditions, seed: int = 0) -> None:
        """Raises ValueError: conditions that cannot be."""
        self._conditions = conditions
        self._random = random.Random(seed)
        self._fades = _Fades(conditions.loss, conditions.fade_ms / 1000, seed)
        self._under_way: list[tuple[float, int, bytes]] = []
        self._number = 0
        self._free_s = 0.0  # when the transmitter has sent all that it was given
        self._last_s = 0.0  # when the newest packet that keeps its order arrives
        self.counts: Counter[str] = Counter()
        "``packets``, ``bytes`` that went in; ``lost``, ``full``, ``outage``: packets that never came out."

    def push(self, packet: bytes, now_s: float) -> None:
        """A packet is put on the line."""
        c = self._conditions
        # Drawn for each packet, lost or not, so that what is lost changes nothing for the others.
        overtakes, delay_s = self._random.random() < c.reorder, self._random.gauss(c.delay_ms, c.jitter_ms) / 1000
        self.counts["packets"] += 1
        self.counts["bytes"] += len(packet)
        if any(begin <= now_s < end for begin, end in c.outages_s):
            self.counts["outage"] += 1
            return
        if c.rate_bps is not None:
            if (self._free_s - now_s) * c.rate_bps / 8 > _QUEUE_BYTES:
                self.counts["full"] += 1
                return
            self._free_s = now_s = max(self._free_s, now_s) + 8 * len(packet) / c.rate_bps
        if self._fades.faded(now_s):
            self.counts["lost"] += 1
            return
        arrives_s = now_s
        if not overtakes:
            arrives_s += max(0.0, delay_s)
            arrives_s = self._last_s = max(self._last_s, arrives_s)
        self._number += 1
        heapq.heappush(self._under_way, (arrives_s, self._number, packet))

    def pop(self, now_s: float) -> list[bytes]:
        """What has arrived by now, in order of arrival."""
        arrived = []
        while self._under_way and self._under_way[0][0] <= now_s:
            arrived.append(heapq.heappop(self._under_way)[2])
        return arrived

    @property
    def next_s(self) -> float | None:
        """When the next packet arrives; None: nothing is under way."""
        return self._under_way[0][0] if self._under_way else None


class _Fades:
    """Fades begin at any time with the same chance, last for random times, and may overlap: a Poisson process, each point of
    which covers a stretch. Each fade has a mark, and a line has those with small marks, more of them the more it loses: with
    the same seed, what is lost on a good line is lost on a worse one as well.
    """

    def __init__(self, share: float, mean_s: float, seed: int) -> None:
        if not 0 <= share < 1 or mean_s <= 0:
            raise ValueError(f"a loss of {share} in fades of {mean_s} s cannot be")
        at_once = -math.log1p(-share)  # fades, in the mean, where that share of the time has at least one
        self._layers = [_Layer(min(at_once - i, 1.0), mean_s, seed, i) for i in range(math.ceil(at_once))]

    def faded(self, at_s: float) -> bool:
        """Whether the line has faded at a time that is not before the last one asked for."""
        return any([layer.faded(at_s) for layer in self._layers])  # all of them: each goes on in time


class _Layer:
    """Fades of which one goes on at a time, in the mean; of these those with marks below ``below``."""

    def __init__(self, below: float, mean_s: float, seed: int, number: int) -> None:
        self._random = random.Random(f"{seed}, fades {number}")
        self._below, self._mean_s = below, mean_s
        self._until_s = -math.inf  # the latest end of those that began
        self._next_s = -20 * mean_s  # so long ago that all that began before has ended

    def faded(self, at_s: float) -> bool:
        while self._next_s <= at_s:
            mark, lasts_s = self._random.random(), self._random.expovariate(1 / self._mean_s)
            if mark < self._below:
                self._until_s = max(self._until_s, self._next_s + lasts_s)
            self._next_s += self._random.expovariate(1 / self._mean_s)
        return at_s < self._until_s


class Namespace:
    """A host of its own: ``with Namespace("sv-a") as a``. Raises LinkError."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> Namespace:
        if os.geteuid():
            raise LinkError("network namespaces need root")
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ip("netns", "delete", self.name)

    def command(self, *words: str) -> list[str]:
        """The same command inside."""
        return ["ip", "netns", "exec", self.name, *words]


class Line:
    """A line between two namespaces, while in ``with``: 10.<number>.0.1 at its first end, 10.<number>.0.2 at its second."""

    def __init__(
        self, ends: tuple[Namespace, Namespace], number: int, ways: tuple[Conditions, Conditions], seed: int = 0
    ) -> None:
        """
        Args:
            ends: whom it joins.
            number: 1 ... 254, unlike that of every other line of these namespaces.
            ways: conditions from the first end to the second, and back.
            seed: of losses and jitter.
        """
        self._ends = ends
        self._number = number
        self.wires = Wire(ways[0], seed), Wire(ways[1], seed + 1)
        "First end to second, and back."
        self._devices: list[int] = []
        self._stop = os.pipe()
        self._thread = threading.Thread(target=self._carry, name=f"line {number}", daemon=True)

    def address(self, end: int) -> str:
        """IPv4 address of end 0 or 1."""
        return f"10.{self._number}.0.{end + 1}"

    def __enter__(self) -> Line:
        """Raises LinkError."""
        for end, namespace in enumerate(self._ends):
            device = f"svline{self._number}{'ab'[end]}"
            self._devices.append(_tun(device))
            _ip("link", "set", device, "netns", namespace.name)
            _ip("-n", namespace.name, "addr", "add", f"{self.address(end)}/24", "dev", device)
            _ip("-n", namespace.name, "link", "set", device, "mtu", str(_MTU), "up")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._stop[1], b"x")
        self._thread.join()
        for descriptor in (*self._devices, *self._stop):
            os.close(descriptor)

    def _carry(self) -> None:
        """The thread: packets from one device to the other, each at its time."""
        began_s = time.monotonic()
        while True:
            now_s = time.monotonic() - began_s
            for wire, out in zip(self.wires, reversed(self._devices), strict=True):
                for packet in wire.pop(now_s):
                    _write(out, packet)
            due_s = [wire.next_s for wire in self.wires if wire.next_s is not None]
            patience_s = max(0.0, min(due_s) - (time.monotonic() - began_s)) if due_s else None
            ready, _, _ = select.select([*self._devices, self._stop[0]], [], [], patience_s)
            if self._stop[0] in ready:
                return
            now_s = time.monotonic() - began_s
            for wire, device in zip(self.wires, self._devices, strict=True):
                if device in ready:
                    wire.push(os.read(device, _MTU + 64), now_s)


def hosts_need(*programs: str) -> str | None:
    """Why there can be no lines here, as one line; None: there can."""
    if os.name != "posix" or not Path("/dev/net/tun").exists():
        return "no TUN devices here"
    if os.geteuid():
        return "network namespaces need root"
    directories = [Path(folder) for folder in (*os.get_exec_path(), "/sbin", "/usr/sbin")]
    for program in ("ip", *programs):
        if not any((folder / program).exists() for folder in directories):
            return f"{program} is not installed"
    return None


def _tun(name: str) -> int:
    import fcntl

    try:
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    except OSError as error:
        raise LinkError(f"no TUN device: {error}") from error
    return device


def _write(device: int, packet: bytes) -> None:
    try:
        os.write(device, packet)
    except OSError:  # the other end is going down
        return


def _ip(*words: str) -> None:
    try:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise LinkError("ip (iproute2) is not installed") from error
    except subprocess.CalledProcessError as error:
        raise LinkError(f"ip {' '.join(words)}: {error.stderr.strip()}") from error


def tcp_bytes(line: Line) -> Sequence[int]:
    """IP bytes that went into the line so far: first end to second, and back."""
    return [wire.counts["bytes"] for wire in line.wires]
