"""Which microphones and speakers there are, and which one a person means. Opens none of them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from sottovoce.stream.errors import DeviceError

from .pipes import say
from .quiet import quiet_libraries

Direction = Literal["input", "output"]
ROLE: dict[Direction, str] = {"input": "microphone", "output": "speaker"}


@dataclass(frozen=True, slots=True)
class Device:
    """A sound device as PortAudio lists it."""

    index: int
    name: str
    host: str
    "The sound system that it belongs to: ALSA, Core Audio, WASAPI ..."
    input_channels: int
    output_channels: int
    rate_hz: int
    "The rate that it likes best."
    is_default_input: bool
    is_default_output: bool

    def channels(self, direction: Direction) -> int:
        """How many channels it has in this direction; 0 where it has none."""
        return self.input_channels if direction == "input" else self.output_channels


def portaudio() -> Any:
    """The ``sounddevice`` module. Raises DeviceError: it, or the library under it, is not there."""
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise DeviceError("the package 'sounddevice' is missing; pip install sounddevice") from error
    except OSError as error:
        raise DeviceError("PortAudio is missing; install it (Debian: apt install libportaudio2)") from error


def list_devices() -> list[Device]:
    """Every device, in PortAudio's order. Raises DeviceError: PortAudio is not there or fails."""
    audio = portaudio()
    try:
        hosts = audio.query_hostapis()
        default_input, default_output = audio.default.device
        return [
            Device(
                index=index,
                name=str(entry["name"]),
                host=str(hosts[entry["hostapi"]]["name"]),
                input_channels=int(entry["max_input_channels"]),
                output_channels=int(entry["max_output_channels"]),
                rate_hz=int(entry["default_samplerate"]),
                is_default_input=index == default_input,
                is_default_output=index == default_output,
            )
            for index, entry in enumerate(audio.query_devices())
        ]
    except audio.PortAudioError as error:
        raise DeviceError(f"the sound system does not answer: {portaudio_reason(error)}") from error


def choose(devices: list[Device], wanted: str | None, direction: Direction) -> Device:
    """The device that a person means.

    Args:
        devices: from `list_devices`.
        wanted: its number, its name or a part of it that only one has; None for the default.
        direction: what it must be able to do.

    Raises:
        DeviceError: none fits, or more than one.
    """
    role = ROLE[direction]
    able = [device for device in devices if device.channels(direction)]
    if not able:
        raise DeviceError(f"there is no {role}; connect one, or give a file with --{direction}")
    if wanted is None:
        standard = [d for d in able if (d.is_default_input if direction == "input" else d.is_default_output)]
        return (standard or able)[0]
    if wanted.isdecimal():
        found = [device for device in able if device.index == int(wanted)]
    else:
        found = [device for device in able if device.name == wanted]
        found = found or [device for device in able if wanted.lower() in device.name.lower()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise DeviceError(f"no {role} is called {wanted!r}; 'sottovoce devices' lists them")
    names = ", ".join(f"{device.index} {device.name!r}" for device in found)
    raise DeviceError(f"{wanted!r} could be any of {names}; give the number")


def portaudio_reason(error: Exception) -> str:
    """PortAudio's own words for what went wrong, without numbers."""
    return str(error.args[0] if error.args else error).split(" [PaErrorCode")[0].rstrip(".")


def print_devices() -> None:
    """The table of ``sottovoce devices``. Raises DeviceError as `list_devices`, or where there is none."""
    with quiet_libraries():
        devices = list_devices()
    if not devices:
        raise DeviceError("there is no sound device; connect one, or work on files with --input and --output")
    say(f"{'':2} {'no':>3}  {'in':>3} {'out':>3} {'rate':>6}  name (sound system)")
    for device in devices:
        mark = (">" if device.is_default_input else " ") + ("<" if device.is_default_output else " ")
        say(
            f"{mark} {device.index:3}  {device.input_channels:3} {device.output_channels:3} "
            f"{device.rate_hz:6}  {device.name} ({device.host})"
        )
    say("> default microphone, < default speaker")
