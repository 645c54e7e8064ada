"""The calls that `room_evaluate` measures: every profile and loss in simulated time, and scenes between real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import soundfile

from sottovoce.models.checkpoint import load_codec
from sottovoce.stream.batch_engine import describe
from sottovoce.stream.profiles import PROFILES

from .link import Conditions
from .recordings import Pcm
from .room_scene import Call, Scene, call
from .room_sim import SimulatedRoom
from .room_talk import Talk
from .store import digest

LINE = Conditions(delay_ms=60, jitter_ms=10)
"""What every line has besides its faults: a mobile network on a fair day."""
_SLOW = replace(LINE, rate_bps=2000)


@dataclass(frozen=True, slots=True)
class Heard:
    """One call as its listener had it."""

    name: str
    beside: str
    "The call whose words it is compared with."
    pcm: Pcm
    "[T] from the moment that the talk began, within a second."
    rate_hz: int
    counts: dict[str, str]
    "Columns of the table."


def simulated(talk: Talk, weights: Path, profiles: Sequence[str], losses: Sequence[float]) -> Iterator[Heard]:
    """Every profile at every loss, with and without redundancy and concealment. Raises CheckpointError."""
    codec = load_codec("base", weights, "neural")
    descriptor = describe(codec.preset, codec.model_hash, codec.delay)
    room = SimulatedRoom(codec, descriptor, talk.pcm)
    for name in profiles:
        profile = PROFILES[name]
        beside = _lossy(name, losses[0])
        for loss in losses:
            variants = [("", profile, True)]
            if loss and profile.redundancy:
                variants.append((", no redundancy", replace(profile, redundancy=0), True))
            if loss:
                variants.append((", no concealment", profile, False))
            for what, changed, conceal in variants:
                heard = room.call(changed, replace(LINE, loss=loss), conceal)
                counts = {**_gaps(asdict(heard.statistics), talk), "payload bit/s": f"{heard.payload_bits_per_s:.0f}"}
                yield Heard(_lossy(name, loss) + what, beside, heard.pcm, descriptor.rate_hz, counts)


def _lossy(profile: str, loss: float) -> str:
    return f"{profile}, {100 * loss:g} % of packets lost"


SCENES: dict[str, Scene] = {
    "normal": Scene(LINE, LINE),
    **{f"normal, faded {100 * loss:g} %": Scene(replace(LINE, loss=loss), LINE) for loss in (0.02, 0.05, 0.1, 0.2)},
    "normal, faded 10 %, sealed": Scene(replace(LINE, loss=0.1), LINE, sealed=True),
    "live, faded 10 %": Scene(replace(LINE, loss=0.1), LINE, ("--profile", "live")),
    "thrifty, faded 10 %": Scene(replace(LINE, loss=0.1), LINE, ("--profile", "thrifty")),
    "radio, faded 10 %": Scene(replace(LINE, loss=0.1), LINE, ("--profile", "radio")),
    "normal, a tenth overtakes": Scene(replace(LINE, reorder=0.1), LINE),
    "normal, spread 80 ms": Scene(replace(LINE, jitter_ms=80), LINE),
    "normal, out for 0.1, 1 and 5 s": Scene(replace(LINE, outages_s=((12, 12.1), (20, 21), (30, 35))), LINE),
    "normal, broker dead for 5 s": Scene(LINE, LINE, broker_dead_s=(15, 20)),
    "normal, 2 kbit/s": Scene(_SLOW, _SLOW),
    "thrifty, 2 kbit/s": Scene(_SLOW, _SLOW, ("--profile", "thrifty")),
    "radio, 2 kbit/s": Scene(_SLOW, _SLOW, ("--profile", "radio")),
}
"""What happens on the talker's line."""


def through_mosquitto(talk: Talk, out: Path, at_once: int, only: Sequence[str] = ()) -> Iterator[Heard]:
    """The `SCENES` whose names have all words of ``only``, in real time; what ``out`` holds already is not played again.

    All are over before the first is given, so that whoever judges them takes no processor from those that still talk.
    Raises LinkError.
    """
    said = out / "said.wav"
    soundfile.write(said, talk.pcm, talk.rate_hz, subtype="PCM_16")
    chosen = {name: scene for name, scene in SCENES.items() if all(word in name for word in only)}
    with ThreadPoolExecutor(at_once) as pool:
        under_way = [
            pool.submit(_played, scene, talk, said, out / f"{file_name(name)}.wav", number)
            for number, (name, scene) in enumerate(chosen.items(), 1)
        ]
        try:
            held = [one.result() for one in under_way]
        finally:
            pool.shutdown(cancel_futures=True)
    for name, one in zip(chosen, held, strict=True):
        yield _heard(name, one, out / f"{file_name(name)}.wav", talk)


def _played(scene: Scene, talk: Talk, said: Path, heard: Path, number: int) -> Call:
    """A call, or what was noted of it when it was played before."""
    note = heard.with_suffix(".call.json")
    key = digest(repr(scene), talk.pcm.tobytes())
    if note.exists() and (noted := json.loads(note.read_text("utf-8"))).pop("key") == key:
        return Call(**noted)
    note.unlink(missing_ok=True)
    held = call(scene, said, heard, number)
    note.write_text(json.dumps({"key": key, **asdict(held)}), encoding="utf-8")
    return held


def _heard(name: str, held: Call, wav: Path, talk: Talk) -> Heard:
    pcm, rate_hz = soundfile.read(wav, dtype="float32")
    (talker,) = held.listener["peers"].values()
    counts = {
        **_gaps(talker["receiver"], talk),
        "IP bit/s": f"{8 * held.ip_bytes[0] / held.seconds:.0f}",
        "back": f"{8 * held.ip_bytes[1] / held.seconds:.0f}",
    }
    return Heard(f"{name} (mosquitto)", "normal (mosquitto)", pcm[round(held.began_s * rate_hz) :], rate_hz, counts)


def _gaps(receiver: Mapping[str, Any], talk: Talk) -> dict[str, str]:
    """Of the counts of a receiver: what was not played as it was said, in per cent of what was; and gaps a minute."""
    due = receiver["played"] + receiver["repaired"] + receiver["concealed"]
    minutes = len(talk.pcm) / talk.rate_hz / 60
    return {
        "repaired %": f"{100 * receiver['repaired'] / max(due, 1):.1f}",
        "concealed %": f"{100 * receiver['concealed'] / max(due, 1):.1f}",
        "gaps a minute, short + long": f"{receiver['short_runs'] / minutes:.1f} + {receiver['long_runs'] / minutes:.1f}",
    }


def file_name(call: str) -> str:
    """Of a call's sound."""
    return "-".join("".join(char if char.isalnum() or char == "." else " " for char in call).split())
