"""bfloat16 and compiled blocks: the same model, nearly the same numbers, float32 where it matters."""

import dataclasses
import functools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sottovoce.models.codec import MelCodec
from sottovoce.models.config import TINY, VOCODERS
from sottovoce.models.streaming import whole
from sottovoce.models.vocoder import make_vocoder
from sottovoce.training import precision
from sottovoce.training.command import parser
from sottovoce.training.discriminators import KINDS, Judges
from sottovoce.training.precision import Precision, asked_for

PRESETS = [dataclasses.replace(TINY, vocoder=VOCODERS["tiny"][kind]) for kind in ("hifigan", "vocos")]


def sound_and_gradient(vocoder: nn.Module, mel: Tensor) -> tuple[Tensor, Tensor]:
    made = whole(vocoder, mel)  # type: ignore[arg-type]
    vocoder.zero_grad()
    made.square().mean().backward()
    return made.detach(), torch.cat([p.grad.flatten() for p in vocoder.parameters() if p.grad is not None])


@pytest.mark.parametrize("preset", PRESETS, ids=["hifigan", "vocos"])
def test_a_vocoder_in_bfloat16_sounds_the_same_and_stays_float32(preset: "object") -> None:
    torch.manual_seed(0)
    vocoder = make_vocoder(preset)  # type: ignore[arg-type]
    keys = list(vocoder.state_dict())
    mel = torch.randn(2, 128, 12) - 3
    exact, straight = sound_and_gradient(vocoder, mel)
    Precision(bf16=True).apply(vocoder)
    made, bent = sound_and_gradient(vocoder, mel)
    assert made.dtype == bent.dtype == torch.float32
    assert list(vocoder.state_dict()) == keys
    assert not torch.equal(made, exact)
    assert float((made - exact).abs().max()) < 0.02 * float(exact.abs().max())
    assert float(torch.cosine_similarity(straight, bent, dim=0)) > 0.99


def test_the_codec_chooses_almost_the_same_codes() -> None:
    torch.manual_seed(0)
    net = MelCodec(TINY)
    mel = torch.randn(4, 128, 80) - 6
    net.start(mel)
    net.eval()
    with torch.no_grad():
        exact, before = net(mel)
        Precision(bf16=True).apply(net)
        decoded, after = net(mel)
    assert decoded.dtype == after.latent.dtype == torch.float32
    assert float((before.codes == after.codes).float().mean()) > 0.95
    assert float((decoded - exact).abs().mean()) < 0.1


def test_judges_in_bfloat16_say_the_same() -> None:
    judges = Judges((2, 3), 4, KINDS)
    pcm = 0.1 * torch.randn(2, 3600)
    exact, _ = judges(pcm, [0, 2, 5])
    Precision(bf16=True).apply(judges)
    scores, features = judges(pcm, [0, 2, 5])
    assert all(score.dtype == torch.float32 for score in scores)
    assert all(layer.dtype == torch.float32 for layers in features for layer in layers)
    for score, other in zip(scores, exact, strict=True):
        assert float((score - other).detach().abs().max()) < 0.02


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo looks at it
def test_compiled_blocks_are_traced_whole_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the compiler's front: what it makes of it on a GPU is its own affair. One graph a kind of block."""
    whole_graph = functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(precision.torch, "compile", whole_graph)
    torch.manual_seed(0)
    vocoder = make_vocoder(PRESETS[1])
    mel = torch.randn(2, 128, 12) - 3
    exact, straight = sound_and_gradient(vocoder, mel)
    Precision(compiled=True).apply(vocoder)
    made, same = sound_and_gradient(vocoder, mel)
    assert torch.allclose(made, exact, atol=1e-5)
    assert torch.allclose(same, straight, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (False, False)),
        (["--device", "cuda"], (True, True)),
        (["--device", "cuda:1", "--no-compile"], (True, False)),
        (["--bf16"], (True, False)),
    ],
)
def test_a_gpu_is_fast_unless_told_otherwise(options: list[str], expected: tuple[bool, bool]) -> None:
    args = parser(None, 1, 1, 1.0, 1.0).parse_args(["--out", str(Path("x")), *options])
    assert asked_for(args) == Precision(*expected)
