"""A teacher that every test can afford: each sound is a tone of its own, each pause is silent, and all times are known."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sottovoce.models.alignment import IS_SOUND
from sottovoce.models.symbols import PAUSE, SYMBOLS

RATE_HZ = 24_000
GRID_S = 0.025
WORDS = "həlˈO wˈɜɹld ɡˈʊd mˈɔɹnɪŋ sˈi ðə ʃˈɪp jˈɛs nˈO fˈʌn bˈæk tˈɑp kˈʊl".split()  # noqa: SIM905


def pitch_hz(symbol: str) -> float:
    """Far enough from the next symbol's that a mel band tells them apart."""
    return 250.0 * 1.05 ** SYMBOLS.index(symbol)


def spoken(symbols: Sequence[str], durations_s: Sequence[float], seed: int = 0) -> NDArray[np.float32]:
    """[T] at 24 kHz. Marks sound as the sound behind them, as they do in speech."""
    random = np.random.default_rng(seed)
    ends = np.rint(np.cumsum(durations_s) * RATE_HZ).astype(int)
    pcm = random.normal(0, 2e-4, ends[-1])
    for i, symbol in enumerate(symbols):
        begin = ends[i - 1] if i else 0
        sounding = next((s for s in symbols[i:] if s not in "ˈˌː"), PAUSE) if symbol in "ˈˌː" else symbol
        if IS_SOUND[SYMBOLS.index(sounding)]:
            t = np.arange(begin, ends[i]) / RATE_HZ
            pcm[begin : ends[i]] += 0.2 * np.sin(2 * np.pi * pitch_hz(sounding) * t)
    return pcm.astype(np.float32)


def timed(phonemes: str, random: np.random.Generator) -> tuple[list[str], list[float]]:
    """Symbols between two pauses, and how long each lasts, on the teachers' grid."""
    symbols = [PAUSE, *phonemes, PAUSE]
    durations = [GRID_S * int(random.integers(1, 5)) for _ in symbols]
    durations[0] = 0.3
    return symbols, durations


def teach(folder: Path, count: int, voices: Sequence[str] = ("af_one", "am_two"), seed: int = 0) -> Path:
    """A folder as a teacher writes it: ``count`` utterances, the voices in turn."""
    random = np.random.default_rng(seed)
    (folder / "wavs").mkdir(parents=True)
    with (folder / "manifest.jsonl").open("w", encoding="utf-8") as file:
        for i in range(count):
            words = [WORDS[int(j)] for j in random.integers(len(WORDS), size=int(random.integers(2, 6)))]
            comma = ", " if i % 2 else " "
            symbols, durations = timed(comma.join(words) + ".", random)
            name = f"wavs/{i:04d}.flac"
            soundfile.write(folder / name, pcm := spoken(symbols, durations, i), RATE_HZ)
            line = {
                "id": f"{i:04d}", "file": name, "text": " ".join(words), "voice": voices[i % len(voices)],
                "teacher": "kokoro", "seconds": len(pcm) / RATE_HZ,
                "phones": [*symbols[:-1], "</s>"], "durations": durations,
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    return folder
