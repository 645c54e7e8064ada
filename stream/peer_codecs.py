"""Other people's codecs and vocoders on random weights, to measure our speed beside theirs: speed needs no trained ones.

=======  ==================================================  =====================================================
peer     what one step does                                  from
=======  ==================================================  =====================================================
encodec  encode and decode a chunk, 8 books (6 kbit/s)       PyPI ``encodec``, the causal 24 kHz model (2210.13438)
mimi     streaming encode and decode, 8 books (1.1 kbit/s)   PyPI ``moshi`` (2410.00037); its frame is 80 ms
vocos    mel to sound, 100 bands, hop 256                    PyPI ``vocos``, the 24 kHz model (2306.00814)
=======  ==================================================  =====================================================

EnCodec and Vocos keep no state between chunks: their chunks click, but cost what they would cost. Weight normalisation is
folded into the weights, which their own code leaves undone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch
from torch import nn
from torch.nn.utils import remove_weight_norm

from .errors import UsageError

RATE_HZ = 24_000
BOOKS = 8


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them, ready to step."""

    name: str
    version: str
    does: str
    "Which of our stages do the same: ``all`` or ``vocode``."
    chunk_ms: float
    step: Callable[[], Any]


def make_peer(name: str, chunk_ms: float, threads: int) -> Peer:
    """Sets torch's threads for the whole process.

    Args:
        name: of the table above.
        chunk_ms: of one step; Mimi takes the next multiple of its frame, Vocos of its hop.

    Raises:
        UsageError: there is no such peer, or its package is not installed or does not load.
    """
    if name not in PEERS:
        raise UsageError(f"there is no peer {name!r}; choose of {', '.join(PEERS)}")
    package, make = PEERS[name]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            does, n_samples, step = make(round(chunk_ms * RATE_HZ / 1000))
    except (
        ImportError,
        OSError,
        RuntimeError,
    ) as error:  # a library of theirs lacks one of its own, or wants another torch
        reason = str(error).splitlines()[0]
        raise UsageError(f"{name} needs the package {package}, which does not load: {reason}") from error
    return Peer(name, version(package), does, 1000 * n_samples / RATE_HZ, torch.inference_mode()(step))


def _encodec(n_samples: int) -> tuple[str, int, Callable[[], Any]]:
    model = import_module("encodec").EncodecModel.encodec_model_24khz(pretrained=False)
    model.set_target_bandwidth(0.75 * BOOKS)
    _fold(model)
    pcm = 0.1 * torch.randn(1, 1, n_samples)
    return "all", n_samples, lambda: model.decode(model.encode(pcm))


def _mimi(n_samples: int) -> tuple[str, int, Callable[[], Any]]:
    model = import_module("moshi.models.loaders").get_mimi(None, device="cpu", num_codebooks=BOOKS)
    model.streaming_forever(1)
    n_samples = -(-n_samples // model.frame_size) * model.frame_size
    pcm = 0.1 * torch.randn(1, 1, n_samples)
    return "all", n_samples, lambda: model.decode(model.encode(pcm))


def _vocos(n_samples: int) -> tuple[str, int, Callable[[], Any]]:
    hop, bands, width = 256, 100, 512
    backbone = import_module("vocos.models").VocosBackbone(bands, width, 3 * width, 8).eval()
    head = import_module("vocos.heads").ISTFTHead(width, 4 * hop, hop, "center").eval()
    n_frames = -(-n_samples // hop)
    mel = torch.randn(1, bands, n_frames)
    return "vocode", n_frames * hop, lambda: head(backbone(mel))


PEERS: dict[str, tuple[str, Callable[[int], tuple[str, int, Callable[[], Any]]]]] = {
    "encodec": ("encodec", _encodec),
    "mimi": ("moshi", _mimi),
    "vocos": ("vocos", _vocos),
}


def _fold(model: nn.Module) -> None:
    for part in model.modules():
        if hasattr(part, "weight_g") or hasattr(part, "weight_hh_l0_g"):
            remove_weight_norm(part)
