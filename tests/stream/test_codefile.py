"""The .sv file: everything comes back, of a damaged one what is whole, nothing foreign is taken."""

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.stream.codefile import MAGIC, CodeReader, CodeWriter
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.engine import ECHO
from sottovoce.stream.errors import CodeFileError, ModelMismatch
from sottovoce.stream.packet import CodePacket, pack

GOLDEN = Path(__file__).parent.parent / "golden" / "codefile.hex"


def packet(seq: int, frames: int = 1, books: int = 8) -> bytes:
    codes = np.arange(seq, seq + frames * books).reshape(frames, books) % ECHO.book_size
    return pack(CodePacket(15, seq, codes.astype(np.uint16)), ECHO.bits_per_code)


def written(packets: list[bytes], n_samples: int | None = 1000, descriptor: Descriptor = ECHO) -> bytes:
    file = io.BytesIO()
    writer = CodeWriter(file, descriptor)
    for one in packets:
        writer.append(one)
    if n_samples is not None:
        writer.finish(n_samples)
    return file.getvalue()


PACKETS = [packet(0), packet(1, frames=3), packet(4, books=2)]
WHOLE = written(PACKETS)
HEADER = len(written([], None))


@given(
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(1, 9), st.integers(1, 8)), max_size=9),
    st.integers(0, 2**64 - 1),
)
def test_a_file_comes_back(made: list[tuple[int, int, int]], n_samples: int) -> None:
    packets = [packet(*one) for one in made]
    reader = CodeReader(io.BytesIO(written(packets, n_samples)), ECHO)
    assert list(reader) == packets
    assert (reader.descriptor, reader.n_samples, reader.truncated) == (ECHO, n_samples, False)


def test_cut_at_every_byte_it_gives_what_is_whole() -> None:
    for length in range(len(WHOLE)):
        cut = io.BytesIO(WHOLE[:length])
        if length < HEADER:
            with pytest.raises(CodeFileError, match="empty" if not length else "ends inside its header"):
                CodeReader(cut)
            continue
        reader = CodeReader(cut, ECHO)
        got = list(reader)
        assert got == PACKETS[: len(got)]
        assert reader.truncated
        assert reader.n_samples is None
        assert HEADER + sum(2 + len(one) for one in PACKETS[: len(got) + 1]) > length or got == PACKETS


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_an_error_of_ours_or_other_codes(at: int, flip: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] ^= flip
    said = ""
    try:
        list(CodeReader(io.BytesIO(bytes(damaged)), ECHO))
    except CodeFileError as error:
        said = str(error)
    assert "\n" not in said


@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_refused_in_one_line(noise: bytes, with_magic: bool) -> None:
    with pytest.raises(CodeFileError) as caught:
        list(CodeReader(io.BytesIO((MAGIC if with_magic else b"RIFF") + noise)))
    assert "\n" not in str(caught.value)


def test_a_foreign_file_is_named() -> None:
    with pytest.raises(CodeFileError, match=r"a\.wav is not a \.sv file"):
        CodeReader(io.BytesIO(b"RIFF....WAVEfmt "), name="a.wav")


def test_another_model_is_refused_with_both_hashes() -> None:
    other = replace(ECHO, model_hash="ffffffffffff")
    with pytest.raises(ModelMismatch, match=r"ffffffffffff.*000000000000") as caught:
        CodeReader(io.BytesIO(written(PACKETS, descriptor=other)), ECHO)
    assert caught.value.exit_code == 4
    assert CodeReader(io.BytesIO(written(PACKETS, descriptor=other))).descriptor == other  # to look at


def test_a_packet_of_another_stream_is_damage() -> None:
    foreign = pack(CodePacket(0, 0, np.zeros((1, 1), np.uint16)), ECHO.bits_per_code)
    reader = CodeReader(io.BytesIO(written([PACKETS[0], foreign])))
    packets = iter(reader)
    assert next(packets) == PACKETS[0]
    with pytest.raises(CodeFileError, match="damaged at byte"):
        next(packets)
    assert list(reader) == []


def test_a_huge_claim_is_not_believed() -> None:
    with pytest.raises(CodeFileError, match="claims"):
        CodeReader(io.BytesIO(MAGIC + b"\xff\xff\xff\xff"))


def test_pipes_will_do() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb", buffering=0) as file:
        file.write(WHOLE)
        file.write(b"something else that follows in the pipe")
    with os.fdopen(read, "rb", buffering=0) as file:
        assert list(CodeReader(file, ECHO)) == PACKETS
        assert file.read(9) == b"something"


class Dripping(io.RawIOBase):
    """A pipe that gives one byte at a time."""

    def __init__(self, content: bytes) -> None:
        self.content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self.content.read(1)


def test_a_slow_pipe_is_not_a_truncated_file() -> None:
    reader = CodeReader(Dripping(WHOLE), ECHO)  # type: ignore[arg-type]
    assert list(reader) == PACKETS
    assert not reader.truncated


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
