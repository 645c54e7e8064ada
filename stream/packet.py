"""The code packet that WebSocket, MQTT and files share (PROTOCOL.md, section 1): bytes in, bytes out.

A little-endian header of five bytes, then the codes as bits, most significant first, padded with zeros to a
byte. A packet decodes on its own; it does not know the model: the descriptor says how wide a code is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import PacketError

VERSION = 0
PRESET_IDS = {"base": 0, "micro": 1, "tiny": 14, "echo": 15}
"""The preset nibble. ``tiny`` and ``echo`` are for tests and never leave a machine."""
MAX_FRAMES = 255
MAX_BOOKS = 15
MAX_REDUNDANCY = 7

_HEADER = struct.Struct("<BBHB")
HEADER_BYTES = _HEADER.size
_NOTHING = np.zeros(0, np.uint16)


@dataclass(frozen=True, slots=True, eq=False)
class CodePacket:
    """Some frames of codes, and perhaps the coarsest codes of the frames just before."""

    preset_id: int
    seq: int
    "Sequence number of the first frame, 0 ... 65535, wrapping."
    codes: NDArray[np.uint16]
    "[frames, books]; no frames only in a packet that ends the talk."
    redundant: NDArray[np.uint16] = field(default_factory=lambda: _NOTHING)
    "[redundancy * frames] book-0 codes of the frames before ``seq``, newest first."
    end_of_talk: bool = False
    "Nothing follows for now: a gap after this packet is silence, not loss."

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, CodePacket)
            and (self.preset_id, self.seq, self.end_of_talk) == (other.preset_id, other.seq, other.end_of_talk)
            and np.array_equal(self.codes, other.codes)
            and np.array_equal(self.redundant, other.redundant)
        )

    @property
    def redundancy(self) -> int:
        """How many packets back ``redundant`` reaches."""
        return len(self.redundant) // len(self.codes) if len(self.codes) else 0


def preset_id(preset: str) -> int:
    """The nibble of a preset's name. Raises PacketError: it has none."""
    try:
        return PRESET_IDS[preset]
    except KeyError:
        raise PacketError(f"preset {preset!r} has no number in code packets") from None


def pack(packet: CodePacket, book_bits: int) -> bytes:
    """The packet's bytes, codes ``book_bits`` wide.

    Raises:
        PacketError: a field does not fit into its bits.
    """
    codes, redundant = packet.codes, packet.redundant
    if codes.ndim != 2 or redundant.ndim != 1:
        raise PacketError(f"codes must be [frames, books] and redundant [n], not {codes.shape}, {redundant.shape}")
    (frames, books), redundancy = codes.shape, packet.redundancy
    _check_header(packet.preset_id, frames, books, redundancy, packet.end_of_talk)
    if len(redundant) != redundancy * frames:
        raise PacketError(f"{len(redundant)} redundant codes do not fill packets of {frames} frames")
    if not 0 <= packet.seq <= 0xFFFF:
        raise PacketError(f"sequence number {packet.seq} is not in 0 ... 65535")
    flat = [*codes.reshape(-1).tolist(), *redundant.tolist()]
    if flat and (min(flat) < 0 or max(flat) >> book_bits):
        raise PacketError(f"a code does not fit into {book_bits} bits")
    header = _HEADER.pack(
        VERSION << 4 | packet.preset_id,
        books << 4 | redundancy << 1 | packet.end_of_talk,
        packet.seq,
        frames,
    )
    return header + b"".join(_joined(flat[at : at + 8], book_bits) for at in range(0, len(flat), 8))


def shape(packed: bytes) -> tuple[int, int]:
    """Frames and books that the header of a packet tells. Raises PacketError: there is no header."""
    _, second, _, frames = _header(packed)
    return frames, second >> 4


def unpack(packed: bytes, book_bits: int) -> CodePacket:
    """The packet in ``packed``, which must hold exactly one.

    Raises:
        PacketError: another version, impossible fields, too few or too many bytes, padding that is not zero.
    """
    first, second, seq, frames = _header(packed)
    version, preset = first >> 4, first & 15
    books, redundancy, end_of_talk = second >> 4, second >> 1 & 7, bool(second & 1)
    if version != VERSION:
        raise PacketError(f"code packet of version {version}, only {VERSION} is known; update sottovoce")
    _check_header(preset, frames, books, redundancy, end_of_talk)
    n_codes = frames * (books + redundancy)
    wanted = _HEADER.size + (n_codes * book_bits + 7) // 8
    if len(packed) != wanted:
        raise PacketError(f"a code packet of {frames} frames and {books} books has {wanted} bytes, not {len(packed)}")
    if n_codes and packed[-1] & (1 << -n_codes * book_bits % 8) - 1:
        raise PacketError("the padding of a code packet is not zero")
    groups = range(_HEADER.size, len(packed), book_bits)
    codes = [code for at in groups for code in _parted(packed[at : at + book_bits], book_bits)]
    flat = np.array(codes[:n_codes], np.uint16)
    return CodePacket(
        preset_id=preset,
        seq=seq,
        codes=flat[: frames * books].reshape(frames, books),
        redundant=flat[frames * books :],
        end_of_talk=end_of_talk,
    )


def _joined(codes: list[int], book_bits: int) -> bytes:
    """Up to eight codes as bits: eight of them fill as many bytes as one has bits. For single frames numpy takes longer."""
    bits = 0
    for code in codes:
        bits = bits << book_bits | code
    n_bits = len(codes) * book_bits
    return (bits << -n_bits % 8).to_bytes((n_bits + 7) // 8, "big")


def _parted(group: bytes, book_bits: int) -> list[int]:
    """The codes that begin in up to ``book_bits`` bytes, and perhaps one of padding."""
    n_codes = 8 * len(group) // book_bits
    bits = int.from_bytes(group, "big") >> 8 * len(group) - n_codes * book_bits
    return [bits >> book_bits * (n_codes - 1 - i) & (1 << book_bits) - 1 for i in range(n_codes)]


def _header(packed: bytes) -> tuple[int, int, int, int]:
    if len(packed) < _HEADER.size:
        raise PacketError(f"a code packet has at least {_HEADER.size} bytes, not {len(packed)}")
    first, second, seq, frames = _HEADER.unpack_from(packed)
    return first, second, seq, frames


def _check_header(preset: int, frames: int, books: int, redundancy: int, end_of_talk: bool) -> None:
    if not 0 <= preset <= 15:
        raise PacketError(f"preset number {preset} is not in 0 ... 15")
    if not 1 <= books <= MAX_BOOKS:
        raise PacketError(f"a code packet has 1 to {MAX_BOOKS} books, not {books}")
    if not 0 <= frames <= MAX_FRAMES:
        raise PacketError(f"a code packet has at most {MAX_FRAMES} frames, not {frames}")
    if not 0 <= redundancy <= MAX_REDUNDANCY:
        raise PacketError(f"redundancy reaches at most {MAX_REDUNDANCY} packets back, not {redundancy}")
    if frames == 0 and not (end_of_talk and redundancy == 0):
        raise PacketError("a code packet without frames must end the talk and repeat nothing")
