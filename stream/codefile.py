"""The ``.sv`` file: a descriptor, then code packets, then the length of the original (PROTOCOL.md, 5).

Written and read in one pass, so both ends may be pipes. A file that was cut off still gives every packet that
is whole. Holds no more than one packet in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from .descriptor import Descriptor
from .errors import CodeFileError, ModelMismatch, PacketError
from .packet import preset_id, unpack

MAGIC = b"\x89SV1\r\n\x1a\n"
"""Eight bytes; the line ends show a file that was mangled as text."""
MAX_DESCRIPTOR_BYTES = 1 << 16

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class CodeWriter:
    """Writes one ``.sv`` stream. Does not close what it writes to."""

    def __init__(self, file: BinaryIO, descriptor: Descriptor) -> None:
        """Writes the header at once. OSError from ``file`` (a full disk, a closed pipe) passes through."""
        head = descriptor.to_json().encode()
        file.write(MAGIC + _U32.pack(len(head)) + head)
        self._file = file
        self._finished = False

    def append(self, packet: bytes) -> None:
        """Add one packed packet. Raises ValueError: after `finish`, or not 1 ... 65535 bytes."""
        if self._finished:
            raise ValueError("the code file is finished")
        if not 1 <= len(packet) <= 0xFFFF:
            raise ValueError(f"a packet has 1 to 65535 bytes, not {len(packet)}")
        self._file.write(_U16.pack(len(packet)) + packet)

    def finish(self, n_samples: int) -> None:
        """End the stream, without which it counts as truncated.

        ``n_samples`` is the length of the original at the descriptor's rate.
        """
        if self._finished:
            raise ValueError("the code file is finished")
        if n_samples < 0:
            raise ValueError(f"n_samples must not be negative, not {n_samples}")
        self._file.write(_U16.pack(0) + _U64.pack(n_samples))
        self._finished = True


class CodeReader:
    """Reads one ``.sv`` stream: the header at once, packets by iterating, nothing beyond its end."""

    def __init__(self, file: BinaryIO, expected: Descriptor | None = None, name: str = "the code file") -> None:
        """Reads the header.

        Args:
            file: open for reading bytes; need not be seekable.
            expected: the loaded model; None where the codes are only looked at.
            name: what to call the file in messages.

        Raises:
            CodeFileError: not a ``.sv`` file, or cut off before the first packet.
            ModelMismatch: made by another model than ``expected``.
        """
        self._file = file
        self._name = name
        self._offset = 0
        self._ended = False
        self.n_samples: int | None = None
        "Length of the original; None until the end was read, and for ever in a truncated file."
        self.truncated = False
        "Whether the file ended early; known once iterating has ended."
        self.n_packets = 0
        "Packets read so far."
        self.descriptor = self._read_descriptor()
        if expected is not None:
            check_model(expected, self.descriptor)

    def __iter__(self) -> Iterator[bytes]:
        """Every whole packet, still packed, each checked to unpack.

        Raises:
            CodeFileError: what stands there is no packet of this stream. Packets before it were given.
        """
        while not self._ended:
            packet = self._read_record()
            if packet is not None:
                self.n_packets += 1
                yield packet

    def _read_descriptor(self) -> Descriptor:
        magic = self._read(len(MAGIC))
        if magic != MAGIC:
            cut = bool(magic) and MAGIC.startswith(magic)
            raise CodeFileError(
                f"{self._name} "
                + (
                    "ends inside its header; make it again"
                    if cut
                    else "is empty; make it with 'sottovoce encode'"
                    if not magic
                    else "is not a .sv file; make one with 'sottovoce encode'"
                )
            )
        size = self._read(_U32.size)
        n_bytes = _U32.unpack(size)[0] if len(size) == _U32.size else 0
        if n_bytes > MAX_DESCRIPTOR_BYTES:
            raise CodeFileError(f"{self._name} is damaged: its descriptor claims {n_bytes} bytes; make it again")
        head = self._read(n_bytes)
        if len(size) < _U32.size or len(head) < n_bytes:
            raise CodeFileError(f"{self._name} ends inside its header; make it again")
        try:
            descriptor = Descriptor.from_json(head)
            preset_id(descriptor.preset)
        except (ValueError, PacketError) as error:
            raise CodeFileError(f"{self._name} is damaged: {error}; make it again") from error
        return descriptor

    def _read_record(self) -> bytes | None:
        """The next packet; None at the end, whichever kind of end it is."""
        at = self._offset
        size = self._read(_U16.size)
        if len(size) < _U16.size:
            self._cut_off()
            return None
        n_bytes = _U16.unpack(size)[0]
        if n_bytes == 0:
            tail = self._read(_U64.size)
            if len(tail) < _U64.size:
                self._cut_off()
                return None
            self.n_samples = _U64.unpack(tail)[0]
            self._ended = True
            return None
        packet = self._read(n_bytes)
        if len(packet) < n_bytes:
            self._cut_off()
            return None
        try:
            found = unpack(packet, self.descriptor.bits_per_code)
            if found.preset_id != preset_id(self.descriptor.preset):
                raise PacketError(f"a packet of preset number {found.preset_id}")
            if found.codes.shape[1] > self.descriptor.books:
                raise PacketError(f"a packet of {found.codes.shape[1]} books")
        except PacketError as error:
            self._ended = True
            raise CodeFileError(f"{self._name} is damaged at byte {at}: {error}; make it again") from error
        return packet

    def _cut_off(self) -> None:
        self.truncated = self._ended = True

    def _read(self, n_bytes: int) -> bytes:
        """Up to ``n_bytes``, fewer only at the end of the file: a pipe may give them in pieces."""
        parts = []
        missing = n_bytes
        while missing and (part := self._file.read(missing)):
            parts.append(part)
            missing -= len(part)
        self._offset += n_bytes - missing
        return b"".join(parts)


def check_model(expected: Descriptor, found: Descriptor) -> None:
    """Raises ModelMismatch: codes of ``found`` do not decode with the model of ``expected``."""
    if (expected.preset, expected.model_hash) != (found.preset, found.model_hash):
        raise ModelMismatch(
            expected=expected.preset,
            expected_hash=expected.model_hash,
            found=found.preset,
            found_hash=found.model_hash,
        )
