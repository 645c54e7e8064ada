"""What peers tell each other beside sound: every message comes back, golden bytes stay, nothing else is accepted."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.comfort_noise import ComfortNoise
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.errors import ProtocolError
from sottovoce.stream.room_messages import (
    Control,
    Presence,
    Press,
    Release,
    Report,
    read_control,
    read_descriptor,
    write_control,
    write_descriptor,
)
from sottovoce.stream.room_relay import DOWN_BYTES, UP_BYTES, Relayed, read_down, read_up
from sottovoce.stream.room_transport import MOST_PAYLOAD_BYTES, SLOTS

GOLDEN = Path(__file__).parent.parent / "golden" / "rooms"
BASE = Descriptor("base", "0123456789ab", 24_000, 960, 4, 128, 8, 1024, 512)

NAMES = st.text("abcXYZ019._-äß", min_size=1, max_size=20)
CONTROLS = st.one_of(
    st.builds(Press, st.integers(0, 0xFFFF)),
    st.just(Release()),
    st.builds(
        Report, NAMES, st.integers(0, 255).map(lambda n: n / 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)
    ),
)


@given(CONTROLS)
def test_control_comes_back(message: Control) -> None:
    assert read_control(write_control(message)) == message


@given(CONTROLS, st.data())
def test_control_cut_or_lengthened_is_refused(message: Control, data: st.DataObject) -> None:
    payload = write_control(message)
    with pytest.raises(ProtocolError):
        read_control(payload[: data.draw(st.integers(0, len(payload) - 1))])
    with pytest.raises(ProtocolError):
        read_control(payload + b"\0")


@given(st.binary(max_size=80))
def test_any_bytes_are_control_or_unknown_or_refused(noise: bytes) -> None:
    try:
        message = read_control(noise)
    except ProtocolError:
        return
    assert noise[0] not in (1, 2, 3) if message is None else write_control(message) == noise


def test_numbers_beyond_their_field_stop_at_its_end() -> None:
    assert read_control(write_control(Report("anna", 7.0, 10**9, -5))) == Report("anna", 1.0, 0xFFFF, 0)


def test_unknown_control_is_ignored_and_impossible_names_are_not() -> None:
    assert read_control(b"\x09whatever") is None
    with pytest.raises(ProtocolError, match="kind 3"):
        read_control(write_control(Report("an/na", 0.0, 0, 0)))


@given(NAMES, st.sampled_from(["open", "push"]), st.integers(1, 255))
def test_presence_comes_back(name: str, talk: str, frames: int) -> None:
    presence = Presence(name, talk, frames)  # type: ignore[arg-type]
    assert Presence.from_bytes(presence.to_bytes()) == presence


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b"\xff\xfe", b'{"name":1}', b'{"name":"a","talk":"shout"}', b'{"name":"a","frames_per_packet":0}',
     b'{"name":"' + b"a" * 65 + b'"}', b'{"name":"a"' + b" " * MOST_PAYLOAD_BYTES + b"}", b"[" * 4000],
)  # fmt: skip
def test_malformed_presence_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        Presence.from_bytes(payload)


def test_presence_may_say_more_than_we_know() -> None:
    assert Presence.from_bytes(b'{"name":"anna","mood":"good"}') == Presence("anna")


def test_descriptors_come_back_and_others_are_refused() -> None:
    assert read_descriptor(write_descriptor(BASE)) == BASE
    for payload in (b"", b"\xff", b"{}", b"3", write_descriptor(BASE)[:-1], b" " * (MOST_PAYLOAD_BYTES + 1)):
        with pytest.raises(ProtocolError):
            read_descriptor(payload)


@given(st.sampled_from(SLOTS), st.binary(max_size=300), NAMES)
def test_relayed_payloads_come_back(slot: str, payload: bytes, peer: str) -> None:
    up, down = Relayed(slot, payload), Relayed(slot, payload, peer)  # type: ignore[arg-type]
    assert read_up(up.pack_up()) == up
    assert read_down(down.pack_down()) == down
    assert len(up.pack_up()) == UP_BYTES + len(payload)
    assert len(down.pack_down()) == DOWN_BYTES + len(peer.encode()) + len(payload)


@given(st.binary(max_size=80))
def test_any_bytes_are_relayed_or_ignored_or_refused(noise: bytes) -> None:
    for read, pack in ((read_up, Relayed.pack_up), (read_down, Relayed.pack_down)):
        try:
            relayed = read(noise)
        except ProtocolError:
            continue
        assert noise[:1] not in (b"d", b"s", b"a", b"c") if relayed is None else pack(relayed) == noise


def test_what_is_too_long_to_relay_is_refused() -> None:
    long = bytes(MOST_PAYLOAD_BYTES + 1)
    with pytest.raises(ProtocolError, match="4096"):
        read_up(b"a" + long)
    with pytest.raises(ProtocolError, match="4096"):
        read_down(b"a\x04anna" + long)
    assert read_up(b"a" + long[1:]) is not None


@pytest.mark.parametrize("message", [b"a", b"a\x00", b"a\x04ann", b"a\x04an/n", b"a\x02\xff\xff", b"a\x41" + b"x" * 65])
def test_whose_a_message_is_must_be_said(message: bytes) -> None:
    with pytest.raises(ProtocolError, match="whose"):
        read_down(message)


def golden() -> dict[str, bytes]:
    levels = (-60.0, -63.5, -70.0, -72.0, -80.0, -90.5, -127.5, 0.0)
    return {
        "descriptor": write_descriptor(BASE),
        "presence": Presence("anna", "push", 50).to_bytes(),
        "press": write_control(Press(0x1234)),
        "release": write_control(Release()),
        "report": write_control(Report("anna", 0.2, 850, 120)),
        "comfort_noise": ComfortNoise(0, 0xFFFE, levels).pack(),
        "relayed_up": Relayed("a", b"codes").pack_up(),
        "relayed_down": Relayed("s", b"", "anna").pack_down(),
    }


@pytest.mark.parametrize("name", golden())
def test_golden_bytes_do_not_change(name: str) -> None:
    assert golden()[name] == bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
