"""The discriminators at work: they learn to tell made from real, and say what made sound still lacks."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sottovoce.models.config import Preset

from .discriminators import Judges, Kind
from .distributed import Group
from .losses import feature_loss, fool_loss, judge_loss
from .precision import Precision
from .run import Diverged, cosine_lr

PERIODS = {"base": (2, 3, 5, 7, 11), "micro": (2, 3, 5), "tiny": (2, 3)}
NEVER_WRONG = 0.01  # of `judge_loss`, which is 0.5 where nothing can be told and 1 where nothing was learnt
BEYOND_REASON = 4.0
PATIENCE_STEPS = 500


@dataclass(frozen=True)
class JudgeConfig:
    """What the command line may change about the discriminators."""

    kinds: tuple[Kind, ...] = ("period", "spectrum")
    at_once: int = 1
    "How many of each kind hear a step, in turn."
    judged_s: float = 0.28
    "Length of the stretch of each clip that they hear: they cost the most."
    width: int = 16
    lr: float = 4e-4


class Opinion(NamedTuple):
    """Of one step; the last two have gradients that reach the made sound."""

    judging: Tensor  # how wrong the judges were
    gap: Tensor  # mean score of real over that of made: 1 where they are never wrong, 0 where they cannot tell
    fooling: Tensor
    features: Tensor


class Adversary:
    """Judges and their optimiser."""

    def __init__(self, preset: Preset, config: JudgeConfig, group: Group, precision: Precision) -> None:
        self.config, self.group = config, group
        self.judges = Judges(PERIODS[preset.name], config.width, config.kinds).to(group.device)
        self.optimiser = torch.optim.AdamW(
            self.judges.parameters(), lr=config.lr, betas=(0.8, 0.99), weight_decay=0.0, fused=True
        )
        self.n_samples = int(config.judged_s * preset.rate_hz)
        self.extreme_steps = 0
        self.precision = precision

    def begin(self) -> None:
        """After states were loaded: parameters as process 0 has them, fast arithmetic where it was asked for."""
        self.joined = self.group.join(self.judges, some_unused=True)
        self.precision.apply(self.judges)

    def judge(self, made: Tensor, real: Tensor, step: int, steps: int) -> Opinion:
        """One step of the judges on a random stretch of [B, T] each, then their opinion of ``made``.

        Raises:
            Diverged: for ``PATIENCE_STEPS`` on end they were never wrong, or always absurd.
        """
        cosine_lr(self.optimiser, self.config.lr, step, steps)
        asked = self.judges.on_duty(step, self.config.at_once)
        n_samples = min(self.n_samples, made.shape[-1])
        stretch = slice(start := int(torch.randint(made.shape[-1] - n_samples + 1, ())), start + n_samples)
        scores, features = self.joined(torch.cat([real[:, stretch], made[:, stretch].detach()]), asked)
        scores_real, scores_made = zip(*(score.chunk(2) for score in scores), strict=True)
        judging = judge_loss(scores_real, scores_made)
        self.optimiser.zero_grad(set_to_none=True)
        judging.backward()
        self.optimiser.step()
        with torch.no_grad():
            gap = torch.stack([r.mean() - m.mean() for r, m in zip(scores_real, scores_made, strict=True)]).mean()
            features_real = [[layer.chunk(2)[0] for layer in layers] for layers in features]
        self._watch(float(self.group.mean(judging.detach().clone())), step)
        self.judges.requires_grad_(False)
        scores_made, features_made = self.judges(made[:, stretch], asked)
        self.judges.requires_grad_(True)
        return Opinion(judging, gap, fool_loss(scores_made), feature_loss(features_real, features_made))

    def _watch(self, judging: float, step: int) -> None:
        extreme = judging < NEVER_WRONG or judging > BEYOND_REASON
        self.extreme_steps = self.extreme_steps + 1 if extreme else 0
        if self.extreme_steps >= PATIENCE_STEPS:
            what = "are never wrong" if judging < NEVER_WRONG else "have lost all measure"
            raise Diverged(
                f"step {step}: the discriminators {what} (loss {judging:.4f} for {PATIENCE_STEPS} steps): "
                "go on from the weights with fresh ones, or with a lower learning rate for them"
            )
