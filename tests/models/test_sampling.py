"""Choosing codes: the softmax at a temperature, rows that are their own, seeds that repeat."""

import numpy as np
import pytest
import torch

from sottovoce.models.sampling import Noise, Sampling
from sottovoce.models.talker import _choose


def test_choices_follow_the_softmax_at_the_temperature() -> None:
    """20 000 draws; a share of p then has a spread of less than 0.004."""
    logits = np.array([2.0, 1.0, 0.0, -1.0, -5.0], np.float32)
    noise = Noise(Sampling(temperature=0.7, seed=3), 20_000, 5).next()
    chosen = _choose(torch.from_numpy(logits).expand(20_000, -1), torch.from_numpy(noise), torch.full((20_000,), 3), 3)
    shares = np.bincount(chosen.numpy(), minlength=5) / 20_000
    expected = np.exp(logits / 0.7) * (np.arange(5) < 3)
    assert np.abs(shares - expected / expected.sum()).max() < 0.015
    assert shares[3:].sum() == 0  # beyond the top three


def test_temperature_zero_is_the_likeliest_and_draws_nothing() -> None:
    assert not Noise(Sampling(temperature=0, seed=9), 3, 7).next().any()


def test_a_seed_repeats_and_frames_differ() -> None:
    one, same, other = (Noise(Sampling(seed=seed), 2, 64) for seed in (1, 1, 2))
    first = one.next()
    assert np.array_equal(first, same.next())
    assert not np.array_equal(first, other.next())
    assert not np.array_equal(first, one.next())
    assert np.isfinite(first).all()
    assert first.dtype == np.float32


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_k": 0}, "top-k"),
        ({"seed": -1}, "seed"),
    ],
)
def test_sampling_that_cannot_be_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Sampling(**wrong)  # type: ignore[arg-type]
