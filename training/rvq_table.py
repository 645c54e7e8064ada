"""The error of residual quantisation against books, book size and dimension, beside ``vector-quantize-pytorch``.

    python -m sottovoce.training.rvq_table
    python -m sottovoce.training.rvq_table --dimensions 8 --sizes 64 --books 1 4 --steps 20    # seconds

Both train on the same batches of the same Gaussian data with EMA codebooks (decay 0.99), k-means initialisation and dead-code
revival, then code the same data that neither has seen. Prints mean squared error, ours and theirs, and our share of theirs.
"""

import argparse
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ

from sottovoce.models.config import QuantiserConfig
from sottovoce.models.rvq import ResidualQuantiser


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting and the two errors, relative to the data's variance."""

    dimension: int
    book_size: int
    books: int
    ours: float
    theirs: float


def batches(dimension: int, steps: int, batch: int, seed: int = 0) -> list[Tensor]:
    """``steps`` batches [1, batch, dimension] of unit Gaussian vectors."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, batch, dimension, generator=generator) for _ in range(steps)]


@torch.no_grad()
def compare(dimension: int, book_size: int, books: list[int], steps: int, batch: int, seed: int = 0) -> list[Cell]:
    """Train both at the largest number of books, measure at each."""
    most = max(books)
    torch.manual_seed(seed)
    config = QuantiserConfig(most, book_size, width=dimension, code_width=dimension, metric="l2")
    ours = ResidualQuantiser(config).train()
    theirs = ResidualVQ(
        dim=dimension, num_quantizers=most, codebook_size=book_size, decay=0.99, kmeans_init=True, kmeans_iters=10,
        threshold_ema_dead_code=2,
    ).train()  # fmt: skip
    for x in batches(dimension, steps, batch, seed):
        ours(x)
        theirs(x)
    ours.eval()
    theirs.eval()
    test = batches(dimension, 1, 4096, seed=seed + 1000)[0]
    our_codes = ours.encode(test)
    _, their_codes, _ = theirs(test)
    cells = []
    for q in books:
        our_error = float((ours.decode(our_codes[..., :q]) - test).square().mean())
        their_parts: Tensor = theirs.get_codes_from_indices(their_codes)[:q].sum(0)
        cells.append(Cell(dimension, book_size, q, our_error, float((their_parts - test).square().mean())))
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", nargs="+", type=int, default=[2, 8, 64])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--books", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2048)
    args = parser.parse_args()
    print("| dimension | book size | " + " | ".join(f"{q} books" for q in args.books) + " |")
    print("|---" * (2 + len(args.books)) + "|")
    shares = []
    for dimension in args.dimensions:
        for size in args.sizes:
            runs = [compare(dimension, size, args.books, args.steps, args.batch, seed) for seed in range(args.seeds)]
            means = [
                (sum(cell.ours for cell in cells) / args.seeds, sum(cell.theirs for cell in cells) / args.seeds)
                for cells in zip(*runs, strict=True)
            ]
            texts = [f"{ours:.2e} / {theirs:.2e}" for ours, theirs in means]
            print(f"| {dimension} | {size} | " + " | ".join(texts) + " |", flush=True)
            shares += [math.log(ours / theirs) for ours, theirs in means]
    print(
        f"\nmean squared error ours / theirs, unit Gaussian, unseen data, {args.steps} batches of {args.batch}, "
        f"mean of {args.seeds} seeds; ours is {math.exp(min(shares)):.2f} to {math.exp(max(shares)):.2f} times theirs, "
        f"{math.exp(sum(shares) / len(shares)):.2f} times in the geometric mean"
    )


if __name__ == "__main__":
    main()
