"""The streaming law: cuts, rows and resets do not matter, for every module that hears time and for the whole chain."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sottovoce import models
from sottovoce.models.codec import Codec, CodesToMel, MelCodec, MelToCodes, OneByOne
from sottovoce.models.config import MICRO, TINY, VOCODERS, VocosConfig
from sottovoce.models.conv import CausalConv1d, CausalConvTranspose1d, ConvNeXtBlock, Stack
from sottovoce.models.frame_transformer import FrameTransformer
from sottovoce.models.griffin_lim import StreamingGriffinLim
from sottovoce.models.hifigan import HiFiGan, ResidualBlock, Upsampling
from sottovoce.models.lowered import Lowered
from sottovoce.models.mel import LogMel
from sottovoce.models.spectral import NumpyInverseSTFT, NumpyLogMel
from sottovoce.models.streaming import State, in_chunks, select_rows, tree_map, whole, write_rows
from sottovoce.models.talker import Talker
from sottovoce.models.talker_config import TALKER_TINY
from sottovoce.models.trunk import Decoder, Encoder, PerFrame
from sottovoce.models.vocos import InverseSTFT, Vocos

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Case:
    """A streaming module, what it hears, and the smallest step that it takes."""

    module: Any
    hear: Callable[[int, int], Tensor]  # rows, steps -> input
    unit: int = 1
    time: int = -1
    out_time: int = -1


class Numpy:
    """A streaming module of numpy arrays, as one of tensors."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def initial_state(self, batch: int) -> Tensor:
        return torch.from_numpy(self.inner.initial_state(batch))

    def __call__(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.inner(x.numpy(), state.numpy())
        return torch.from_numpy(y), torch.from_numpy(state)


class Stepped:
    """A talker, frame by frame: [B, T, Q + S * (D + 2)], codes and conditions side by side -> logits [B, T, Q * V]."""

    def __init__(self, inner: Talker) -> None:
        self.inner = inner

    def initial_state(self, batch: int) -> State:
        return self.inner.initial_state(batch)

    def __call__(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        config, said = self.inner.config, []
        greedy = torch.zeros(len(x), config.books, config.book_size), torch.ones(len(x), dtype=torch.int64)
        for frame in x.unbind(1):
            codes, told = frame[:, : config.books].long(), frame[:, config.books :]
            condition = told.unflatten(1, (config.mels_per_frame, config.condition_width))
            hidden, state = self.inner.step(codes, condition, torch.zeros(len(x), dtype=torch.int64), state)
            said.append(self.inner.write(hidden, *greedy)[1].flatten(1))
        return torch.stack(said, 1), state

    @staticmethod
    def hear(rows: int, steps: int) -> Tensor:
        codes = torch.randint(0, TALKER_TINY.book_size, (rows, steps, TALKER_TINY.books))
        told = torch.randn(rows, steps, TALKER_TINY.mels_per_frame * TALKER_TINY.condition_width)
        return torch.cat([codes, told], -1)


def noise(channels: int, unit: int = 1) -> Callable[[int, int], Tensor]:
    return lambda rows, steps: torch.randn(rows, channels, steps * unit)


def mel_like(preset: Any) -> Callable[[int, int], Tensor]:
    n = preset.mels_per_frame
    return lambda rows, steps: torch.randn(rows, preset.n_mels, steps * n) * 2 - 6


def pcm_like(unit: int) -> Callable[[int, int], Tensor]:
    return lambda rows, steps: torch.randn(rows, steps * unit) * 0.1


def spectra_like(bins: int) -> Callable[[int, int], Tensor]:
    return lambda rows, steps: torch.randn(rows, steps, bins, dtype=torch.complex64)


def codes_like(rows: int, steps: int) -> Tensor:
    return torch.randint(0, TINY.book_size, (rows, steps, TINY.books))


@cache
def cases() -> dict[str, Case]:
    torch.manual_seed(0)
    net = MelCodec(TINY).eval().requires_grad_(False)
    vocoder = HiFiGan(TINY.mel, TINY.vocoder).eval().requires_grad_(False)
    micro = MelCodec(MICRO).eval().requires_grad_(False)
    hop, frame = TINY.mel.hop, TINY.frame_samples
    shape = VOCODERS["tiny"]["vocos"]
    assert isinstance(shape, VocosConfig)
    vocos = Vocos(TINY.mel, shape).eval().requires_grad_(False)
    neural, plain = Codec(net, vocoder, ""), Codec(micro, StreamingGriffinLim(MICRO.mel), "")
    frames = FrameTransformer(TALKER_TINY)
    found = [
        Case(CausalConv1d(2, 3, 5, dilation=2), noise(2)),
        Case(CausalConv1d(2, 3, 8, stride=4), noise(2, 4), 4),
        Case(CausalConvTranspose1d(2, 3, 8, stride=4), noise(2)),
        Case(CausalConvTranspose1d(2, 3, 5, stride=5), noise(2)),
        Case(ConvNeXtBlock(4, 5, 2), noise(4)),
        Case(Stack(CausalConv1d(2, 3, 3), CausalConvTranspose1d(3, 2, 4, 2)), noise(2)),
        Case(PerFrame(4, 3), noise(4)),
        Case(ResidualBlock(4, 3, (1, 2)), noise(4)),
        Case(Upsampling(16, 8, 5, 10, TINY.vocoder), noise(16)),
        Case(LogMel(TINY.mel), pcm_like(hop), hop),
        Case(Numpy(NumpyLogMel(TINY.mel)), pcm_like(hop), hop, out_time=1),
        Case(Numpy(NumpyInverseSTFT(2)), spectra_like(4), time=1),
        Case(Encoder(TINY.mel, TINY.trunk), mel_like(TINY), 4),
        Case(Decoder(TINY.mel, TINY.trunk), noise(TINY.trunk.latent)),
        Case(MelToCodes(net), mel_like(TINY), 4, out_time=1),
        Case(CodesToMel(net), codes_like, time=1),
        Case(OneByOne(CodesToMel(net)), codes_like, time=1),
        Case(vocoder, mel_like(TINY), 4),
        Case(InverseSTFT(2), spectra_like(4), time=1),
        Case(vocos, mel_like(TINY), 4),
        Case(Lowered(Stack(CausalConv1d(2, 3, 3), CausalConvTranspose1d(3, 2, 4, 2)), torch.float64), noise(2)),
        Case(Codec(net, vocos, ""), pcm_like(frame), frame),
        Case(StreamingGriffinLim(MICRO.mel), mel_like(MICRO)),
        Case(frames, lambda rows, steps: torch.randn(rows, steps, TALKER_TINY.width), time=1, out_time=1),
        Case(Stepped(Talker(TALKER_TINY).eval().requires_grad_(False)), Stepped.hear, time=1, out_time=1),
        Case(neural, pcm_like(frame), frame),
        Case(plain, pcm_like(MICRO.frame_samples), MICRO.frame_samples),
    ]
    for case in found:
        if isinstance(case.module, torch.nn.Module):
            case.module.eval().requires_grad_(False)
    return {f"{i}-{type(case.module).__name__}": case for i, case in enumerate(found)}


NAMES = list(cases())


def assert_same(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    if got.is_floating_point():
        assert float((got - expected).abs().max()) <= TOLERANCE * max(1.0, float(expected.abs().max()))
    else:
        assert torch.equal(got, expected)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=7), seed=st.integers(0, 1000))
def test_cuts_do_not_matter(name: str, sizes: list[int], seed: int) -> None:
    case = cases()[name]
    torch.manual_seed(seed)
    x = case.hear(2, sum(sizes))
    chunks = [size * case.unit for size in sizes]
    assert_same(in_chunks(case.module, x, chunks, case.time, case.out_time), whole(case.module, x))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(data=st.data(), seed=st.integers(0, 1000))
def test_rows_step_rest_and_start_again_on_their_own(name: str, data: st.DataObject, seed: int) -> None:
    """Any mask of rows at any step, any row started afresh: each row says what it would say alone."""
    case = cases()[name]
    torch.manual_seed(seed)
    rows, steps = 3, 5
    x = case.hear(rows, steps)
    state = tree_map(torch.clone, case.module.initial_state(rows))
    fresh = case.module.initial_state(1)
    heard: list[list[Tensor]] = [[] for _ in range(rows)]
    said: list[list[Tensor]] = [[] for _ in range(rows)]
    for step in range(steps):
        for row in range(rows):
            if data.draw(st.booleans()) and data.draw(st.booleans()):
                write_rows(state, torch.tensor([row]), fresh)
                heard[row], said[row] = [], []
        stepping = torch.tensor([row for row in range(rows) if data.draw(st.booleans())], dtype=torch.int64)
        if not len(stepping):
            continue
        piece = x.narrow(case.time, step * case.unit, case.unit)[stepping]
        y, part = case.module(piece, select_rows(state, stepping))
        write_rows(state, stepping, part)
        for i, row in enumerate(stepping.tolist()):
            heard[row].append(piece[i : i + 1])
            said[row].append(y[i : i + 1])
    for row in range(rows):
        if heard[row]:
            alone = whole(case.module, torch.cat(heard[row], case.time))
            assert_same(torch.cat(said[row], case.out_time), alone)


@pytest.mark.parametrize("name", NAMES)
def test_no_module_remembers_a_stream(name: str) -> None:
    case = cases()[name]
    x = case.hear(1, 3)
    first = whole(case.module, x)
    whole(case.module, case.hear(2, 2))
    assert torch.equal(whole(case.module, x), first)


def test_every_streaming_module_is_under_the_law() -> None:
    """A new module with a state joins the list above, or this fails."""
    tested = {type(getattr(case.module, "inner", case.module)) for case in cases().values()}
    tested |= {type(case.module) for case in cases().values()}
    streaming = set()
    for info in pkgutil.iter_modules(models.__path__):
        module = importlib.import_module(f"sottovoce.models.{info.name}")
        for _, found in inspect.getmembers(module, inspect.isclass):
            own = found.__module__ == module.__name__
            if own and hasattr(found, "initial_state") and not getattr(found, "_is_protocol", False):
                streaming.add(found)
    assert streaming
    assert streaming <= tested
