"""A training run's folder: its log, its checkpoints, where it stopped and how it goes on.

``log.jsonl`` has one line of numbers a step; ``state.pt`` holds everything to resume, replaced whole. A run that was stopped
and goes on takes the same steps with the same batches as one that was not.
"""

import json
import math
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sottovoce.models.weight_file import CheckpointError

from .distributed import Group

UNREADABLE = (OSError, KeyError, TypeError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError)


class Diverged(Exception):
    """Training cannot go on: a number is not finite, a codebook died, or the discriminators are out of balance."""


class Interrupted(Exception):
    """The user or the machine asked to stop, by a signal; what was trained until ``step`` is saved."""

    def __init__(self, step: int, signal_number: int) -> None:
        super().__init__(f"interrupted at step {step}; the same command goes on")
        self.step, self.signal_number = step, signal_number


class Run:
    """Counts steps, keeps time, writes the log, saves and resumes ``parts`` (modules and optimisers by name).

    Of several processes the first alone writes.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        minutes: float,
        save_every_s: float = 180,
        print_every: int = 20,
        group: Group | None = None,
    ) -> None:
        self.folder, self.n_steps, self.minutes = folder, steps, minutes
        self.save_every_s, self.print_every = save_every_s, print_every
        self.group = group or Group()
        self.parts: dict[str, Any] = {}
        self.step = 0
        self.trained_s = 0.0
        self._stepping, self._signal_number = False, 0
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self, added: dict[str, Any] | None = None, **parts: Any) -> None:
        """Name what is to be saved, and load it where the folder has a state.

        ``added`` may be missing from states that an earlier version wrote; it then starts anew.

        Raises:
            CheckpointError: the state is of another model, of other options, or damaged.
        """
        self.parts = {**parts, **(added or {})}
        path = self.folder / "state.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            for name, part in self.parts.items():
                if name in parts or name in state["parts"]:
                    part.load_state_dict(state["parts"][name])
            self.step, self.trained_s = state["step"], state["trained_s"]
            chances = [state, *state.get("others", [])]
        except UNREADABLE as error:
            raise CheckpointError(path, f"not a state of this command and preset ({_line(error)})") from error
        if len(chances) != self.group.size:
            raise CheckpointError(path, f"saved by {len(chances)} processes, resumed by {self.group.size}")
        chance = chances[self.group.rank]
        torch.set_rng_state(chance["random"])
        if chance["cuda_random"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(chance["cuda_random"][0], self.group.device)
        if self.group.rank == 0:
            self._forget_after()
            print(f"resumed at step {self.step}", flush=True)

    def _forget_after(self) -> None:
        """Drop the lines of steps that were taken after the state was saved: they are taken again."""
        log = self.folder / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        kept = [line for line in lines if _is_before(line, self.step)]
        if len(kept) < len(lines):
            partial = log.with_suffix(".partial")
            partial.write_text("".join(line + "\n" for line in kept))
            partial.replace(log)

    def save(self) -> None:
        on_gpu = self.group.device.type == "cuda"
        chance = {
            "random": torch.get_rng_state(),
            "cuda_random": [torch.cuda.get_rng_state(self.group.device)] if on_gpu else [],
        }
        first, *others = self.group.gathered(chance)
        if self.group.rank:
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        partial = self.folder / "state.partial"
        torch.save({"parts": state, "step": self.step, "trained_s": self.trained_s, **first, "others": others}, partial)
        partial.replace(self.folder / "state.pt")

    def interrupt(self, signal_number: int) -> None:
        """Stop at the end of this step; at once, where no step is on its way. Safe in a signal handler.

        Raises:
            Interrupted: at once.
        """
        if not self._stepping:
            raise Interrupted(self.step, signal_number)
        self._signal_number = signal_number

    def steps(self) -> Iterator[int]:
        """Step numbers until ``steps`` or ``minutes`` of this call are over; saves on the way and at the end.

        Raises:
            Interrupted: see ``interrupt``; of several processes, all stop with the one that was asked to.
        """
        self._stepping = True
        try:
            yield from self._steps()
            self.save()
        finally:
            self._stepping = False
        if self._signal_number:
            raise Interrupted(self.step, self._signal_number)

    def _steps(self) -> Iterator[int]:
        began = saved = last = self.group.clock(time.monotonic())
        while self.step < self.n_steps and last - began < self.minutes * 60:
            yield self.step
            self.step += 1
            now = self.group.clock(time.monotonic())
            self.trained_s += now - last
            last = now
            self._signal_number = self.group.highest(self._signal_number)
            if self._signal_number:
                return
            if now - saved > self.save_every_s:
                self.save()
                saved = now

    def log(self, **numbers: float | Tensor) -> None:
        """One line for this step: means over all processes.

        Raises:
            Diverged: a number is not finite.
        """
        device = self.group.device
        values = torch.stack([torch.as_tensor(value, device=device).detach().double() for value in numbers.values()])
        row = {name: round(x, 5) for name, x in zip(numbers, self.group.mean(values).tolist(), strict=True)}
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(
                f"step {self.step}: {', '.join(bad)} not finite; resume from the last state with a lower --lr"
            )
        if self.group.rank:
            return
        line = {"step": self.step, "trained_s": round(self.trained_s, 1), **row}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.step % self.print_every == 0 or self.step == self.n_steps - 1:
            print(line, flush=True)


def _line(error: Exception) -> str:
    """The first line of what torch has to say, which may be pages."""
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__


def _is_before(line: str, step: int) -> bool:
    try:
        return int(json.loads(line)["step"]) < step
    except (ValueError, KeyError, TypeError):  # cut off where the machine stopped
        return False


def take_over(path: Path, **parts: Any) -> None:
    """Load ``parts`` from the ``state.pt`` of another run: where it stopped, but not its step, schedule or chance.

    Raises:
        CheckpointError: there is no such state, or it holds something else.
    """
    try:
        held = torch.load(path, weights_only=True, map_location="cpu")["parts"]
        for name, part in parts.items():
            part.load_state_dict(held[name])
    except UNREADABLE as error:
        raise CheckpointError(path, f"not a state of such a run ({_line(error)})") from error


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
