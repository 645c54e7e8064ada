"""When each symbol of a text is spoken: a network that names what every 10 ms of speech are, and the best path through them.

The network classifies mel frames. It learns from speech whose times are known (a teacher that synthesises tells them), and
then also from speech with text alone, by the sum over all monotonic paths (the forward algorithm, as in RAD-TTS and "One TTS
Alignment To Rule Them All", arXiv 2108.10447). Times are read off the best path (Viterbi 1967) through the symbols of the
text, each a slot long at least, over likelihoods scaled by how frequent a class is (Bourlard and Morgan 1994).

All punctuation sounds alike, as silence: it is one class with the pause. A space may hold a pause too, since people pause
where no comma stands. It looks both ways in time and is for training alone.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sottovoce.models.config import MEL_MEAN, MEL_SPREAD
from sottovoce.models.symbols import PAUSE, PUNCTUATION, SYMBOLS
from sottovoce.models.weight_file import CheckpointError

SILENCE = 0
SPACE = SYMBOLS.index(" ")
CLASSES = len(SYMBOLS)
CLASS_OF = np.array([SILENCE if symbol in (PAUSE, *PUNCTUATION) else i for i, symbol in enumerate(SYMBOLS)])
"""The class of each symbol id."""
LEAST_PRIOR = 1e-4  # a class that was hardly ever seen must not look likely everywhere
NEVER = -1e9


@dataclass(frozen=True)
class AlignerConfig:
    """Shape of an aligner."""

    n_mels: int = 128
    width: int = 160
    blocks: int = 5
    kernel: int = 9


class Block(nn.Module):
    """ConvNeXt block (arXiv 2201.03545) that looks both ways: [B, T, D] -> the same shape."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.rise = nn.Linear(width, 2 * width)
        self.fall = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        added: Tensor = self.fall(F.gelu(self.rise(y)))
        return x + added


class Aligner(nn.Module):
    """Log-mel [B, M, T] -> logits [B, T, CLASSES]."""

    seen: Tensor

    def __init__(self, config: AlignerConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv1d(config.n_mels, config.width, 5, padding=2)
        self.blocks = nn.Sequential(*(Block(config.width, config.kernel) for _ in range(config.blocks)))
        self.head = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, CLASSES))
        self.register_buffer("seen", torch.ones(CLASSES))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.stem((mel - MEL_MEAN) / MEL_SPREAD).transpose(1, 2)
        logits: Tensor = self.head(self.blocks(x))
        return logits

    def scores(self, logits: Tensor) -> Tensor:
        """Scaled likelihoods [B, T, CLASSES]: how much likelier a frame is in a class than anywhere, as logarithms.

        ``seen`` counts the slots of each class in training; a space is whatever is likelier, itself or silence.
        """
        prior = (self.seen / self.seen.sum()).clamp(min=LEAST_PRIOR).log()
        scaled = logits.log_softmax(-1) - prior
        space = torch.maximum(scaled[..., SPACE], scaled[..., SILENCE])
        return torch.cat([scaled[..., :SPACE], space[..., None], scaled[..., SPACE + 1 :]], -1)


def along(scores: Tensor, symbols: Tensor) -> Tensor:
    """Scores [B, T, P] of the symbols int64 [B, P] of each row, from those of the classes [B, T, CLASSES]."""
    of_class = torch.from_numpy(CLASS_OF).to(symbols.device)[symbols]
    return scores.gather(2, of_class[:, None].expand(-1, scores.shape[1], -1))


def forward_sum(scores: Tensor, n_slots: Tensor, n_symbols: Tensor) -> Tensor:
    """Log of the sum over all monotonic paths through scores [B, T, P], [B]; each symbol lasts one slot or more.

    Args:
        scores: of what lies beyond a row's ``n_slots`` and ``n_symbols`` nothing is used.
    """
    reached = scores.new_full(scores[:, 0].shape, NEVER)
    reached = torch.cat([scores[:, 0, :1], reached[:, 1:]], 1)
    result = reached
    for t in range(1, scores.shape[1]):
        came = F.pad(reached[:, :-1], (1, 0), value=NEVER)
        reached = torch.logaddexp(reached, came) + scores[:, t]
        result = torch.where((t < n_slots)[:, None], reached, result)
    return result.gather(1, (n_symbols - 1)[:, None]).squeeze(1)


def best_path(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Slots [P] of the likeliest monotonic path through scores [T, P], each one or more.

    Raises:
        ValueError: fewer slots than symbols.
    """
    n_slots, n_symbols = scores.shape
    if n_slots < n_symbols or not n_symbols:
        raise ValueError(f"{n_symbols} symbols do not fit into {n_slots} slots")
    reached = np.full(n_symbols + 1, NEVER)  # with a place before the first symbol
    reached[1] = scores[0, 0]
    moved = np.zeros((n_slots, n_symbols), bool)
    for t in range(1, n_slots):
        moved[t] = reached[:-1] > reached[1:]
        reached[1:] = np.maximum(reached[:-1], reached[1:]) + scores[t]
        reached[0] = NEVER
    slots = np.zeros(n_symbols, np.int64)
    at = n_symbols - 1
    for t in range(n_slots - 1, -1, -1):
        slots[at] += 1
        at -= int(moved[t, at])
    return slots


@torch.no_grad()
def forced(aligner: Aligner, mel: Tensor, symbols: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
    """Slots [P] of ``symbols`` [P] in mel [M, T], and how well they fit: mean score a slot (about 2 to 4 where the text is
    what is said, near or below 0 where it is not).

    Raises:
        ValueError: more symbols than slots.
    """
    scores = aligner.scores(aligner(mel[None]))
    path = along(scores, torch.from_numpy(symbols)[None])[0].numpy()
    slots = best_path(path)
    spoken = np.repeat(np.arange(len(slots)), slots)
    return slots, float(path[np.arange(len(path)), spoken].mean())


def save_aligner(path: Path, aligner: Aligner, notes: dict[str, str]) -> None:
    """Weights in float32 with the shape in their metadata."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in aligner.state_dict().items()}
    about = {"aligner": json.dumps(asdict(aligner.config)), "symbols": json.dumps(SYMBOLS), **notes}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=about)
    partial.replace(path)


def load_aligner(path: Path) -> Aligner:
    """Raises CheckpointError: missing, damaged, not an aligner, or one for another alphabet."""
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
        if json.loads(about["symbols"]) != list(SYMBOLS):
            raise CheckpointError(path, "an aligner for another alphabet; train it anew with training.align")
        aligner = Aligner(AlignerConfig(**json.loads(about["aligner"])))
        aligner.load_state_dict(load_file(path))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(path, f"not an aligner ({str(error).splitlines()[0]:.100})") from error
    return aligner.eval().requires_grad_(False)
