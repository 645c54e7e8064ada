"""What is known of the codebooks' use, and when it stops a training."""

import dataclasses

import pytest
import torch
from torch import Tensor

from sottovoce.models.config import TINY
from sottovoce.models.rvq import Book
from sottovoce.training import books
from sottovoce.training.books import BookUse
from sottovoce.training.distributed import Group
from sottovoce.training.run import Diverged

CONFIG = dataclasses.replace(TINY.quantiser, books=2, book_size=64)


def seen(use: BookUse, steps: int, codes_of_second: int) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(0)
    for _ in range(steps):
        first = torch.randint(64, (4, 50), generator=chance)
        second = torch.randint(codes_of_second, (4, 50), generator=chance)
        result = use.see(torch.stack([first, second], -1), Group())
    return result


def test_use_is_measured() -> None:
    perplexity, usage = seen(BookUse(CONFIG), 300, codes_of_second=16)
    assert usage.tolist() == [1.0, 0.25]
    assert float(perplexity[0]) > 63
    assert float(perplexity[1]) == pytest.approx(16, rel=0.01)


def test_a_book_of_which_half_is_dead_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "PATIENCE_STEPS", 50)
    use = BookUse(CONFIG)
    use.check(*seen(use, 50, codes_of_second=16), step=50)
    with pytest.raises(Diverged, match="step 51: book 1 uses 25% of its 64 codes"):
        use.check(*seen(use, 1, codes_of_second=16), step=51)


def test_a_book_that_is_used_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "PATIENCE_STEPS", 50)
    use = BookUse(CONFIG)
    use.check(*seen(use, 300, codes_of_second=40), step=300)


def test_a_collapsed_book_is_found_though_all_of_it_is_touched() -> None:
    use = BookUse(CONFIG)
    use.steps.fill_(books.PATIENCE_STEPS + 1)
    with pytest.raises(Diverged, match="book 0 has collapsed to 3 of its codes"):
        use.check(torch.tensor([3.0, 40.0]), torch.tensor([1.0, 1.0]), step=9)


def test_revival_flatters_the_counts_of_the_book_more_than_these() -> None:
    """All inputs are one of four: the book's own counts say that all is well, because what was revived counts as used."""
    torch.manual_seed(0)
    book = Book(64, 8, unit=False)
    use = BookUse(dataclasses.replace(CONFIG, books=1))
    points = 100 * torch.randn(4, 8)
    for _ in range(300):
        x = points[torch.randint(4, (200,))]
        codes = book.nearest(x)
        book.learn(x, codes)
        _, usage = use.see(codes[None, :, None], Group())
    assert float((book.counts > 0.05 * 200 / 64).float().mean()) > 0.9
    assert float(usage) < 0.8
