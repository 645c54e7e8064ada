"""The ``.sv`` file: a descriptor, then code packets, then the length of the original (PROTOCOL.md, 5).

Written and read in one pass, so both ends may be pipes. A file that was cut off still gives every packet that
is whole. Reading is sans I/O: whoever has bytes feeds them, in pieces of any size.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from .conceal import Conceal
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


class CodeParser:
    """Takes one ``.sv`` stream apart. Holds what it was fed last and no more than one packet beside it."""

    def __init__(self, name: str = "the code file") -> None:
        """``name`` is what to call the file in messages."""
        self.descriptor: Descriptor | None = None
        "None until the header has come."
        self.n_samples: int | None = None
        "Length of the original; None until the end has come, and for ever in a truncated file."
        self.truncated = False
        "Whether the file ended early; known once it was closed."
        self.n_packets = 0
        "Packets given so far."
        self._name = name
        self._bytes = bytearray()  # not yet understood
        self._offset = 0  # where in the file they begin
        self._receiver: Conceal | None = None  # counts the frames that a decoder will make of the packets
        self._n_frames = 0
        self._failure: CodeFileError | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that ``data`` completes, still packed, each checked to unpack.

        Whatever comes behind the end of the stream is ignored. However the file is cut into pieces, the packets
        before some damage are given first, and then every call raises.

        Raises:
            CodeFileError: no ``.sv`` file, or a damaged one.
        """
        if self._failure is not None:
            raise self._failure
        if self.n_samples is not None:
            return []
        self._bytes += data
        packets: list[bytes] = []
        try:
            while self.n_samples is None and (packet := self._next_packet(self.descriptor or self._header())):
                packets.append(packet)
        except CodeFileError as error:
            self._failure = error
            if not packets:
                raise
        self.n_packets += len(packets)
        return packets

    def close(self) -> None:
        """The file is over. Raises CodeFileError: it is damaged, or was cut off before the first packet."""
        if self._failure is not None:
            raise self._failure
        if self.descriptor is None:
            raise CodeFileError(
                f"{self._name} ends inside its header; make it again"
                if self._bytes
                else f"{self._name} is empty; make it with 'sottovoce encode'"
            )
        self.truncated = self.n_samples is None

    def _header(self) -> Descriptor | None:
        """The descriptor; None as long as it is not whole."""
        if not self._bytes.startswith(MAGIC[: len(self._bytes)]):
            raise CodeFileError(f"{self._name} is not a .sv file; make one with 'sottovoce encode'")
        begin = len(MAGIC) + _U32.size
        if len(self._bytes) < begin:
            return None
        (n_bytes,) = _U32.unpack_from(self._bytes, len(MAGIC))
        if n_bytes > MAX_DESCRIPTOR_BYTES:
            raise self._damage(len(MAGIC), f"its descriptor claims {n_bytes} bytes")
        if len(self._bytes) < begin + n_bytes:
            return None
        try:
            descriptor = Descriptor.from_json(self._taken(begin + n_bytes)[begin:])
            preset_id(descriptor.preset)
        except (ValueError, PacketError) as error:
            raise self._damage(begin, str(error)) from error
        self.descriptor = descriptor
        self._receiver = Conceal(descriptor.books, descriptor.frame_ms)
        return descriptor

    def _next_packet(self, descriptor: Descriptor | None) -> bytes | None:
        """None: it is not whole, or the end has come."""
        if descriptor is None or len(self._bytes) < _U16.size:
            return None
        (n_bytes,) = _U16.unpack_from(self._bytes)
        size = _U16.size + (n_bytes or _U64.size)
        if len(self._bytes) < size:
            return None
        at = self._offset
        record = self._taken(size)[_U16.size :]
        if n_bytes == 0:
            (n_samples,) = _U64.unpack(record)
            self._check_length(descriptor, n_samples, at)
            self.n_samples = n_samples
            return None
        self._check_packet(descriptor, record, at)
        return record

    def _check_packet(self, descriptor: Descriptor, packed: bytes, at: int) -> None:
        try:
            packet = unpack(packed, descriptor.bits_per_code)
            if packet.preset_id != preset_id(descriptor.preset):
                raise PacketError(f"a packet of preset number {packet.preset_id}")
            if packet.codes.shape[1] > descriptor.books:
                raise PacketError(f"a packet of {packet.codes.shape[1]} books")
        except PacketError as error:
            raise self._damage(at, str(error)) from error
        assert self._receiver is not None
        self._n_frames += len(self._receiver.receive(packet))

    def _check_length(self, descriptor: Descriptor, n_samples: int, at: int) -> None:
        """Refuse an end that the packets before it do not lead to."""
        wanted = -(-(n_samples + descriptor.delay_samples) // descriptor.frame_samples) if n_samples else 0
        if self._n_frames != wanted:
            raise self._damage(at, f"{self._n_frames} frames are not {n_samples} samples")

    def _taken(self, n_bytes: int) -> bytes:
        taken = bytes(self._bytes[:n_bytes])
        del self._bytes[:n_bytes]
        self._offset += n_bytes
        return taken

    def _damage(self, at: int, what: str) -> CodeFileError:
        return CodeFileError(f"{self._name} is damaged at byte {at}: {what}; make it again")


def check_model(expected: Descriptor, found: Descriptor) -> None:
    """Raises ModelMismatch: codes of ``found`` do not decode with the model of ``expected``."""
    if (expected.preset, expected.model_hash) != (found.preset, found.model_hash):
        raise ModelMismatch(
            expected=expected.preset,
            expected_hash=expected.model_hash,
            found=found.preset,
            found_hash=found.model_hash,
        )
