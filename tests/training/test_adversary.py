"""The judges: who there is, whose turn it is, what they learn, and when they have gone astray."""

import pytest
import torch

from sottovoce.models.config import TINY
from sottovoce.training import adversary
from sottovoce.training.adversary import PERIODS, Adversary, JudgeConfig
from sottovoce.training.discriminators import KINDS, Judges, Kind
from sottovoce.training.distributed import Group
from sottovoce.training.precision import Precision
from sottovoce.training.run import Diverged


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_presets_have_the_periods_of_the_design() -> None:
    assert PERIODS["base"] == (2, 3, 5, 7, 11)
    assert PERIODS["micro"] == (2, 3, 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_samples", [3600, 4801])
def test_every_kind_scores_and_its_gradient_reaches_the_sound(kind: Kind, n_samples: int) -> None:
    judges = Judges((2, 3), 4, (kind,))
    pcm = noise(2, n_samples).requires_grad_()
    scores, features = judges(pcm, range(len(judges.judges)))
    assert len(scores) == len(features) == len(judges.judges)
    assert all(score.shape[0] == 2 for score in scores)
    torch.stack([score.square().mean() for score in scores]).sum().backward()
    assert pcm.grad is not None
    assert float(pcm.grad.abs().sum()) > 0
    assert all(parameter.grad is not None for parameter in judges.parameters())


def test_a_scale_judge_sees_the_average() -> None:
    judge = Judges((2,), 4, ("scale",)).judges[2]
    shown = judge.show(torch.full((1, 400), 0.5))
    assert shown.shape == (1, 1, 100)
    assert torch.allclose(shown[..., 1:-1], torch.tensor(0.5))


def test_all_take_turns_and_any_number_may_be_asked() -> None:
    judges = Judges(PERIODS["base"], 4, KINDS)
    asked = [judges.on_duty(step, 1) for step in range(15)]
    assert all(len(some) == 3 for some in asked)
    assert [sum(some.count(i) for some in asked) for i in range(11)] == [3] * 5 + [5] * 6
    assert judges.on_duty(7, 5) == list(range(11))


def test_further_kinds_do_not_rename_the_first_ones() -> None:
    """States that were saved without the third kind fit those of the first two."""
    some, all_of_them = Judges((2, 3), 4).state_dict(), Judges((2, 3), 4, KINDS).state_dict()
    assert {key: value.shape for key, value in all_of_them.items() if key in some} == {
        key: value.shape for key, value in some.items()
    }
    assert len(all_of_them) > len(some)


def started(at_once: int = 3) -> Adversary:
    torch.manual_seed(0)
    config = JudgeConfig(kinds=KINDS, at_once=at_once, judged_s=0.1, width=4, lr=6e-3)
    made = Adversary(TINY, config, Group(), Precision())
    made.begin()
    return made


def test_judges_learn_to_tell_and_say_so() -> None:
    at_work = started(at_once=1)
    t = torch.arange(2400) / 24_000
    opinions = []
    for step in range(30):
        real = 0.1 * torch.sin(2 * torch.pi * 300 * t + 6 * torch.rand(2, 1))
        opinion = at_work.judge((0.1 * torch.randn(2, 2400)).requires_grad_(), real, step, 30)
        opinions.append(torch.stack([opinion.judging, opinion.gap, opinion.fooling]).detach())
    begun, ended = torch.stack(opinions[:3]).mean(0), torch.stack(opinions[-3:]).mean(0)
    assert begun[1] < 0.05 < 0.15 < ended[1]
    assert ended[0] < 0.5 * begun[0]
    assert ended[2] > ended[0]


def test_what_fools_them_trains_the_sound_and_not_them() -> None:
    at_work = started()
    made = noise(2, 4800).requires_grad_()
    opinion = at_work.judge(made, noise(2, 4800), 0, 10)
    held = {name: parameter.grad.clone() for name, parameter in at_work.judges.named_parameters()}  # type: ignore[union-attr]
    (opinion.fooling + opinion.features).backward()
    assert made.grad is not None
    assert float(made.grad.abs().sum()) > 0
    assert all(torch.equal(p.grad, held[name]) for name, p in at_work.judges.named_parameters())


@pytest.mark.parametrize(("judging", "words"), [(0.001, "never wrong"), (9.0, "lost all measure")])
def test_a_game_that_one_side_has_won_stops_the_training(
    judging: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adversary, "PATIENCE_STEPS", 3)
    monkeypatch.setattr(adversary, "judge_loss", lambda real, made: real[0].sum() * 0 + judging)
    at_work = started()
    for step in range(2):
        at_work.judge(noise(2, 4800), noise(2, 4800), step, 10)
    with pytest.raises(Diverged, match=rf"step 2: the discriminators .*{words}"):
        at_work.judge(noise(2, 4800), noise(2, 4800), 2, 10)


def test_a_good_step_between_bad_ones_is_patience_regained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversary, "PATIENCE_STEPS", 3)
    values = iter([0.001, 0.001, 0.4, 0.001, 0.001])
    monkeypatch.setattr(adversary, "judge_loss", lambda real, made: real[0].sum() * 0 + next(values))
    at_work = started()
    for step in range(5):
        at_work.judge(noise(2, 4800), noise(2, 4800), step, 10)
