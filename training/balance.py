"""Losses that pull with the share they were given, whatever their scale (the balancer of EnCodec, arXiv 2210.13438, 3.4)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .distributed import Group

DECAY = 0.999


class Balancer:
    """Mixes the losses' gradients with respect to an output.

    Each is divided by the moving average of its norm and given its share of ``total``:
    g = total * sum over i of (w_i / sum of w) * g_i / <|g_i|>. Without it a weight means another thing for every architecture
    and at every stage of training.
    """

    def __init__(self, weights: Mapping[str, float], group: Group | None = None, decay: float = DECAY) -> None:
        """``weights``: the share of every loss there may be.

        Raises:
            ValueError: a weight is not above zero.
        """
        if min(weights.values()) <= 0:
            raise ValueError(f"weights {dict(weights)}: every one must be above zero")
        self.weights, self.decay, self.group = dict(weights), decay, group or Group()
        self.sums = dict.fromkeys(weights, 0.0)  # of norms, and of their weights: an average free of its start
        self.mass = dict.fromkeys(weights, 0.0)

    def norm(self, name: str) -> float:
        """Moving average of the norm of one loss' gradient, the mean over the batch's rows."""
        return self.sums[name] / self.mass[name]

    def mix(self, gradients: Mapping[str, Tensor], total: float = 1.0) -> Tensor:
        """Gradients [B, ...] by the names of their losses -> the balanced one. Losses that are not there yet get no share."""
        names = list(gradients)
        norms = self.group.mean(torch.stack([g.detach().flatten(1).norm(dim=1).mean() for g in gradients.values()]))
        for name, norm in zip(names, norms.tolist(), strict=True):
            self.sums[name] = self.decay * self.sums[name] + (1 - self.decay) * norm
            self.mass[name] = self.decay * self.mass[name] + (1 - self.decay)
        shares = sum(self.weights[name] for name in names)
        parts = [
            gradient * (total * self.weights[name] / shares / max(self.norm(name), 1e-12))
            for name, gradient in gradients.items()
        ]
        return torch.stack(parts).sum(0)

    def state_dict(self) -> dict[str, dict[str, float]]:
        return {"sums": dict(self.sums), "mass": dict(self.mass)}

    def load_state_dict(self, state: dict[str, dict[str, float]]) -> None:
        self.sums.update(state["sums"])
        self.mass.update(state["mass"])


def gradients(losses: Mapping[str, Tensor], output: Tensor) -> dict[str, Tensor]:
    """The gradient of every loss with respect to ``output``, which they are made of; nothing behind it is touched."""
    return {
        name: torch.autograd.grad(loss, output, retain_graph=i + 1 < len(losses))[0]
        for i, (name, loss) in enumerate(losses.items())
    }
