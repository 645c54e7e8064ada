"""The descriptor: derived numbers, and JSON that is not believed blindly."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.engine import ECHO

BASE = Descriptor("base", "0123456789ab", 24_000, 960, 4, 128, 8, 1024, 480)


def test_derived_numbers() -> None:
    assert (BASE.frame_ms, BASE.frame_rate_hz, BASE.bits_per_code) == (40, 25, 10)
    assert (BASE.bitrate(), BASE.bitrate(1), BASE.delay_ms) == (2000, 250, 60)
    assert replace(BASE, book_size=1000).bits_per_code == 10


def test_json_comes_back_and_may_hold_more() -> None:
    assert Descriptor.from_json(BASE.to_json()) == BASE
    assert Descriptor.from_json(json.dumps({**asdict(ECHO), "colour": "red"})) == ECHO


@pytest.mark.parametrize("text", ["", "[]", "{}", "nul", b"\xff\xfe\xff", "[" * 100_000, "9" * 5000])
def test_other_text_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="descriptor"):
        Descriptor.from_json(text)


@given(
    st.sampled_from(list(asdict(BASE))),
    st.none() | st.booleans() | st.integers(-(2**40), 0) | st.floats() | st.lists(st.integers()),
)
def test_impossible_values_are_value_errors(name: str, value: object) -> None:
    if name == "delay_samples" and value == 0 and type(value) is int:
        return
    with pytest.raises(ValueError):
        Descriptor.from_json(json.dumps({**asdict(BASE), name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_hz", 10**400),
        ("frame_samples", 2**31 + 1),
        ("model_hash", "abc\n\x1b[31mred"),
        ("model_hash", "0123456789ab\n"),
        ("model_hash", "0123456789AB"),
        ("preset", "\x1b]0;title\x07"),
        ("preset", "b" * 33),
        ("preset", ""),
        ("books", ["\x1b[2J"]),
    ],
)
def test_a_strangers_text_and_numbers_go_no_further(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        Descriptor.from_json(json.dumps({**asdict(BASE), name: value}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 80
    assert replace(BASE, rate_hz=2**31).rate_hz == 2**31


@pytest.mark.parametrize("change", [{"books": 16}, {"book_size": 1}, {"book_size": 32769}, {"delay_samples": -1}])
def test_what_packets_cannot_carry_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        replace(BASE, **change)  # type: ignore[arg-type]
