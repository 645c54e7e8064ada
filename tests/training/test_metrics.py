"""Judges: less noise is never worse, what cannot be told is None, what is missing says how to get it."""

import builtins
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from sottovoce.training import metrics
from sottovoce.training.metrics import KINDS, RATE_HZ, load, score_one
from sottovoce.training.recordings import Pcm

CLIP = Path(__file__).parents[2] / "clients" / "demo.flac"
MODULES = {"pesq": "pesq", "estoi": "pystoi", "visqol": "visqol", "mel": "torch", "dnsmos": "speechmos"}
MODULES["speaker"] = "resemblyzer"
QUICK = [name for name in KINDS if name != "dnsmos"]


@pytest.fixture(scope="module")
def speech() -> Pcm:
    pcm, rate_hz = soundfile.read(CLIP, dtype="float32")
    resampled: Pcm = soxr.resample(pcm[: 3 * rate_hz], rate_hz, RATE_HZ)
    return resampled


def noisy(pcm: Pcm, snr_db: float) -> Pcm:
    noise = np.random.default_rng(0).normal(0, 1, len(pcm))
    scale = np.sqrt((pcm**2).mean() / 10 ** (snr_db / 10))
    return np.clip(pcm + scale * noise, -1, 1).astype(np.float32)


def made(name: str) -> metrics.Judge:
    if not importlib.util.find_spec(MODULES[name]):
        pytest.skip(f"{MODULES[name]} is not installed")
    found, missing = load([name])
    assert not missing
    return found[0].judge


@pytest.mark.parametrize("name", QUICK)
def test_less_noise_is_better(name: str, speech: Pcm) -> None:
    judge = made(name)
    values = [judge(speech, noisy(speech, snr_db)) for snr_db in (20, 30, 40)] + [judge(speech, speech)]
    assert values == sorted(values, reverse=not KINDS[name].higher)  # type: ignore[type-var]
    assert len(set(values)) == 4


@pytest.mark.parametrize(
    ("name", "best"), [("pesq", 4.64), ("estoi", 1.0), ("visqol", 4.6), ("mel", 0.0), ("speaker", 1)]
)
def test_the_original_itself_is_the_best_there_is(name: str, best: float, speech: Pcm) -> None:
    assert made(name)(speech, speech) == pytest.approx(best, abs=0.02)


def test_a_decoder_that_says_nothing_scores_the_least(speech: Pcm) -> None:
    pesq = made("pesq")
    silence = np.zeros_like(speech)
    assert pesq(speech, silence) == pytest.approx(1.043, abs=1e-3)
    assert pesq(silence, silence) is None  # nothing was said in the original


def test_too_little_speech_for_estoi_is_no_figure(speech: Pcm) -> None:
    estoi = made("estoi")
    short = np.zeros_like(speech)
    short[: RATE_HZ // 5] = speech[RATE_HZ : RATE_HZ + RATE_HZ // 5]
    assert estoi(short, short) is None
    silent = estoi(speech, np.zeros_like(speech))
    assert isinstance(silent, float)
    assert abs(silent) < 0.2


def test_what_is_not_finite_does_not_count() -> None:
    assert score_one(None, "") == (0.0, 0.0)
    assert score_one(float("nan"), "") == (0.0, 0.0)
    assert score_one(2.5, "") == (2.5, 1.0)


@pytest.mark.parametrize("name", [name for name in metrics.NAMES if name != "mel"])
def test_a_missing_package_is_named_with_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = {"pesq", "pystoi", "visqol", "speechmos", "resemblyzer", "faster_whisper", "jiwer"}
    real = builtins.__import__

    def refuse(module: str, *rest: Any, **named: Any) -> Any:
        if module.split(".")[0] in blocked or (module == "recognise" and rest[-1:] == (1,)):
            raise ModuleNotFoundError(f"No module named {module!r}")
        return real(module, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found, missing = load(["mel", name])
    assert [metric.name for metric in found] == ["mel"]
    assert "not installed (No module named" in missing[name]
    assert "pip install" in missing[name]


def test_wrong_words_are_counted_after_normalising() -> None:
    pytest.importorskip("jiwer")
    recognise = pytest.importorskip("sottovoce.training.recognise")
    recogniser = object.__new__(recognise.Recogniser)  # its ears take long to load and are not needed here
    recogniser.normalise = recognise.EnglishTextNormalizer()
    assert recogniser.word_errors("The colour, twenty!", "the color 20") == (0, 3)
    assert recogniser.word_errors("a red cat sat", "a cat sat down low") == (3, 4)
    assert recogniser.word_errors("a cat sat", "") == (3, 3)
    assert recogniser.word_errors("[noise]", "hello") == (0, 0)
