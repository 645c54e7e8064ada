"""A whole utterance at once, offline: for evaluation and tests. What speaks live steps the same parts frame by frame."""

import numpy as np
import torch
from numpy.typing import NDArray

from .alignment import conditions, round_slots
from .sampling import Noise, Sampling
from .talker import Talker

Integers = NDArray[np.int64]


@torch.no_grad()
def speak(
    talker: Talker,
    symbols: Integers,
    voice: int = 0,
    sampling: Sampling | None = None,
    speed: float = 1.0,
    slots: Integers | None = None,
) -> tuple[Integers, Integers]:
    """Codes [T, Q] of one clause, and the slots [P] that its symbols took.

    Args:
        symbols: ids [P].
        voice: number of the voice.
        sampling: None: the likeliest code each time.
        speed: times the pace; larger is faster.
        slots: how long each symbol lasts, in place of the talker's own idea.

    Raises:
        ValueError: slots and symbols do not fit, or ``speed`` is not a positive number.
    """
    config, device = talker.config, talker.voices.weight.device
    sampling = sampling or Sampling(temperature=0)
    who = torch.tensor([voice], device=device)
    encodings, durations = talker.clause(torch.from_numpy(symbols).to(device)[None], who)
    if slots is None:
        slots = round_slots(durations[0].float().cpu().numpy(), symbols, config.mels_per_frame, speed)
    told = conditions(encodings[0].float().cpu().numpy(), slots, config.mels_per_frame)
    noise, top_k = Noise(sampling, config.books, config.book_size), torch.tensor([sampling.top_k], device=device)
    codes, state, said = talker.start_frame(1), talker.initial_state(1), []
    for condition in torch.from_numpy(told).to(device):
        hidden, state = talker.step(codes, condition[None], who, state)
        codes, _ = talker.write(hidden, torch.from_numpy(noise.next()).to(device)[None], top_k)
        said.append(codes[0])
    return torch.stack(said).cpu().numpy(), slots
