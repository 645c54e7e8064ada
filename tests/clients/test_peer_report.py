"""What is told after a conversation in a room."""

from typing import Any

from sottovoce.clients.peer_report import summary


def counts(**more: Any) -> dict[str, Any]:
    sender = {"frames": 100, "packets": 50, "books": 4, "steps_down": 0}
    empty: dict[str, Any] = {"line": {}, "peers": {}, "late_frames": 0, "counts": {}, "carrier": {}}
    return {"frame_ms": 40.0, "sender": sender} | empty | more


def test_what_was_not_taken_is_told_and_what_was_is_not() -> None:
    good = counts(counts={"in.messages": 46}, carrier={"in.echo": 2})
    assert not [line for line in summary(good) if "not taken" in line]
    bad = counts(counts={"in.messages": 46, "in.malformed": 3}, carrier={"in.echo": 2, "in.oversized": 1})
    assert [line.split(maxsplit=2)[2] for line in summary(bad) if "not taken" in line] == ["3 malformed, 1 oversized"]
