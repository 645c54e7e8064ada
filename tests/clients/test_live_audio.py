"""The live loopback against a sound card: real devices as far as PortAudio knows, and a real clock.

These tests take the time that they take; sound cannot be hurried. They are skipped where PulseAudio is missing.
"""

import importlib.util
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from support.program import command
from support.stalls import Stalls, hurry, watched
from support.virtual_card import RATE_HZ, VirtualCard, chirps, delay_ms, why_not

pytestmark = [pytest.mark.alone, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

SECONDS = 30
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def card(tmp_path: Path) -> Iterator[VirtualCard]:
    card = VirtualCard(tmp_path)
    yield card
    card.close()


BRIDGED_MS = 30
"""What the speaker bridges at least: of its reserve of 40 ms, 30 were left at the worst moment on a machine at rest.
A gap although all threads together waited less than that for a processor is a fault of ours."""


def loopback(card: VirtualCard, *options: str) -> "tuple[subprocess.CompletedProcess[str], Stalls]":
    """Run it ahead of ordinary programs, once it has loaded what it needs; also how long it was held up all the same."""
    sound = card.folder / "chirps.wav"
    soundfile.write(sound, chirps(SECONDS + 20), RATE_HZ)
    arguments = command("loopback", "--seconds", SECONDS, *options)
    with card.speaking(sound), subprocess.Popen(
        arguments, env=card.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as program:  # fmt: skip
        while program.poll() is None and not card.hears(program.pid):
            time.sleep(0.05)
        hurry(program.pid)
        with watched(program.pid, card.server.pid) as stalls:
            try:
                output, errors = program.communicate(timeout=SECONDS + 60)
            except BaseException:
                program.kill()
                raise
    return subprocess.CompletedProcess(arguments, program.returncode, output, errors), stalls


def engines() -> list[str]:
    """Echo always; base where what runs it and its weights are there."""
    weights = list((_ROOT / "models" / "weights").glob("base*.safetensors"))
    return ["echo", *(["base"] if weights and importlib.util.find_spec("onnxruntime") else [])]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("engine", engines())
def test_half_a_minute_without_a_gap_as_late_as_it_says(card: VirtualCard, engine: str) -> None:
    options = ["--backend", "echo"] if engine == "echo" else ["--preset", engine]
    with card.recording() as wire:
        result, stalls = loopback(card, *options)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    printed = re.search(r"live delay +(-?\d+) ms", result.stdout)
    assert printed, result.stdout
    clean = "0 overflows, 0 underflows, 0 ms skipped, 0 frames dropped" in result.stdout
    if not clean and stalls.worst_ms > BRIDGED_MS:
        pytest.skip(f"the program waited {stalls.worst_ms:.0f} ms for a processor: this cannot tell gaps of ours")
    assert clean, result.stdout
    assert abs(delay_ms(wire) - int(printed[1])) <= 20


@pytest.mark.timeout(60)
def test_a_card_that_is_unplugged_is_told_in_one_line(card: VirtualCard) -> None:
    with subprocess.Popen(
        command("loopback", "--backend", "echo", "--output", card.folder / "o.wav"), env=card.environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stderr
        while not any(part.stat().st_size > 20_000 for part in card.folder.glob(".o.wav.*")):
            assert program.poll() is None, program.stderr.read()
        card.unplug()
        assert program.wait(20) == 5
        text = program.stderr.read()
    assert "stopped; connect it again" in text
    assert text.count("\n") == 1
    assert not list(card.folder.glob("*o.wav*"))


def test_without_a_card_the_device_is_said_to_be_missing(card: VirtualCard) -> None:
    card.unplug()
    program = subprocess.run(
        command("loopback", "--backend", "echo"), env=card.environment, capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert program.returncode == 5
    assert program.stderr.startswith("sottovoce: ")
    assert program.stderr.count("\n") == 1
