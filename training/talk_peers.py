"""Programs that speak a text, to be measured beside ours: espeak-ng, flite and piper, where they are installed."""

import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import soundfile

from .recordings import Pcm

TIMEOUT_S = 300


class PeerFailed(Exception):
    """A program gave no sound; the message says why."""


@dataclass(frozen=True, slots=True)
class TextPeer:
    """A program that writes a WAV file."""

    name: str
    program: str
    arguments: tuple[str, ...]
    "``{text}`` and ``{wav}`` stand for themselves; a text that is not named goes to the standard input."
    package: str

    def missing(self) -> str | None:
        """What to do before it can run; None: nothing."""
        return None if shutil.which(self.program) else f"not installed ({self.program}); {self.package}"

    def say(self, text: str) -> tuple[Pcm, int, float]:
        """Samples [T], their rate, and how many seconds it took. Raises PeerFailed."""
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder) / "said.wav"
            words = [word.format(text=text, wav=wav) for word in self.arguments]
            given = None if any("{text}" in word for word in self.arguments) else text
            began = time.perf_counter()
            try:
                subprocess.run(
                    [self.program, *words], input=given, text=True, check=True, capture_output=True, timeout=TIMEOUT_S
                )
                took_s = time.perf_counter() - began
                pcm, rate_hz = soundfile.read(wav, dtype="float32", always_2d=True)
            except subprocess.CalledProcessError as error:
                said = (error.stderr or "").strip().splitlines()
                raise PeerFailed(f"{self.name}: {said[-1] if said else f'exit status {error.returncode}'}") from error
            except (OSError, subprocess.TimeoutExpired, soundfile.LibsndfileError) as error:
                raise PeerFailed(f"{self.name}: {error}") from error
        if not len(pcm):
            raise PeerFailed(f"{self.name} said nothing")
        return pcm.mean(1), rate_hz, took_s


def peers(piper: Path | None = None) -> list[TextPeer]:
    """All that we know of; ``piper`` is the ONNX model of a voice, without which there is no piper."""
    known = [
        TextPeer("espeak-ng", "espeak-ng", ("-v", "en-us", "-w", "{wav}", "--", "{text}"), "apt-get install espeak-ng"),
        TextPeer("flite slt", "flite", ("-voice", "slt", "-t", "{text}", "-o", "{wav}"), "apt-get install flite"),
        TextPeer("flite rms", "flite", ("-voice", "rms", "-t", "{text}", "-o", "{wav}"), "apt-get install flite"),
    ]
    if piper:
        arguments = ("--model", str(piper), "--output_file", "{wav}")
        known.append(TextPeer(f"piper {piper.stem}", "piper", arguments, "pip install piper-tts"))
    return known
