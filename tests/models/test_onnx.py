"""The ONNX graphs say what the torch modules say: every kind of layer, book search and vocoder, frame after frame."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from sottovoce.models.codec import CodesToMel, MelCodec, MelToCodes
from sottovoce.models.config import MICRO, TINY, VOCODERS, HiFiGanConfig, Preset, QuantiserConfig
from sottovoce.models.mel import LogMel
from sottovoce.models.onnx_codec import TRAINED_ALONE, decoder_graph, encoder_graph, vocoder_graph
from sottovoce.models.onnx_graph import Graph, Weights
from sottovoce.models.onnx_layers import Frames, transposed_conv
from sottovoce.models.spectral import NumpyInverseSTFT, NumpyLogMel
from sottovoce.models.streaming import whole
from sottovoce.models.vocoder import make_vocoder
from sottovoce.models.vocos import InverseSTFT, Vocos
from sottovoce.models.weight_file import MEMORY, CheckpointError

FRAMES, ROWS = 6, 2
PIECES = (1, 3, 2)  # frames at once
HERE = Path("weights of this test")
DILATED = HiFiGanConfig(
    channels=16, rates=(8, 5, 3, 2), kernels=(16, 5, 6, 4), mrf_kernels=(3, 5), mrf_dilations=(1, 3)
)
PRESETS = {
    "cosine books": TINY,
    "plain books of the latent's width": dataclasses.replace(TINY, quantiser=QuantiserConfig(4, 32, 32, 32, "l2")),
    "plain books behind a projection": dataclasses.replace(TINY, quantiser=QuantiserConfig(3, 16, 32, 8, "l2")),
    "one mel frame to the code frame": MICRO,
    "Vocos": dataclasses.replace(TINY, vocoder=VOCODERS["tiny"]["vocos"]),
    "dilations and stages without overlap": dataclasses.replace(TINY, vocoder=DILATED),
}


def weights_of(module: nn.Module) -> dict[str, Any]:
    """As a weight file gives them."""
    return {key: value.numpy() for key, value in module.state_dict().items() if not key.endswith(MEMORY)}


def stir(module: nn.Module) -> nn.Module:
    """Weights that leave nothing at zero or one, where a mistake would not show."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval().requires_grad_(False)


def run(graph: onnx.ModelProto, x: np.ndarray, *pieces: int) -> list[np.ndarray]:
    """Step ``graph`` over x [rows, time, ...] in ``pieces`` from zero states; its outputs but the states, joined along time."""
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    data, *pasts = session.get_inputs()
    outputs = [output.name for output in session.get_outputs()]
    plain = [name for name in outputs if not name.startswith("next")]
    states = {past.name: np.zeros([len(x), *past.shape[1:]], np.float32) for past in pasts}
    said = []
    for piece in np.split(x, np.cumsum(pieces)[:-1], axis=1):
        answers = dict(zip(outputs, session.run(outputs, {data.name: piece, **states}), strict=True))
        states = {name: answers[name.replace("past", "next")] for name in states}
        said.append([answers[name] for name in plain])
    return [np.concatenate(parts, axis=1) for parts in zip(*said, strict=True)]


@pytest.fixture(params=PRESETS.values(), ids=PRESETS.keys())
def preset(request: pytest.FixtureRequest) -> Preset:
    found = request.param
    assert isinstance(found, Preset)
    return found


def speech_like_mel(preset: Preset) -> torch.Tensor:
    torch.manual_seed(4)
    return torch.randn(ROWS, preset.n_mels, FRAMES * preset.mels_per_frame) * 2 - 6


def test_encoder_and_search(preset: Preset) -> None:
    net = stir(MelCodec(preset))
    assert isinstance(net, MelCodec)
    mel, weights = speech_like_mel(preset), Weights(HERE, weights_of(net))
    expected = whole(MelToCodes(net), mel).numpy()
    graph = encoder_graph(preset, weights)
    (codes,) = run(graph, mel.transpose(1, 2).numpy(), *FRAMES * [preset.mels_per_frame])
    assert np.array_equal(codes.reshape(ROWS, FRAMES, preset.books), expected)


def test_sum_of_books_and_decoder(preset: Preset) -> None:
    net = stir(MelCodec(preset))
    assert isinstance(net, MelCodec)
    codes = torch.randint(0, preset.book_size, (ROWS, FRAMES, preset.books))
    codes[0, 2, 1:] = -1
    codes[1, 3] = -1
    expected = whole(CodesToMel(net), codes).transpose(1, 2).numpy()
    weights = Weights(HERE, weights_of(net))
    (mel,) = run(decoder_graph(preset, weights), codes.reshape(ROWS, -1).numpy(), *FRAMES * [preset.books])
    assert np.abs(mel - expected).max() <= 1e-4
    (at_once,) = run(decoder_graph(preset, weights, many=True), codes.numpy(), *PIECES)
    assert np.abs(at_once - mel).max() <= 1e-5 * np.abs(mel).max()
    assert np.abs(expected).max() > 1


def test_vocoder(preset: Preset) -> None:
    vocoder = stir(make_vocoder(preset))
    mel = speech_like_mel(preset)
    expected = whole(vocoder, mel).numpy()
    weights = Weights(HERE, weights_of(vocoder))
    x, steps = mel.transpose(1, 2).numpy(), preset.mels_per_frame
    said = run(vocoder_graph(preset, weights), x, *FRAMES * [steps])
    weights.check_all_used()
    at_once = run(vocoder_graph(preset, weights, many=True), x, *(n * steps for n in PIECES))
    for one, other in zip(said, at_once, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max()
    if isinstance(vocoder, Vocos):
        inverse = NumpyInverseSTFT(preset.mel.hop)
        pcm = inverse(said[0] + 1j * said[1], inverse.initial_state(ROWS))[0].clip(-1, 1)
    else:
        pcm = said[0]
    assert np.abs(expected).max() > 0.01
    assert np.abs(pcm - expected).max() <= 1e-4


def test_all_weights_of_a_codec_are_asked_for(preset: Preset) -> None:
    weights = Weights(HERE, weights_of(MelCodec(preset)))
    encoder_graph(preset, weights)
    with pytest.raises(CheckpointError, match="unexpected"):
        weights.check_all_used(but=TRAINED_ALONE)
    decoder_graph(preset, weights)
    weights.check_all_used(but=TRAINED_ALONE)


def test_front_end_and_inverse_stft_are_those_of_torch() -> None:
    torch.manual_seed(5)
    pcm = torch.randn(ROWS, 7 * TINY.mel.hop) * 0.1
    mel = NumpyLogMel(TINY.mel)
    said, _ = mel(pcm.numpy(), mel.initial_state(ROWS))
    assert np.abs(said - whole(LogMel(TINY.mel), pcm).transpose(1, 2).numpy()).max() <= 1e-4
    inverse, theirs = NumpyInverseSTFT(4), InverseSTFT(4)
    spectrum = torch.randn(ROWS, 5, 7, dtype=torch.complex64)
    said, _ = inverse(spectrum.numpy(), inverse.initial_state(ROWS))
    assert np.abs(said - whole(theirs, spectrum).numpy()).max() <= 1e-6


def test_an_overlap_that_is_not_half_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel 7 is neither"):
        transposed_conv(Graph("g"), Frames("x", 1, 2), Weights(HERE, {}), 2, kernel=7, stride=3)
