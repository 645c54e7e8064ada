"""Keys, the instrument's face, device names: everything of the terminal that needs no terminal."""

import io

import numpy as np
import pytest
from rich.console import Console

from sottovoce.clients.devices import Device, choose
from sottovoce.clients.instrument import View, meter, render
from sottovoce.clients.keys import parse
from sottovoce.stream.engine import ECHO
from sottovoce.stream.errors import DeviceError
from sottovoce.stream.statistics import Statistics


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("3q", ["3", "q"]),
        ("\x1b[A\x1bOB", ["up", "down"]),
        ("\x1b[3~+", ["+"]),
        ("\x1b[1;5C-", ["-"]),
        ("\x1b", []),
        ("\x1b[", []),
        ("\x1bx", ["x"]),
    ],
)
def test_keys_are_told_apart(text: str, keys: list[str]) -> None:
    assert parse(text) == keys


def test_the_instrument_shows_everything() -> None:
    statistics = Statistics(ECHO)
    statistics.level_in.add(np.full(100, 0.5, np.float32))
    statistics.stage("encode").add(0.0123)
    statistics.codes.add(np.zeros((10, 8), np.int16))
    statistics.counters["packets_lost"] = 7
    view = View(
        statistics, books=3, most_books=8, delay="99 ms", overflows=2, underflows=5, skipped_ms=1, drift="speaker -7 ppm",
        devices="mic -> ear", keys=True,
    )  # fmt: skip
    console = Console(width=100, record=True, force_terminal=False, file=io.StringIO())
    console.print(render(view))
    text = console.export_text()
    for part in ("mic -> ear", "-6.0 dBFS", "938 bit/s", "encode", "12.3", "perplexity", "99 ms",
                 "overflows 2", "speaker -7 ppm", "underflows 5", "lost 7", "q: quit"):  # fmt: skip
        assert part in text


def test_the_meter_grows_with_loudness() -> None:
    lengths = [meter(dbfs, dbfs).plain.count("█") for dbfs in (-120, -40, -20, 0)]
    assert lengths == sorted(lengths)
    assert lengths[0] == 0


def device(index: int, name: str, inputs: int = 0, outputs: int = 0, default: bool = False) -> Device:
    return Device(index, name, "ALSA", inputs, outputs, 48_000, default and inputs > 0, default and outputs > 0)


DEVICES = [device(0, "HDMI", 0, 8), device(1, "USB microphone", 1), device(2, "USB headset", 1, 2, True)]


def test_a_device_is_found_by_number_name_part_or_default() -> None:
    assert choose(DEVICES, None, "input").index == 2
    assert choose(DEVICES, "1", "input").index == 1
    assert choose(DEVICES, "hdmi", "output").index == 0
    assert choose(DEVICES[:1], None, "output").index == 0  # no default is set


@pytest.mark.parametrize(
    ("devices", "wanted", "reason"),
    [
        (DEVICES, "usb", "could be any of"),
        (DEVICES, "0", "no microphone is called"),
        ([], None, "there is no microphone"),
    ],
)
def test_a_device_that_is_not_clear_is_refused(devices: list[Device], wanted: str | None, reason: str) -> None:
    with pytest.raises(DeviceError, match=reason):
        choose(devices, wanted, "input")
