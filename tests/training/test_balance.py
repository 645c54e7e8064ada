"""The balancer: a weight is a share of the gradient, whatever a loss is measured in."""

import pytest
import torch

from sottovoce.training.balance import Balancer, gradients


def losses(output: torch.Tensor, scale: float = 1.0) -> dict[str, torch.Tensor]:
    return {"first": output[:, :8].square().mean(), "second": scale * output[:, 8:].abs().mean()}


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_every_loss_gets_its_share_whatever_its_scale(scale: float) -> None:
    balancer = Balancer({"first": 3.0, "second": 1.0})
    output = torch.randn(4, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for _ in range(5):  # the same gradient again and again: its norm is its moving average
        mixed = balancer.mix(gradients(losses(output, scale), output), total=2.0)
    first, second = mixed[:, :8].norm(dim=1).mean(), mixed[:, 8:].norm(dim=1).mean()
    assert float(first) == pytest.approx(1.5, rel=1e-3)
    assert float(second) == pytest.approx(0.5, rel=1e-3)


def test_a_loss_that_grows_pulls_harder_until_the_average_has_followed() -> None:
    balancer = Balancer({"only": 1.0}, decay=0.9)
    pull = torch.ones(2, 4)
    balancer.mix({"only": pull})
    sizes = [float(balancer.mix({"only": 10 * pull}).norm(dim=1).mean()) for _ in range(60)]
    assert 1.5 < sizes[0] < 2.0
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == pytest.approx(1.0, abs=0.01)


def test_what_is_not_there_yet_takes_no_share() -> None:
    balancer = Balancer({"first": 1.0, "second": 1.0})
    pull = torch.ones(2, 4)
    assert float(balancer.mix({"first": pull}).norm(dim=1).mean()) == pytest.approx(1.0)
    assert float(balancer.mix({"first": pull, "second": -pull}).norm()) == pytest.approx(0.0, abs=1e-6)


def test_gradients_end_at_the_output_and_add_up_to_the_loss() -> None:
    weight = torch.ones(16, requires_grad=True)
    output = torch.randn(4, 16) * weight
    pulls = gradients(losses(output), output)
    assert weight.grad is None
    (direct,) = torch.autograd.grad(torch.stack(list(losses(output).values())).sum(), weight, retain_graph=True)
    output.backward(pulls["first"] + pulls["second"])
    assert torch.allclose(weight.grad, direct)


def test_it_goes_on_where_it_was_saved() -> None:
    first, second = (Balancer({"only": 1.0}) for _ in range(2))
    first.mix({"only": torch.ones(2, 4)})
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.mix({"only": torch.randn(2, 4).fill_(3)}), second.mix({"only": torch.full((2, 4), 3.0)}))


def test_a_weight_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        Balancer({"first": 1.0, "second": 0.0})
