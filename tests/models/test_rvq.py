"""The quantiser: every book learns, any number of books decodes, no code stays dead."""

import pytest
import torch

from sottovoce.models.codec import MelCodec
from sottovoce.models.config import BASE, MICRO, TINY, Preset, QuantiserConfig
from sottovoce.models.rvq import Book, ResidualQuantiser

COSINE = QuantiserConfig(books=4, book_size=16, width=12, code_width=4, metric="cosine")
L2 = QuantiserConfig(books=3, book_size=16, width=12, code_width=6, metric="l2")


def trained(config: QuantiserConfig, steps: int = 60) -> tuple[ResidualQuantiser, torch.Tensor]:
    torch.manual_seed(0)
    quantiser = ResidualQuantiser(config)
    latent = torch.randn(4, 50, config.width)
    optimiser = torch.optim.Adam(quantiser.parameters(), lr=1e-2)
    for _ in range(steps):
        out = quantiser(latent)
        loss = (out.latent - latent).square().mean() + 0.1 * out.commitment
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return quantiser.eval(), latent


@pytest.mark.parametrize("config", [COSINE, L2], ids=lambda config: config.metric)
def test_gradients_reach_every_book_and_what_stands_before_them(config: QuantiserConfig) -> None:
    torch.manual_seed(0)
    quantiser = ResidualQuantiser(config)
    latent = torch.randn(2, 30, config.width, requires_grad=True)
    before = [book.vectors.clone() for book in quantiser.books]
    out = quantiser(latent)
    (out.latent.square().mean() + out.commitment).backward()
    assert latent.grad is not None
    assert latent.grad.abs().sum() > 0
    for name, parameter in quantiser.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    for book, old in zip(quantiser.books, before, strict=True):
        assert not torch.equal(book.vectors, old)  # the books themselves move by their moving averages


def test_the_reconstruction_alone_moves_the_encoder() -> None:
    """The straight-through estimator: without it an encoder learns nothing from what the decoder needs."""
    torch.manual_seed(0)
    net = MelCodec(TINY)
    decoded, _ = net(torch.randn(2, TINY.n_mels, 40))
    decoded.square().mean().backward()
    for parameter in (net.analysis.view.conv.weight, net.analysis.stack.parts[-1].linear.weight):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("config", [COSINE, L2], ids=lambda config: config.metric)
def test_each_further_book_brings_the_sound_closer(config: QuantiserConfig) -> None:
    quantiser, latent = trained(config)
    codes = quantiser.encode(latent)
    errors = [float((quantiser.decode(codes[..., :q]) - latent).square().mean()) for q in range(config.books + 1)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("config", [COSINE, L2], ids=lambda config: config.metric)
def test_training_and_running_agree(config: QuantiserConfig) -> None:
    quantiser, latent = trained(config)
    out = quantiser(latent)
    assert torch.equal(out.codes, quantiser.encode(latent))
    torch.testing.assert_close(out.latent, quantiser.decode(out.codes))


def test_a_row_uses_as_many_books_as_it_was_told() -> None:
    quantiser, latent = trained(COSINE)
    out = quantiser(latent, used=torch.tensor([1, 2, 3, 4]))
    for row in range(4):
        torch.testing.assert_close(out.latent[row], quantiser.decode(out.codes[row, :, : row + 1]))


def test_a_missing_book_is_the_same_as_fewer_books() -> None:
    quantiser, latent = trained(COSINE)
    codes = quantiser.encode(latent)
    holed = codes.clone()
    holed[..., 2:] = -1
    assert torch.equal(quantiser.decode(holed), quantiser.decode(codes[..., :2]))


def test_residuals_are_detached_between_books() -> None:
    """What a late book commits to must not pull on the projections of earlier ones."""
    quantiser = ResidualQuantiser(COSINE)
    latent = torch.randn(1, 30, COSINE.width, requires_grad=True)
    quantiser(latent).commitment.backward()
    assert latent.grad is not None
    assert latent.grad.abs().sum() > 0
    assert all(up.weight.grad is None for up in quantiser.up)


def test_dead_codes_come_back() -> None:
    torch.manual_seed(0)
    book = Book(8, 2, unit=False)
    points = torch.randn(400, 2)
    book.vectors.copy_(torch.full((8, 2), 50.0))
    book.vectors[0] = 0
    book.sums.copy_(book.vectors)
    for _ in range(300):
        book.learn(points, book.nearest(points))
    assert len(book.nearest(points).unique()) == 8


def test_books_start_where_the_data_is() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 9.0], [9.0, 0.0], [-9.0, 0.0], [0.0, -9.0]])
    points = (centres[:, None] + 0.1 * torch.randn(4, 50, 2)).reshape(-1, 2)
    book = Book(4, 2, unit=False)
    book.start(points)
    assert float((points - book.vectors[book.nearest(points)]).norm(dim=-1).max()) < 1.0


def test_micro_is_the_reference_design() -> None:
    quantiser = MelCodec(MICRO).quantiser
    size = sum(p.numel() for p in quantiser.parameters()) + sum(book.vectors.numel() for book in quantiser.books)
    assert size == 2 * 128 * 64 + 2 * 128 * 64  # 32 768: two books and two projections without bias


@pytest.mark.parametrize("preset", [BASE, MICRO], ids=lambda preset: preset.name)
def test_codes_outside_their_book_are_refused(preset: Preset) -> None:
    quantiser = MelCodec(preset).quantiser
    with pytest.raises(ValueError, match="do not fit"):
        quantiser.decode(torch.full((1, 1, preset.books), preset.book_size))
    with pytest.raises(ValueError, match="do not fit"):
        quantiser.decode(torch.zeros(1, 1, preset.books + 1, dtype=torch.int64))


def test_a_book_from_a_file_learns_from_where_it_stands() -> None:
    """Files hold no counts and sums; the first step must not take the vectors for a new book's."""
    torch.manual_seed(0)
    learnt, new = Book(32, 4, unit=False), Book(32, 4, unit=False)
    x = torch.randn(400, 4)
    learnt.start(x)
    new.load_state_dict({**new.state_dict(), "vectors": learnt.vectors, "ready": learnt.ready})
    new.remember()
    before = new.vectors.clone()
    new.learn(x, new.nearest(x))
    assert 0 < float((new.vectors - before).norm(dim=-1).max()) < 0.2 * float(before.norm(dim=-1).mean())


def test_a_fixed_book_may_be_freed() -> None:
    torch.manual_seed(0)
    book = Book(32, 4, unit=False)
    x = torch.randn(400, 4)
    book.start(x)
    before, book.fixed = book.vectors.clone(), True
    for _ in range(300):
        book.learn(x[:40], book.nearest(x[:40]))
    assert torch.equal(book.vectors, before)
    book.fixed = False
    book.learn(x, book.nearest(x))
    assert float((book.vectors - before).norm(dim=-1).max()) < 0.2 * float(before.norm(dim=-1).mean())
