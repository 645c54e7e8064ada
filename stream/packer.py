"""Gathers frames of codes into packets. Sans I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .descriptor import Descriptor
from .frames import Codes
from .packet import MAX_FRAMES, MAX_REDUNDANCY, CodePacket, pack, preset_id


class Dial:
    """The bitrate, which may be turned while a conversation runs."""

    def __init__(self, most: int, books: int | None = None) -> None:
        """``books`` of at most ``most`` are sent; all by default. Raises ValueError: out of range."""
        if books is None:
            books = most
        if not 1 <= books <= most:
            raise ValueError(f"books must be 1 to {most}, not {books}")
        self.most = most
        self._books = books

    @property
    def books(self) -> int:
        """Codebooks sent from the next packet on. Turning beyond an end stops at the end: 1 or ``most``."""
        return self._books

    @books.setter
    def books(self, books: int) -> None:
        self._books = min(max(books, 1), self.most)


class Packer:
    """One sender's stream of packets; its numbers run on as long as it lives."""

    def __init__(self, descriptor: Descriptor, dial: Dial, frames_per_packet: int = 1, redundancy: int = 0) -> None:
        """
        Args:
            descriptor: the stream.
            dial: how many codebooks to send, looked at for every packet.
            frames_per_packet: 1 ... 255.
            redundancy: how many packets back every packet repeats the coarsest book, 0 ... 7.

        Raises:
            ValueError: out of range.
        """
        if dial.most > descriptor.books:
            raise ValueError(f"the dial goes to {dial.most} books, the model has {descriptor.books}")
        if not 1 <= frames_per_packet <= MAX_FRAMES:
            raise ValueError(f"frames per packet must be 1 to {MAX_FRAMES}, not {frames_per_packet}")
        if not 0 <= redundancy <= MAX_REDUNDANCY:
            raise ValueError(f"redundancy must be 0 to {MAX_REDUNDANCY}, not {redundancy}")
        self._descriptor = descriptor
        self._preset = preset_id(descriptor.preset)
        self._frames_per_packet = frames_per_packet
        self._redundancy = redundancy
        self._gathered: list[NDArray[np.int16]] = []  # each [books]
        self._past: deque[int] = deque(maxlen=MAX_FRAMES * redundancy)  # book 0 of sent frames, newest first
        self._seq = 0
        self._dial = dial

    def push(self, codes: Codes) -> Iterator[bytes]:
        """The packets that ``codes`` [n, books of the model] complete."""
        for frame in codes:
            self._gathered.append(frame)
            if len(self._gathered) >= self._frames_per_packet:
                yield self._packet(end_of_talk=False)

    @property
    def seq(self) -> int:
        """The number of the next frame that is pushed, 0 ... 65535."""
        return self._seq + len(self._gathered) & 0xFFFF

    @property
    def frames_per_packet(self) -> int:
        """Of the packets that are not complete yet. Setting it raises ValueError: out of range."""
        return self._frames_per_packet

    @frames_per_packet.setter
    def frames_per_packet(self, frames: int) -> None:
        if not 1 <= frames <= MAX_FRAMES:
            raise ValueError(f"frames per packet must be 1 to {MAX_FRAMES}, not {frames}")
        self._frames_per_packet = frames

    def skip(self, n_frames: int) -> None:
        """Number ``n_frames`` that are not sent, as nobody spoke. Raises ValueError: a talk is not finished."""
        if self._gathered or self._past:
            raise ValueError("frames can be skipped between talks only")
        self._seq = self._seq + n_frames & 0xFFFF

    def leave_out(self, n_frames: int) -> Iterator[bytes]:
        """Number ``n_frames`` that were lost before they came here, within a talk: gives what is gathered, if anything is."""
        if self._gathered:
            yield self._packet(end_of_talk=False)
        self._past.clear()  # what a packet repeats stands right before it
        self._seq = self._seq + n_frames & 0xFFFF

    def finish(self) -> bytes:
        """The last packet: whatever is gathered, perhaps nothing, and the word that the talk is over."""
        packed = self._packet(end_of_talk=True)
        self._past.clear()
        return packed

    def restart(self) -> int:
        """Forget what is gathered and what was sent: it was cancelled, and nothing of it may be repeated.

        Returns how many frames were gathered. They had no numbers yet, so that none is missing afterwards.
        """
        forgotten = len(self._gathered)
        self._gathered.clear()
        self._past.clear()
        return forgotten

    def _packet(self, end_of_talk: bool) -> bytes:
        frames = len(self._gathered)
        codes = np.array(self._gathered, np.uint16).reshape(frames, self._descriptor.books)[:, : self._dial.books]
        reach = min(self._redundancy, len(self._past) // frames) * frames if frames else 0
        past = np.array(list(self._past)[:reach] if reach else [], np.uint16)
        packet = CodePacket(self._preset, self._seq, codes, past, end_of_talk)
        self._past.extendleft(codes[:, 0].tolist())
        self._seq = self._seq + frames & 0xFFFF
        self._gathered.clear()
        return pack(packet, self._descriptor.bits_per_code)
