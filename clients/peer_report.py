"""What a person wants to know after a conversation in a room, out of every counter there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_USUAL = ("in.messages", "in.echo")
"""What was taken, and what a broker of MQTT 3.1.1 sends back of one's own."""


def summary(counts: dict[str, Any]) -> list[str]:
    """Lines to print; ``counts`` as ``--stats`` writes them."""
    return [f"{name:<17} {text}" for name, text in _facts(counts)]


def _facts(counts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    frame_s = counts["frame_ms"] / 1000
    sender, line = counts["sender"], counts["line"]
    if sender["packets"]:
        yield (
            "said",
            f"{sender['frames'] * frame_s:.1f} s in {sender['packets']} packets, "
            f"{line.get('bytes_out', 0)} bytes before headers; {_lost(line, 'out.')}",
        )
    for peer in counts["peers"].values():
        receiver = peer.get("receiver")
        if receiver is None or not receiver["packets"]:
            continue
        yield (
            f"heard {peer['name']}",
            f"{receiver['played'] * frame_s:.1f} s, {receiver['concealed']} frames made up, "
            f"{receiver['repaired']} repaired, dropped: {_named(receiver['dropped'])}; {peer['playout_ppm']:+.0f} ppm",
        )
        for name, n in peer["counts"].items():
            yield f"  {peer['name']}", f"{n} {name}"
    if counts["late_frames"]:
        yield "speaker", f"{counts['late_frames']} frames came too late for it: this machine is too slow, or busy"
    if line.get("reconnects"):
        yield "reconnects", str(line["reconnects"])
    strange = {**counts["counts"], **counts["carrier"]}
    unwanted = {
        name.removeprefix("in."): n for name, n in strange.items() if name.startswith("in.") and name not in _USUAL
    }
    if unwanted:
        yield "not taken", _named(unwanted)


def _lost(line: dict[str, int], prefix: str) -> str:
    return "not sent: " + _named({name.removeprefix(prefix): n for name, n in line.items() if name.startswith(prefix)})


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "nothing"
