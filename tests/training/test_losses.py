"""What narrow recordings lack is not held against the sound that is made."""

import torch

from sottovoce.training.losses import NARROWBAND_TOP_HZ, MultiScaleMel, as_recorded

RATE_HZ = 24_000


def test_only_narrow_rows_are_spared_and_only_above_their_band() -> None:
    torch.manual_seed(0)
    made = (torch.randn(2, 9600) * 0.1).requires_grad_()
    real, wideband = torch.randn(2, 9600) * 0.1, torch.tensor([False, True])
    heard, wanted = (as_recorded(pcm, wideband, RATE_HZ) for pcm in (made, real))
    assert torch.allclose(heard[1], made[1], atol=1e-6)
    MultiScaleMel(RATE_HZ)(heard, wanted).backward()
    assert made.grad is not None
    energy = torch.fft.rfft(made.grad).abs().square()
    above = torch.linspace(0, RATE_HZ / 2, energy.shape[-1]) > NARROWBAND_TOP_HZ + 10
    share = energy[:, above].sum(-1) / energy.sum(-1)
    assert share[0] < 1e-6 < 0.1 < share[1]


def test_a_narrow_recording_is_itself() -> None:
    seconds = torch.arange(4800) / RATE_HZ
    tone = torch.sin(2 * torch.pi * 1000 * seconds)[None]
    assert torch.allclose(as_recorded(tone, torch.tensor([False]), RATE_HZ), tone, atol=1e-4)
