"""A sound card that is not there: a PulseAudio of its own, with a microphone and a speaker on one wire.

The wire is a null sink of three channels. What is played into the `MOUTH` is one of them, which is also what the
microphone hears; what the program plays are the other two. Recording the wire gives all on one clock, so that
the delay between them can be measured to the sample. PortAudio reaches it through ALSA's ``pulse`` plugin.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from support.stalls import hurry

RATE_HZ = 48_000
CHANNELS = ("front-left", "front-right", "rear-center")
MOUTH = "rear-center"
_MODULES = (
    "module-native-protocol-unix",
    f"module-null-sink sink_name=wire rate={RATE_HZ} channels={len(CHANNELS)} channel_map={','.join(CHANNELS)}",
    "module-remap-source source_name=mic master=wire.monitor channels=1 channel_map=mono "
    f"master_channel_map={MOUTH} remix=no",
)
# Streams are to be heard on the channels that they name and on no other.
_DAEMON = "enable-remixing = no\nenable-lfe-remixing = no\n"
# PulseAudio works in blocks as short as its most impatient client wants. PortAudio asks for 10 ms, and begins with
# 10 ms, also after an underflow: where the sink then takes all of that at once, it underflows again, and for ever.
# One stall of the machine became thousands of underflows. A real card takes its sound little by little; so does
# the wire, because whoever records it wants half as much. The player is patient.
_RECORDER_LATENCY = "--latency-msec=5"
_PLAYER_LATENCY = "--latency-msec=200"


def why_not() -> str | None:
    """What is missing; None where everything is there."""
    if sys.platform != "linux":
        return "the virtual sound card needs Linux"
    missing = [name for name in ("pulseaudio", "pactl", "paplay", "parec") if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} missing: apt install pulseaudio pulseaudio-utils"
    if not any(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        return "ALSA's pulse plugin is missing: apt install libasound2-plugins"
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        return f"{error}: apt install libportaudio2"
    return None


class VirtualCard:
    """One running PulseAudio. ``environment`` is what a program needs to find it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        config = folder / ".asoundrc"
        config.write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        daemon = folder / "daemon.conf"
        daemon.write_text(_DAEMON)
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(runtime),
            "PULSE_RUNTIME_PATH": str(runtime / "pulse"),
            "PULSE_CONFIG": str(daemon),
        }
        self.environment.pop("PULSE_SERVER", None)
        loads = [part for module in _MODULES for part in ("-L", module)]
        self.server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes",
             "--realtime=no", "--high-priority=no", *loads],
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        give_up_s = time.monotonic() + 20
        while not self._answers():
            assert self.server.poll() is None, "pulseaudio did not start"
            assert time.monotonic() < give_up_s, "pulseaudio does not answer"
        self._control("set-default-sink", "wire")
        self._control("set-default-source", "mic")
        hurry(self.server.pid)  # a real card waits for no processor

    def unplug(self) -> None:
        """Take the card away under whoever uses it."""
        self.server.kill()
        self.server.wait()

    @contextmanager
    def speaking(self, sound: Path) -> Iterator[None]:
        """Play ``sound`` into the microphone while inside."""
        with self._running("paplay", "-d", "wire", f"--channel-map={MOUTH}", "--no-remix", _PLAYER_LATENCY, str(sound)):
            yield

    @contextmanager
    def recording(self) -> Iterator[Path]:
        """Record the wire into a raw file while inside."""
        path = self.folder / "wire.raw"
        with path.open("wb") as file, self._running(
            "parec", "-d", "wire.monitor", f"--rate={RATE_HZ}", f"--channels={len(CHANNELS)}",
            f"--channel-map={','.join(CHANNELS)}", "--format=s16le", "--raw", _RECORDER_LATENCY, stdout=file,
        ):  # fmt: skip
            yield path

    def hears(self, pid: int) -> bool:
        """Whether the program ``pid`` has opened its microphone."""
        found = subprocess.run(
            ["pactl", "list", "source-outputs"], env=self.environment, capture_output=True, text=True, check=False
        )
        return f'application.process.id = "{pid}"' in found.stdout

    def close(self) -> None:
        """End the server, by its own process id."""
        self.server.terminate()
        self.server.wait(10)

    @contextmanager
    def _running(self, *arguments: str, stdout: object = subprocess.DEVNULL) -> Iterator[None]:
        process = subprocess.Popen(arguments, env=self.environment, stdout=stdout, stderr=subprocess.DEVNULL)  # type: ignore[call-overload]
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)

    def _answers(self) -> bool:
        found = subprocess.run(
            ["pactl", "list", "short", "sources"], env=self.environment, capture_output=True, check=False
        )
        return b"\tmic\t" in found.stdout

    def _control(self, *arguments: str) -> None:
        subprocess.run(["pactl", *arguments], env=self.environment, check=True, capture_output=True)


def chirps(seconds: float) -> NDArray[np.float32]:
    """Short chirps at irregular times: their envelope fits itself at one shift only. [seconds * RATE_HZ]"""
    chance = np.random.default_rng(0)
    t = np.arange(RATE_HZ // 10) / RATE_HZ
    sound = np.zeros(int(seconds * RATE_HZ), np.float32)
    at = 0
    while at + len(t) < len(sound):
        phase = 2 * np.pi * (200 * t + chance.uniform(2000, 20_000) * t**2)
        sound[at : at + len(t)] = 0.5 * np.sin(phase) * np.hanning(len(t))
        at += int(RATE_HZ * chance.uniform(0.15, 0.5))
    return sound


def delay_ms(wire: Path) -> float:
    """How much later the program says what the mouth said."""
    played = np.fromfile(wire, "<i2").reshape(-1, len(CHANNELS)).astype(np.float64)[3 * RATE_HZ :]
    both = played[:, [CHANNELS.index(MOUTH), 0]]
    n = len(both) // 48 * 48
    envelopes = np.sqrt((both[:n].reshape(-1, 48, 2) ** 2).mean(axis=1))  # one value a millisecond
    said, heard = (envelopes - envelopes.mean(axis=0)).T
    size = 2 * len(said)
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    return float(np.argmax(correlation[:2000]))  # later, never earlier
