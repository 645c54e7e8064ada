"""Reblock, trim, dial and packer, generation, loss, pacing, errors: each small, each with its own promise."""

import asyncio
import re
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream import errors
from sottovoce.stream.align import Trim
from sottovoce.stream.engine import ECHO
from sottovoce.stream.errors import SottovoceError
from sottovoce.stream.frames import MEL_FLOOR, Frame, Pcm, Reblock
from sottovoce.stream.generation import Generation
from sottovoce.stream.loss import GilbertLoss
from sottovoce.stream.pacing import Pacer, paced
from sottovoce.stream.packer import Dial, Packer
from sottovoce.stream.packet import unpack
from sottovoce.stream.stages import fade
from support import virtual_time


@given(st.integers(1, 50), st.lists(st.integers(0, 120), max_size=20))
def test_blocks_of_any_size_become_frames_of_one(frame_samples: int, sizes: list[int]) -> None:
    reblock = Reblock(frame_samples)
    pcm = np.arange(sum(sizes), dtype=np.float32)
    block_of = np.split(pcm, np.cumsum(sizes)[:-1]) if sizes else []
    frames = [frame for block in block_of for frame in reblock.push(block)]
    assert all(len(frame) == frame_samples for frame in frames)
    whole = len(pcm) // frame_samples * frame_samples
    assert np.array_equal(np.concatenate([pcm[:0], *frames]), pcm[:whole])
    assert reblock.pending == len(pcm) - whole


def test_a_frame_does_not_share_memory_with_its_block() -> None:
    block = np.ones(4, np.float32)
    (frame,) = Reblock(4).push(block)
    block[:] = 0
    assert frame.sum() == 4
    with pytest.raises(ValueError):
        Reblock(0)


def test_a_frame_carries_on_what_it_was() -> None:
    frame = Frame(np.zeros(3, np.float32), seq=4, generation=2, born_s=1.5)
    other = frame.carrying(np.ones(1, np.int16), books=8)
    assert (other.seq, other.generation, other.born_s, other.books) == (4, 2, 1.5, 8)
    assert other.data.dtype == np.int16


@given(st.integers(0, 40), st.integers(1, 30), st.integers(0, 100), st.lists(st.integers(0, 60), max_size=9))
def test_trim_gives_the_original_back(delay: int, frame: int, n_samples: int, cuts: list[int]) -> None:
    original = np.arange(1, n_samples + 1, dtype=np.float32)
    n_frames = -(-(n_samples + delay) // frame)
    decoded = np.zeros(n_frames * frame, np.float32)
    decoded[delay : delay + n_samples] = original
    pieces = np.split(decoded, sorted(min(cut, len(decoded)) for cut in cuts))
    trim = Trim(delay, frame)
    given_ = [trim.push(piece) for piece in pieces]
    assert np.array_equal(np.concatenate([*given_, trim.finish(n_samples)]), original)
    assert len(trim.finish(n_samples)) == 0


def test_trim_gives_no_sample_too_many() -> None:
    trim = Trim(0, 4)
    assert len(trim.push(np.ones(100, np.float32))) == 96
    with pytest.raises(ValueError, match="96 samples of 10"):
        trim.finish(10)
    assert len(trim.finish(96)) == 0


def test_trim_without_an_end_gives_what_there_is() -> None:
    trim = Trim(3, 4)
    first = trim.push(np.arange(10, dtype=np.float32))
    assert list(first) == [3, 4, 5]
    assert list(trim.finish(None)) == [6, 7, 8, 9]


def test_the_dial_stops_at_its_ends() -> None:
    dial = Dial(8)
    assert dial.books == 8
    for turned, stops in ((9, 8), (0, 1), (-5, 1), (3, 3)):
        dial.books = turned
        assert dial.books == stops
    for books in (0, 9):
        with pytest.raises(ValueError):
            Dial(8, books)
    with pytest.raises(ValueError):
        Packer(ECHO, Dial(9))


def test_redundancy_holds_the_newest_codes_first_and_nothing_of_what_was_cancelled() -> None:
    packer = Packer(ECHO, Dial(ECHO.books), frames_per_packet=2, redundancy=2)
    codes = np.arange(16, dtype=np.int16)[:, None].repeat(ECHO.books, axis=1)
    packets = [unpack(packed, ECHO.bits_per_code) for packed in packer.push(codes[:8])]
    assert [list(p.redundant) for p in packets] == [[], [1, 0], [3, 2, 1, 0], [5, 4, 3, 2]]
    list(packer.push(codes[8:9]))
    assert packer.restart() == 1
    assert packer.restart() == 0
    (packed,) = packer.push(codes[9:11])
    packet = unpack(packed, ECHO.bits_per_code)
    assert (packet.seq, list(packet.codes[:, 0]), list(packet.redundant)) == (8, [9, 10], [])
    list(packer.push(codes[11:12]))
    last = unpack(packer.finish(), ECHO.bits_per_code)
    assert (last.end_of_talk, last.seq, len(last.codes)) == (True, 10, 1)
    assert list(last.redundant) == [10, 9]
    (packed,) = packer.push(codes[12:14])
    next_talk = unpack(packed, ECHO.bits_per_code)
    assert (next_talk.seq, list(next_talk.redundant)) == (11, [])


def test_a_cancelled_generation_is_stale() -> None:
    generation = Generation()
    assert not generation.is_stale(generation.current)
    old = generation.current
    assert generation.cancel() == generation.current == old + 1
    assert generation.is_stale(old)
    assert not generation.is_stale(generation.current)


@pytest.mark.parametrize(("rate", "burst"), [(0.05, 3.0), (0.2, 1.5), (0.5, 4.0), (0.9, None)])
def test_losses_have_the_rate_and_the_bursts_asked_for(rate: float, burst: float | None) -> None:
    loss = GilbertLoss(rate, burst, seed=1)
    lost = np.array([loss.lost() for _ in range(100_000)])
    runs = int((lost[1:] & ~lost[:-1]).sum())
    assert lost.mean() == pytest.approx(rate, rel=0.06)
    assert lost.sum() / runs == pytest.approx(burst or 9.0, rel=0.06)


def test_losses_repeat_with_their_seed_and_have_ends() -> None:
    def some(seed: int) -> list[bool]:
        loss = GilbertLoss(0.3, seed=seed)
        return [loss.lost() for _ in range(100)]

    assert some(1) == some(1) != some(2)
    assert not any(GilbertLoss(0).lost() for _ in range(100))
    everything = GilbertLoss(1)
    assert all(everything.lost() for _ in range(100))
    for rate, burst in ((-0.1, None), (1.1, None), (float("nan"), None), (0.5, 0.5), (0.9, 3.0)):
        with pytest.raises(ValueError):
            GilbertLoss(rate, burst)


def test_sound_is_paced_at_its_rate_and_catches_up_after_a_delay() -> None:
    pacer = Pacer(100)
    assert pacer.wait_s(10, 5.0) == pytest.approx(0.1)
    assert pacer.wait_s(10, 5.15) == pytest.approx(0.05)
    assert pacer.wait_s(10, 9.0) == 0

    async def main() -> None:
        async def source() -> AsyncIterator[Pcm]:
            yield np.zeros(250, np.float32)
            yield np.zeros(30, np.float32)

        came = []
        async for block in paced(source(), 1000, 100, asyncio.get_running_loop().time):
            came.append((len(block), round(virtual_time.now_s(), 6)))
        assert came == [(100, 0.1), (100, 0.2), (50, 0.25), (30, 0.28)]

    virtual_time.run(main())


def test_fading_is_a_slope_down_to_the_floor() -> None:
    mel = np.zeros((4, 2), np.float32)
    db = fade(mel, 0.0, 8.0) * 20 / np.log(10)
    assert np.allclose(db[:, 0], [-2, -4, -6, -8], atol=1e-4)
    assert fade(mel, 200.0, 200.0).max() == np.float32(MEL_FLOOR)


def test_every_error_has_an_exit_code_and_stands_in_the_tree() -> None:
    exceptions = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert all(issubclass(kind, SottovoceError) for kind in exceptions)
    told = re.findall(r"^ *\* (\w+) +exit (\d+)", errors.__doc__ or "", re.MULTILINE)
    assert dict(told) == {kind.__name__: str(kind.exit_code) for kind in exceptions}
    assert len(told) == len(exceptions)
    assert all(1 <= kind.exit_code < 64 for kind in exceptions)
