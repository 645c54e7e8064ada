"""Lost, late and doubled packets: every frame is accounted for, in order, and long gaps fall silent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.conceal import SILENT_DB, Conceal, Missing, ReceivedFrame
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.packer import Dial, Packer
from sottovoce.stream.packet import CodePacket, unpack

MS = 40.0
BOOKS = 3
D = Descriptor("base", "0123456789ab", 24_000, 960, 4, 128, BOOKS, 1024, 0)


def packet(seq: int, *values: int, redundant: tuple[int, ...] = (), end: bool = False) -> CodePacket:
    """One frame for each value, all books alike."""
    codes = np.repeat(np.array(values, np.uint16)[:, None], BOOKS, axis=1)
    return CodePacket(0, seq & 0xFFFF, codes, np.array(redundant, np.uint16), end)


def heard(frames: list[ReceivedFrame]) -> list[tuple[int, int, bool]]:
    """(code of book 0, books, concealed) of each frame."""
    return [(int(frame.codes[0]), frame.books, frame.concealed) for frame in frames]


def test_a_whole_stream_passes_unchanged_over_the_wrap() -> None:
    conceal = Conceal(BOOKS, MS)
    for i in range(6):
        assert heard(conceal.receive(packet(0xFFFA + 2 * i, i, i + 10))) == [
            (i, 3, False),
            (i + 10, 3, False),
        ]
    assert conceal.statistics.received == 12
    assert conceal.statistics.concealed == 0


def test_a_gap_in_the_numbers_repeats_and_fades() -> None:
    conceal = Conceal(BOOKS, MS)
    conceal.receive(packet(0, 7))
    frames = conceal.receive(packet(7, 9))
    assert heard(frames) == [(7, 3, True)] * 6 + [(9, 3, False)]
    fade = [frame.attenuation_db for frame in frames]
    assert fade[0] < 10
    assert fade[:5] == sorted(fade[:5])
    assert fade[4:] == [SILENT_DB, SILENT_DB, 0.0]  # 200 ms


def test_a_notice_conceals_at_once_and_the_numbers_agree_later() -> None:
    conceal = Conceal(BOOKS, MS)
    conceal.receive(packet(0, 7))
    assert heard(conceal.missing(Missing(2))) == [(7, 3, True)] * 2
    assert heard(conceal.receive(packet(3, 9))) == [(9, 3, False)]
    assert (conceal.statistics.short_runs, conceal.statistics.long_runs) == (0, 1)
    conceal.missing(Missing(1))
    assert heard(conceal.receive(packet(5, 1))) == [(1, 3, False)]
    assert (conceal.statistics.short_runs, conceal.statistics.long_runs) == (1, 1)


def test_redundancy_repairs_what_it_covers() -> None:
    conceal = Conceal(BOOKS, MS, patience_frames=2)
    conceal.receive(packet(0, 7))
    assert conceal.missing(Missing(1)) == []
    assert conceal.missing(Missing(1)) == []
    assert heard(conceal.missing(Missing(1))) == [(7, 3, True)]  # more than patience
    frames = conceal.receive(packet(4, 9, redundant=(13,)))
    assert heard(frames) == [(7, 3, True), (13, 1, False), (9, 3, False)]
    assert list(frames[1].codes) == [13, -1, -1]
    assert conceal.statistics.repaired == 1
    assert conceal.statistics.concealed == 2


def test_held_back_frames_are_given_up_at_the_end() -> None:
    conceal = Conceal(BOOKS, MS, patience_frames=5)
    conceal.receive(packet(0, 7))
    conceal.missing(Missing(3))
    assert heard(conceal.finish()) == [(7, 3, True)] * 3
    assert conceal.statistics.long_runs == 1


def test_before_the_first_packet_there_is_silence() -> None:
    conceal = Conceal(BOOKS, MS)
    (frame,) = conceal.missing(Missing(1))
    assert list(frame.codes) == [-1] * BOOKS
    assert frame.books == 0
    assert frame.attenuation_db == SILENT_DB


def test_late_and_double_packets_are_thrown_away() -> None:
    conceal = Conceal(BOOKS, MS)
    conceal.receive(packet(0, 7))
    assert conceal.receive(packet(0, 7)) == []
    conceal.missing(Missing(1))
    assert conceal.receive(packet(1, 8)) == []
    assert heard(conceal.receive(packet(1, 8, 9))) == [(9, 3, False)]  # its second frame is news
    assert conceal.statistics.late == 3


def test_the_pause_after_a_talk_is_not_a_gap() -> None:
    conceal = Conceal(BOOKS, MS)
    conceal.receive(packet(0, 7, end=True))
    assert heard(conceal.receive(packet(40_000, 9))) == [(9, 3, False)]
    assert conceal.statistics.concealed == 0


@pytest.mark.parametrize("empty", [False, True])
def test_after_the_end_of_a_talk_doubles_and_latecomers_are_still_thrown_away(empty: bool) -> None:
    conceal = Conceal(BOOKS, MS)
    end = packet(6, end=True) if empty else packet(6, 8, end=True)
    conceal.receive(packet(5, 7))
    conceal.receive(end)
    for again in (end, packet(5, 7), packet(3, 1, 2), packet(0xFFF0, 1)):
        assert conceal.receive(again) == []
    assert conceal.statistics.late == (4 if empty else 5)
    n_sent = 6 if empty else 7
    assert heard(conceal.receive(packet(n_sent, 9))) == [(9, 3, False)]
    assert conceal.statistics.concealed == 0


def test_what_is_missing_after_the_end_of_a_talk_is_silence_and_takes_no_numbers() -> None:
    conceal = Conceal(BOOKS, MS, patience_frames=1)
    conceal.receive(packet(0, 7, end=True))
    frames = conceal.missing(Missing(100))
    assert heard(frames) == [(-1, 0, True)] * 99
    assert {frame.attenuation_db for frame in frames} == {SILENT_DB}
    assert heard(conceal.receive(packet(1, 9))) == [(-1, 0, True), (9, 3, False)]  # not late
    assert heard(conceal.receive(packet(2, 8))) == [(8, 3, False)]


def test_the_lost_beginning_of_the_next_talk_is_repaired() -> None:
    conceal = Conceal(BOOKS, MS, patience_frames=2)
    conceal.receive(packet(0, 7, end=True))
    assert conceal.missing(Missing(2)) == []
    assert heard(conceal.receive(packet(3, 9, redundant=(13, 12)))) == [(12, 1, False), (13, 1, False), (9, 3, False)]


def test_a_gap_that_the_end_of_a_talk_closes_is_a_run() -> None:
    conceal = Conceal(BOOKS, MS)
    conceal.receive(packet(0, 7))
    assert heard(conceal.receive(packet(1, end=True))) == []
    assert heard(conceal.receive(packet(1, 7))) == [(7, 3, False)]
    assert heard(conceal.receive(packet(3, end=True))) == [(7, 3, True)]
    conceal.missing(Missing(2))
    assert (conceal.statistics.short_runs, conceal.statistics.long_runs) == (1, 0)
    conceal.finish()
    assert (conceal.statistics.short_runs, conceal.statistics.long_runs) == (1, 1)


def test_a_restart_forgets_and_tells_how_much() -> None:
    conceal = Conceal(BOOKS, MS, patience_frames=3)
    conceal.receive(packet(10, 7))
    conceal.missing(Missing(5))
    assert conceal.pending == 3
    assert conceal.restart() == 3
    assert conceal.pending == 0
    assert conceal.statistics.long_runs == 1
    assert heard(conceal.receive(packet(4, 9))) == [(9, 3, False)]
    assert (conceal.statistics.late, conceal.statistics.restarts) == (0, 0)


def test_a_new_start_of_the_sender_repairs_nothing_of_the_old_gap() -> None:
    conceal = Conceal(BOOKS, MS, patience_frames=3)
    conceal.receive(packet(0, 7))
    conceal.missing(Missing(2))
    frames = conceal.receive(packet(1000, 9, redundant=(501, 500)))
    assert heard(frames) == [(7, 3, True), (7, 3, True), (9, 3, False)]
    assert (conceal.statistics.repaired, conceal.statistics.restarts) == (0, 1)


def test_a_jump_too_far_is_a_new_start() -> None:
    conceal = Conceal(BOOKS, MS)
    conceal.receive(packet(0, 7))
    for seq in (1000, 30_000, 5):
        assert heard(conceal.receive(packet(seq, 9))) == [(9, 3, False)]
    assert conceal.statistics.restarts == 3


def test_too_many_books_are_refused() -> None:
    with pytest.raises(ValueError):
        Conceal(2, MS).receive(packet(0, 1))


@given(
    lost=st.lists(st.booleans(), min_size=1, max_size=60),
    frames_per_packet=st.integers(1, 4),
    redundancy=st.integers(0, 3),
    notices=st.booleans(),
    books=st.integers(1, BOOKS),
)
def test_every_frame_is_accounted_for_in_its_place(
    lost: list[bool], frames_per_packet: int, redundancy: int, notices: bool, books: int
) -> None:
    sent = np.arange(len(lost) * frames_per_packet, dtype=np.int16).repeat(BOOKS).reshape(-1, BOOKS)
    packer = Packer(D, Dial(BOOKS, books), frames_per_packet, redundancy)
    conceal = Conceal(BOOKS, MS, redundancy * frames_per_packet if notices else 0)
    got: list[ReceivedFrame] = []
    for packed, gone in zip(packer.push(sent), lost, strict=True):
        found = unpack(packed, 10)
        assert found.codes.shape == (frames_per_packet, books)
        if not gone:
            got += conceal.receive(found)
        elif notices:
            got += conceal.missing(Missing(len(found.codes)))
    got += conceal.receive(unpack(packer.finish(), 10))
    got += conceal.finish()
    if not notices and lost[0]:  # nobody knows of packets before the first that comes
        first = lost.index(False) if False in lost else len(lost)
        sent = sent[first * frames_per_packet :]
    assert len(got) == len(sent)
    for was, frame in zip(sent, got, strict=True):
        if not frame.concealed:
            assert list(frame.codes) == [was[0]] * frame.books + [-1] * (BOOKS - frame.books)
            assert frame.attenuation_db == 0
    seen = conceal.statistics
    assert seen.received + seen.repaired + seen.concealed == len(got)
    if notices:
        for i, frame in enumerate(got):  # whatever one of the next packets could repair was repaired
            place = i // frames_per_packet
            if lost[place] and any(not x for x in lost[place + 1 : place + 1 + redundancy]):
                assert not frame.concealed
