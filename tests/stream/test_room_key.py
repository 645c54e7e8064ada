"""Sealed rooms: what was sealed comes back once, whatever else comes is counted and not looked at."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.budget import SEAL_BYTES as BUDGETED_BYTES
from sottovoce.stream.errors import RoomKeyError
from sottovoce.stream.replay import WINDOW, ReplayWindow
from sottovoce.stream.room_key import LONG_SEAL_BYTES, SEAL_BYTES, Opener, RoomKey, Sealer
from sottovoce.stream.room_transport import SLOTS, Slot, is_name

GOLDEN = Path(__file__).parent.parent / "golden" / "rooms"
KEY = RoomKey(bytes(range(32)))
ROOM, ANNA = KEY.room_level("kitchen"), KEY.peer_level("kitchen", "anna")


def salt(n_bytes: int) -> bytes:
    return bytes(range(100, 100 + n_bytes))


def pair(key: RoomKey = KEY) -> tuple[Sealer, Opener]:
    return KEY.sealer(ROOM, ANNA), key.opener(ROOM, ANNA)


def introduced() -> tuple[Sealer, Opener]:
    sealer, opener = pair()
    assert opener.open("d", sealer.seal("d", b"descriptor")) == b"descriptor"
    return sealer, opener


@given(st.lists(st.tuples(st.sampled_from(SLOTS), st.binary(min_size=1, max_size=300)), max_size=20))
def test_what_was_sealed_comes_back(said: list[tuple[Slot, bytes]]) -> None:
    sealer, opener = introduced()
    for slot, payload in said:
        sealed = sealer.seal(slot, payload)
        assert len(sealed) == len(payload) + (SEAL_BYTES if slot in "ac" else LONG_SEAL_BYTES)
        assert payload not in sealed or len(payload) < 4
        assert opener.open(slot, sealed) == payload
    assert not opener.refused


def test_the_overhead_is_what_the_budget_and_the_protocol_say() -> None:
    assert SEAL_BYTES == BUDGETED_BYTES == 11
    assert LONG_SEAL_BYTES == 31


def test_a_packet_is_opened_once() -> None:
    sealer, opener = introduced()
    sealed = sealer.seal("a", b"codes")
    assert [opener.open("a", sealed) for _ in range(3)] == [b"codes", None, None]
    assert opener.refused == {"replayed": 2}


def test_packets_may_overtake_each_other_but_not_come_from_far_behind() -> None:
    sealer, opener = introduced()
    sealed = [sealer.seal("a", bytes([i])) for i in range(WINDOW + 2)]
    order = [*range(2, len(sealed)), 1, 0]
    random.Random(0).shuffle(order[:-2])
    opened = [opener.open("a", sealed[i]) for i in order]
    assert opened == [bytes([i]) for i in order[:-2]] + [None, None]
    assert opener.refused == {"replayed": 2}


def test_what_a_broker_keeps_may_come_again_but_nothing_older() -> None:
    sealer, opener = pair()
    old, new = sealer.seal("s", b"old"), sealer.seal("s", b"new")
    assert [opener.open("s", sealed) for sealed in (old, old, new, new)] == [b"old", b"old", b"new", b"new"]
    assert opener.open("s", old) is None
    assert opener.refused == {"replayed": 1}


@pytest.mark.parametrize("slot", SLOTS)
def test_another_key_room_peer_or_slot_does_not_open(slot: Slot) -> None:
    sealer, _ = introduced()
    sealed_d, sealed = sealer.seal("d", b"x"), sealer.seal(slot, b"payload")
    other_key = RoomKey(bytes(32))
    openers = [
        other_key.opener(ROOM, ANNA),
        KEY.opener(KEY.room_level("cellar"), ANNA),
        KEY.opener(ROOM, KEY.peer_level("kitchen", "ben")),
    ]
    for opener in openers:
        assert opener.open("d", sealed_d) is None
        assert opener.open(slot, sealed) is None
        assert opener.refused["not_authentic"] + opener.refused["no_session"] == 2
    opener = KEY.opener(ROOM, ANNA)
    assert opener.open("d", sealed_d) == b"x"
    twin: Slot = {"a": "c", "c": "a", "d": "s", "s": "d"}[slot]  # type: ignore[assignment]
    assert opener.open(twin, sealed) is None
    assert opener.refused == {"not_authentic": 1}
    assert opener.open(slot, sealed) == b"payload"


def test_nothing_short_is_opened_before_the_sender_is_known() -> None:
    sealer, opener = pair()
    assert opener.open("a", sealer.seal("a", b"codes")) is None
    assert opener.refused == {"no_session": 1}


def test_a_session_that_was_replaced_never_comes_back() -> None:
    opener = KEY.opener(ROOM, ANNA)
    first, second = KEY.sealer(ROOM, ANNA), KEY.sealer(ROOM, ANNA)
    recorded = [first.seal("d", b"first"), first.seal("a", b"said")]
    assert opener.open("d", recorded[0]) == b"first"
    assert opener.open("d", second.seal("d", b"second")) == b"second"
    assert opener.open("d", recorded[0]) is None
    assert opener.open("a", recorded[1]) is None
    assert opener.open("a", second.seal("a", b"still heard")) == b"still heard"
    assert opener.refused == {"replayed": 1, "not_authentic": 1}


def test_a_stranger_cannot_replace_a_session() -> None:
    sealer, opener = introduced()
    stranger = RoomKey(bytes(32)).sealer(ROOM, ANNA)
    assert opener.open("d", stranger.seal("d", b"mine")) is None
    assert opener.open("a", sealer.seal("a", b"codes")) == b"codes"


def test_every_altered_bit_is_noticed() -> None:
    sealer, opener = introduced()
    for slot in SLOTS:
        sealed = sealer.seal(slot, b"payload")
        for bit in range(8 * len(sealed)):
            altered = bytearray(sealed)
            altered[bit // 8] ^= 1 << bit % 8
            assert opener.open(slot, bytes(altered)) is None
        assert opener.open(slot, sealed) == b"payload"
    assert set(opener.refused) == {"unsealed", "malformed", "not_authentic"}


def test_thousands_of_bad_payloads_are_counted_by_reason_and_none_is_opened() -> None:
    sealer, opener = introduced()
    chance = random.Random(1)
    stranger = RoomKey.generate().sealer(ROOM, ANNA)
    said = [sealer.seal("a", bytes([i])) for i in range(100)]
    assert all(opener.open("a", sealed) for sealed in said)
    bad = 0
    for i in range(1000):
        slot = SLOTS[i % 4]
        genuine = said[chance.randrange(100)]
        for sealed in (
            chance.randbytes(chance.randrange(200)),
            stranger.seal(slot, b"other key"),
            genuine[: chance.randrange(len(genuine))],
        ):
            assert opener.open(slot, sealed) is None
            bad += 1
        assert opener.open("a", genuine) is None
        bad += 1
    assert opener.refused.total() == bad
    assert opener.refused["replayed"] == 1000
    assert set(opener.refused) == {"unsealed", "malformed", "not_authentic", "replayed"}
    assert opener.open("a", sealer.seal("a", b"after all that")) == b"after all that"


@pytest.mark.parametrize("spoken", [1, 100_000, 2**20 - 1, 2**20, 3 * 2**20 + 7])
def test_who_comes_late_hears_a_sender_that_has_talked_for_long(spoken: int) -> None:
    sealer, opener = introduced()
    sealer._count = spoken  # as if it had sealed so many since
    assert opener.open("a", sealer.seal("a", b"codes")) == b"codes"
    assert opener.open("a", sealer.seal("a", b"more")) == b"more"


def test_the_count_is_found_again_after_a_long_gap_and_across_the_wrap() -> None:
    sealer, opener = introduced()
    for count in (5, 2**19, 2**20 - 2, 2**20, 2**20 + 2**19 - 1, 2**21 - 2, 2**21 + 1):
        sealer._count = count
        assert opener.open("a", sealer.seal("a", b"codes")) == b"codes"
    assert not opener.refused


def test_a_session_ends_before_its_count_would_begin_again() -> None:
    sealer, _ = introduced()
    sealer._count = 2**48 - 1
    with pytest.raises(RoomKeyError, match="connect again"):
        sealer.seal("a", b"codes")


def test_no_nonce_is_used_twice() -> None:
    sealer, _ = pair()
    sealed = {sealer.seal("a", b"the same codes") for _ in range(1000)}
    other = KEY.sealer(ROOM, ANNA)
    sealed |= {other.seal("a", b"the same codes") for _ in range(1000)}
    assert len({one[3:] for one in sealed}) == 2000


def test_names_are_short_hidden_and_fit_topics() -> None:
    assert (len(ROOM), len(ANNA)) == (8, 4)
    levels = {KEY.peer_level("kitchen", f"peer {i}") for i in range(300)} | {
        KEY.room_level(f"room {i}") for i in range(300)
    }
    assert len(levels) == 600
    assert all(is_name(level) for level in levels)
    assert KEY.peer_level("cellar", "anna") != ANNA
    assert RoomKey(bytes(32)).room_level("kitchen") != ROOM


@given(st.binary(min_size=32, max_size=32))
def test_a_key_survives_being_written_down(raw: bytes) -> None:
    text = RoomKey(raw).to_text()
    assert RoomKey.from_text(f"  {text}\n").room_level("a") == RoomKey(raw).room_level("a")


def test_a_mistyped_key_is_noticed_and_not_repeated() -> None:
    text = KEY.to_text()
    for i in range(len(text)):
        for wrong in (text[:i] + ("A" if text[i] != "A" else "B") + text[i + 1 :], text[:i] + text[i + 1 :]):
            with pytest.raises(RoomKeyError, match="no room key") as caught:
                RoomKey.from_text(wrong)
            assert text[20:] not in str(caught.value)


@pytest.mark.parametrize("text", ["", "secret", "sottovoce-room-", "sottovoce-room-ä", "\udc80", "x" * 10_000, "\0"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(RoomKeyError, match="keygen"):
        RoomKey.from_text(text)


def test_keys_are_32_bytes_and_never_the_same() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        RoomKey(b"short")
    assert len({RoomKey.generate().to_text() for _ in range(100)}) == 100


@given(st.lists(st.integers(0, 400), max_size=60))
def test_the_window_takes_each_number_once_and_forgets_none_within_it(numbers: list[int]) -> None:
    window, taken, highest = ReplayWindow(), set(), -1
    for number in numbers:
        expected = number not in taken and number > highest - WINDOW
        assert window.take(number) == expected
        taken.add(number)
        highest = max(highest, number)


def test_opening_is_quick_enough_for_an_event_loop() -> None:
    sealer, opener = introduced()
    sealed = [sealer.seal("a", bytes(200)) for _ in range(2000)]
    began_s = time.process_time()
    assert all(opener.open("a", one) for one in sealed)
    assert (time.process_time() - began_s) / len(sealed) < 0.001


def golden() -> dict[str, bytes]:
    sealer = KEY.sealer(ROOM, ANNA, salt)
    return {
        "sealed_d": sealer.seal("d", b"descriptor"),
        "sealed_s": sealer.seal("s", b"presence"),
        "sealed_a": sealer.seal("a", b"codes"),
        "sealed_c": sealer.seal("c", b"control"),
        "key_text": KEY.to_text().encode(),
        "level_room": ROOM.encode(),
        "level_peer": ANNA.encode(),
    }


@pytest.mark.parametrize("name", golden())
def test_golden_bytes_do_not_change(name: str) -> None:
    assert golden()[name] == bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def test_golden_seals_open() -> None:
    opener = KEY.opener(ROOM, ANNA)
    said = [opener.open(slot, golden()[f"sealed_{slot}"]) for slot in SLOTS]
    assert said == [b"descriptor", b"presence", b"codes", b"control"]
