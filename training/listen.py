"""What a training sounds and looks like on its way: pictures of mel and sound for TensorBoard.

tensorboard --logdir runs
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .distributed import Group

LISTENED_TO = -1_000_000  # number of the batch that is listened to: no training draws it
LOWEST, HIGHEST = -11.5, 2.0  # log-mel that is black and white


class Listener:
    """Every ``every`` steps (0: never) writes what it is given into ``folder``; the first process alone does."""

    def __init__(self, folder: Path, rate_hz: int, every: int, group: Group) -> None:
        self.rate_hz, self.every = rate_hz, every
        if not every or group.rank:
            self.every = 0
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("no pictures and sounds: pip install 'sottovoce[train]' brings TensorBoard", file=sys.stderr)
            self.every = 0
            return
        self.writer = SummaryWriter(str(folder))

    def wants(self, step: int) -> bool:
        """Whether this is a step to listen at. What is computed for it must not touch chance: see ``aside``."""
        return bool(self.every) and step % self.every == 0

    def show(self, step: int, mels: Mapping[str, Tensor], sounds: Mapping[str, Tensor]) -> None:
        """Mel [n, M, T] and sound [n, T] by name, n clips each: one picture and one player for each of them."""
        for name, mel in mels.items():
            for i, picture in enumerate(((mel - LOWEST) / (HIGHEST - LOWEST)).clamp(0, 1).flip(1).cpu()):
                self.writer.add_image(f"clip {i}/{name}", picture[None], step)
        for name, pcm in sounds.items():
            for i, row in enumerate(pcm.clamp(-1, 1).cpu()):
                self.writer.add_audio(f"clip {i}/{name}", row[None], step, self.rate_hz)
        self.writer.flush()


class aside:
    """Inside: no gradients, ``modules`` as in use, and chance as it was afterwards."""

    def __init__(self, *modules: torch.nn.Module) -> None:
        self.modules = modules

    def __enter__(self) -> None:
        self.chance = torch.get_rng_state()
        self.no_grad = torch.no_grad()
        self.no_grad.__enter__()
        self.were = [module.training for module in self.modules]
        for module in self.modules:
            module.eval()

    def __exit__(self, *error: object) -> None:
        for module, was in zip(self.modules, self.were, strict=True):
            module.train(was)
        self.no_grad.__exit__(None, None, None)
        torch.set_rng_state(self.chance)
