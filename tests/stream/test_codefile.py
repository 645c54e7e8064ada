"""The .sv file: everything comes back, of a damaged one what is whole, nothing foreign is taken."""

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.stream.codefile import MAGIC, CodeParser, CodeWriter, check_model
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.engine import ECHO
from sottovoce.stream.errors import CodeFileError, ModelMismatch
from sottovoce.stream.packet import CodePacket, pack

GOLDEN = Path(__file__).parent.parent / "golden" / "codefile.hex"


def packet(seq: int, frames: int = 1, books: int = 8) -> bytes:
    codes = np.arange(seq, seq + frames * books).reshape(frames, books) % ECHO.book_size
    return pack(CodePacket(15, seq, codes.astype(np.uint16)), ECHO.bits_per_code)


def written(packets: list[bytes], n_samples: int | None = 2000, descriptor: Descriptor = ECHO) -> bytes:
    file = io.BytesIO()
    writer = CodeWriter(file, descriptor)
    for one in packets:
        writer.append(one)
    if n_samples is not None:
        writer.finish(n_samples)
    return file.getvalue()


def parsed(data: bytes, *cuts: int, name: str = "the code file") -> tuple[list[bytes], CodeParser]:
    """The packets in ``data``, fed in pieces; raises what `CodeParser` does."""
    parser, packets = CodeParser(name), []
    for begin, end in pairwise([0, *sorted(cuts), len(data)]):
        packets += parser.feed(data[begin:end])
    parser.close()
    return packets, parser


PACKETS = [packet(0), packet(1, frames=3), packet(4, books=2)]
WHOLE = written(PACKETS)
HEADER = len(written([], None))
CUTS = st.lists(st.integers(0, len(WHOLE)), max_size=20)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 8)), max_size=9), st.integers(0, 0xFFFF), st.data())
def test_a_file_comes_back(made: list[tuple[int, int]], first: int, data: st.DataObject) -> None:
    numbers = np.cumsum([first, *(frames for frames, _ in made)])
    packets = [packet(int(seq) & 0xFFFF, *one) for seq, one in zip(numbers[:-1], made, strict=True)]
    most = int(numbers[-1] - first) * ECHO.frame_samples - ECHO.delay_samples
    n_samples = data.draw(st.integers(max(most - ECHO.frame_samples + 1, 1), most)) if made else 0
    got, parser = parsed(written(packets, n_samples), *data.draw(CUTS))
    assert got == packets
    assert (parser.descriptor, parser.n_samples, parser.truncated) == (ECHO, n_samples, False)
    assert parser.n_packets == len(packets)


@given(CUTS)
def test_however_it_is_cut_into_pieces_each_packet_comes_once_it_is_whole(cuts: list[int]) -> None:
    parser, got = CodeParser(), []
    ends = list(HEADER + np.cumsum([2 + len(one) for one in PACKETS]))
    for begin, end in pairwise([0, *sorted(cuts), len(WHOLE)]):
        got += parser.feed(WHOLE[begin:end])
        assert got == PACKETS[: sum(one <= end for one in ends)]
        assert (parser.descriptor is not None) == (end >= HEADER)
        assert (parser.n_samples is not None) == (end == len(WHOLE))


def test_what_follows_the_end_is_ignored() -> None:
    got, parser = parsed(WHOLE + b"something else that follows in the pipe", len(WHOLE) + 3)
    assert got == PACKETS
    assert parser.feed(WHOLE) == []


def test_cut_at_every_byte_it_gives_what_is_whole() -> None:
    for length in range(len(WHOLE)):
        if length < HEADER:
            with pytest.raises(CodeFileError, match="empty" if not length else "ends inside its header"):
                parsed(WHOLE[:length])
            continue
        got, parser = parsed(WHOLE[:length])
        assert got == PACKETS[: len(got)]
        assert parser.truncated
        assert parser.n_samples is None
        assert HEADER + sum(2 + len(one) for one in PACKETS[: len(got) + 1]) > length or got == PACKETS


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255), CUTS)
def test_a_damaged_byte_is_an_error_of_ours_or_other_codes(at: int, flip: int, cuts: list[int]) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] ^= flip
    said = []
    for pieces in ([], cuts):
        try:
            parsed(bytes(damaged), *pieces)
            said.append("")
        except CodeFileError as error:
            said.append(str(error))
    assert said[0] == said[1]
    assert said[0].isprintable()


@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_refused_in_one_line(noise: bytes, with_magic: bool) -> None:
    with pytest.raises(CodeFileError) as caught:
        parsed((MAGIC if with_magic else b"RIFF") + noise)
    assert "\n" not in str(caught.value)


def test_a_foreign_file_is_named_at_once() -> None:
    with pytest.raises(CodeFileError, match=r"a\.wav is not a \.sv file"):
        CodeParser("a.wav").feed(b"R")


def test_another_model_is_refused_with_both_hashes() -> None:
    other = replace(ECHO, model_hash="ffffffffffff")
    _, parser = parsed(written(PACKETS, descriptor=other))
    assert parser.descriptor == other
    with pytest.raises(ModelMismatch, match=r"ffffffffffff.*000000000000") as caught:
        check_model(ECHO, other)
    assert caught.value.exit_code == 4
    check_model(ECHO, ECHO)


def test_damage_comes_after_the_packets_before_it_and_stays() -> None:
    foreign = pack(CodePacket(0, 0, np.zeros((1, 1), np.uint16)), ECHO.bits_per_code)
    data = written([PACKETS[0], foreign, PACKETS[1]])
    parser = CodeParser()
    assert parser.feed(data) == [PACKETS[0]]
    for again in (lambda: parser.feed(b""), parser.close, lambda: parser.feed(WHOLE)):
        with pytest.raises(CodeFileError, match=f"damaged at byte {HEADER + 2 + len(PACKETS[0])}: .* preset number 0"):
            again()


@pytest.mark.parametrize(
    "n_samples", [0, 1, 4 * ECHO.frame_samples - ECHO.delay_samples, 5 * ECHO.frame_samples, 2**64 - 1]
)
def test_an_end_that_the_frames_do_not_lead_to_is_damage(n_samples: int) -> None:
    parser = CodeParser()
    assert parser.feed(written(PACKETS, n_samples)) == PACKETS
    with pytest.raises(CodeFileError, match=f"damaged at byte .*: 5 frames are not {n_samples} samples"):
        parser.close()
    assert parser.n_samples is None
    parsed(written(PACKETS, 5 * ECHO.frame_samples - ECHO.delay_samples))
    parsed(written(PACKETS, 4 * ECHO.frame_samples - ECHO.delay_samples + 1))


def test_a_gap_in_the_numbers_counts_as_the_frames_that_a_receiver_makes_up() -> None:
    packets = [packet(0), packet(4, books=2)]
    assert parsed(written(packets))[0] == packets


def test_a_huge_claim_is_not_believed() -> None:
    with pytest.raises(CodeFileError, match="claims"):
        CodeParser().feed(MAGIC + b"\xff\xff\xff\xff")


def test_a_finished_file_takes_no_more() -> None:
    writer = CodeWriter(io.BytesIO(), ECHO)
    with pytest.raises(ValueError):
        writer.append(b"")
    with pytest.raises(ValueError):
        writer.finish(-1)
    writer.finish(0)
    with pytest.raises(ValueError):
        writer.append(PACKETS[0])
    with pytest.raises(ValueError):
        writer.finish(0)


def test_golden_bytes_do_not_change() -> None:
    assert bytes.fromhex(GOLDEN.read_text()) == WHOLE
