"""Code packets: every packet comes back, golden bytes stay, nothing else is accepted."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.errors import PacketError
from sottovoce.stream.packet import CodePacket, pack, preset_id, shape, unpack

GOLDEN = Path(__file__).parent.parent / "golden"


@st.composite
def packets(draw: st.DrawFn) -> tuple[CodePacket, int]:
    bits = draw(st.integers(1, 15))
    frames = draw(st.integers(0, 20))
    books = draw(st.integers(1, 15))
    redundancy = draw(st.integers(0, 7)) if frames else 0
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    packet = CodePacket(
        preset_id=draw(st.integers(0, 15)),
        seq=draw(st.integers(0, 0xFFFF)),
        codes=random.integers(0, 1 << bits, (frames, books)).astype(np.uint16),
        redundant=random.integers(0, 1 << bits, frames * redundancy).astype(np.uint16),
        end_of_talk=draw(st.booleans()) or frames == 0,
    )
    return packet, bits


@given(packets())
def test_a_packet_comes_back(made: tuple[CodePacket, int]) -> None:
    packet, bits = made
    packed = pack(packet, bits)
    assert unpack(packed, bits) == packet
    assert shape(packed) == packet.codes.shape
    n_codes = packet.codes.size + packet.redundant.size
    assert len(packed) == 5 + (n_codes * bits + 7) // 8


@given(packets(), st.data())
def test_a_packet_cut_or_lengthened_anywhere_is_refused(made: tuple[CodePacket, int], data: st.DataObject) -> None:
    packet, bits = made
    packed = pack(packet, bits)
    with pytest.raises(PacketError):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))], bits)
    with pytest.raises(PacketError):
        unpack(packed + b"\0", bits)


@given(st.binary(max_size=64), st.integers(1, 15))
def test_random_bytes_are_refused_or_are_a_packet(noise: bytes, bits: int) -> None:
    try:
        packet = unpack(noise, bits)
    except PacketError:
        return
    assert pack(packet, bits) == noise


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=20))
def test_headers_with_any_fields_are_refused_or_are_a_packet(a: int, b: int, frames: int, body: bytes) -> None:
    packed = bytes([a, b, 1, 0, frames]) + body
    try:
        packet = unpack(packed, 7)
    except PacketError:
        return
    assert pack(packet, 7) == packed


def golden_packets() -> dict[str, tuple[CodePacket, int]]:
    u16 = np.uint16
    return {
        "packet_base_one_frame": (
            CodePacket(0, 0x1234, np.array([[0, 1, 2, 1023, 512, 5, 6, 7]], u16)),
            10,
        ),
        "packet_micro_redundant": (
            CodePacket(1, 0xFFFF, np.array([[1, 2], [127, 64]], u16), np.array([9, 8, 7, 6], u16), True),
            7,
        ),
        "packet_end_of_talk": (CodePacket(0, 7, np.zeros((0, 3), u16), end_of_talk=True), 10),
    }


@pytest.mark.parametrize("name", golden_packets())
def test_golden_bytes_do_not_change(name: str) -> None:
    packet, bits = golden_packets()[name]
    golden = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    assert pack(packet, bits) == golden
    assert unpack(golden, bits) == packet


def test_bits_stand_as_the_protocol_says() -> None:
    packed = pack(CodePacket(1, 0x0102, np.array([[0b1000001, 0b0111110]], np.uint16), end_of_talk=True), 7)
    assert packed == bytes([0x01, 0x21, 0x02, 0x01, 1, 0b10000010, 0b11111000])


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (CodePacket(0, 0, np.full((1, 1), 1024, np.uint16)), "10 bits"),
        (CodePacket(0, 0, np.zeros((1, 16), np.uint16)), "15 books"),
        (CodePacket(0, 0, np.zeros((256, 1), np.uint16)), "255 frames"),
        (CodePacket(0, 0x10000, np.zeros((1, 1), np.uint16)), "65535"),
        (CodePacket(0, 0, np.zeros((1, 1), np.uint16), np.zeros(8, np.uint16)), "7 packets"),
        (CodePacket(0, 0, np.zeros((2, 1), np.uint16), np.zeros(3, np.uint16)), "do not fill"),
        (CodePacket(0, 0, np.zeros((0, 1), np.uint16)), "must end the talk"),
        (CodePacket(16, 0, np.zeros((1, 1), np.uint16)), "preset"),
        (CodePacket(0, 0, np.zeros(1, np.uint16)), r"\[frames, books\]"),
    ],
)
def test_what_does_not_fit_is_not_packed(packet: CodePacket, says: str) -> None:
    with pytest.raises(PacketError, match=says):
        pack(packet, 10)


def test_another_version_is_named() -> None:
    with pytest.raises(PacketError, match="version 1"):
        unpack(bytes([0x10, 0x10, 0, 0, 1, 0, 0]), 10)


def test_padding_must_be_zero() -> None:
    with pytest.raises(PacketError, match="padding"):
        unpack(bytes([0, 0x10, 0, 0, 1, 0, 1]), 10)


def test_presets_have_numbers() -> None:
    assert (preset_id("base"), preset_id("micro")) == (0, 1)
    with pytest.raises(PacketError, match="no number"):
        preset_id("nonsense")
