"""A training run's folder: its log, its checkpoints, where it stopped and how it goes on.

``log.jsonl`` has one line of numbers a logged step; ``state.pt`` holds everything to resume, replaced whole. A run that was
stopped and goes on takes the same steps with the same batches as one that was not.
"""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Diverged(Exception):
    """Training cannot go on: a loss is not finite, or a codebook died."""


class Run:
    """Counts steps, keeps time, writes the log, saves and resumes ``parts`` (modules and optimisers by name)."""

    def __init__(
        self, folder: Path, steps: int, minutes: float, save_every_s: float = 180, log_every: int = 20
    ) -> None:
        self.folder, self.n_steps, self.minutes = folder, steps, minutes
        self.save_every_s, self.log_every = save_every_s, log_every
        self.parts: dict[str, Any] = {}
        self.step = 0
        self.trained_s = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self, **parts: Any) -> None:
        """Name what is to be saved, and load it where the folder has a state."""
        self.parts = parts
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True, map_location="cpu")
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        self.step, self.trained_s = state["step"], state["trained_s"]
        torch.set_rng_state(state["random"])
        torch.cuda.set_rng_state_all(state["cuda_random"])
        print(f"resumed at step {self.step}", flush=True)

    def save(self) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        partial = self.folder / "state.partial"
        random = {"random": torch.get_rng_state(), "cuda_random": torch.cuda.get_rng_state_all()}
        torch.save({"parts": state, "step": self.step, "trained_s": self.trained_s, **random}, partial)
        partial.replace(self.folder / "state.pt")

    def steps(self) -> Iterator[int]:
        """Step numbers until ``steps`` or ``minutes`` of this call are over; saves on the way and at the end."""
        began = saved = last = time.monotonic()
        while self.step < self.n_steps and last - began < self.minutes * 60:
            yield self.step
            self.step += 1
            now = time.monotonic()
            self.trained_s += now - last
            last = now
            if now - saved > self.save_every_s:
                self.save()
                saved = now
        self.save()

    def log(self, **numbers: float | Tensor) -> None:
        """One line for this step.

        Raises:
            Diverged: a number is not finite.
        """
        if self.step % self.log_every and self.step != self.n_steps - 1:
            return
        row = {name: round(float(torch.as_tensor(value).detach()), 5) for name, value in numbers.items()}
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(
                f"step {self.step}: {', '.join(bad)} not finite; resume from the last state with a lower --lr"
            )
        line = {"step": self.step, "trained_s": round(self.trained_s, 1), **row}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)


def cosine_lr(optimiser: torch.optim.Optimizer, peak: float, step: int, steps: int, warm_up: int = 100) -> None:
    """Set the learning rate of every group to its ``share`` of: a linear rise over ``warm_up`` steps (a tenth of a short
    run), then half a cosine down to a twentieth of ``peak``."""
    rise = min(1.0, (step + 1) / min(warm_up, max(1, steps // 10)))
    fall = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    for group in optimiser.param_groups:
        group["lr"] = peak * rise * fall * group.get("share", 1.0)


def clip_gradients(module: nn.Module, most: float) -> Tensor:
    """Scale the gradients down to norm ``most``; returns the norm they had."""
    return torch.nn.utils.clip_grad_norm_(module.parameters(), most)
