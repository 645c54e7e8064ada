"""Train the mel codec: mel to codes and back.

    python -m sottovoce.training.codec --preset base --data runs/data --out runs/base-codec --steps 2400
    python -m sottovoce.training.codec --preset tiny --data runs/data --out runs/tiny --steps 20    # seconds, for the tests

Resumes where ``--out`` has a state. Ends by writing the weights to ``--weights``.
"""

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sottovoce.models.checkpoint import load_net, save
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import PRESETS, Preset
from sottovoce.models.mel import LogMel
from sottovoce.models.rvq import Book
from sottovoce.models.streaming import whole

from .data import RATE_HZ, Speech
from .run import Diverged, Run, clip_gradients, cosine_lr

NARROWBAND_TOP_HZ = 7_600
ENVELOPE_BANDS = 8
PATIENCE_STEPS = 500  # from the placing of the books until they are judged
LEAST_PERPLEXITY = 1 / 16  # of a book's size: below, it has collapsed (one that works has a third and more)


@dataclass(frozen=True)
class Config:
    """What the command line may change."""

    steps: int
    batch: int = 8
    clip_s: float = 2.0
    lr: float = 1e-3
    commitment: float = 1.0
    slope_weight: float = 0.5
    "Weight of the mel's change from frame to frame: onsets carry consonants."
    envelope_weight: float = 1.0
    full_share: float = 0.5
    "Share of rows that use all books; the rest draw a number of books (quantiser dropout)."
    start_batches: int = 100
    "Batches that latent and books are set up from."
    encoder_share: float = 0.05
    "Of the learning rate, for all that stands before the books: faster, and their moving averages fall behind it."
    start_from: Path | None = None
    "Weights to begin with; None: principal components and k-means."
    fix_books: bool = False
    "Leave the books where they are: with nothing to outrun, what stands before them may learn at full speed."
    seed: int = 0
    device: str = "cpu"


def mel_loss(
    decoded: Tensor, mel: Tensor, weight: Tensor, slope_weight: float, envelope_weight: float
) -> tuple[Tensor, Tensor]:
    """Mean distance of mel [B, M, T]; and the loss, which adds that of its change in time and of its envelope.

    The envelope (means over ENVELOPE_BANDS neighbouring bands) is what vowels are told apart by; without its own term most
    bits go into the harmonics, which the many narrow bands resolve. ``weight`` [B, M, 1] mutes bands that a clip lacks.
    """
    difference = (decoded - mel) * weight
    error = difference.abs().mean()
    slope = difference.diff(dim=-1).abs().mean()
    envelope = F.avg_pool1d(difference.transpose(1, 2), ENVELOPE_BANDS, ENVELOPE_BANDS // 2).abs().mean()
    return error, error + slope_weight * slope + envelope_weight * envelope


def band_weight(preset: Preset, wideband: Tensor) -> Tensor:
    """[B, M, 1]: one, or zero for the bands above what a narrowband recording holds."""
    bands = LogMel(preset.mel).bands
    centre_hz = bands.argmax(-1) * preset.rate_hz / preset.mel.n_fft  # [M]
    heard = (centre_hz < NARROWBAND_TOP_HZ).float().to(wideband.device)
    return torch.where(wideband[:, None], torch.ones_like(heard), heard)[..., None]


def draw_books(books: int, batch: int, full_share: float) -> Tensor:
    """How many books each row uses, int64 [batch]."""
    some = torch.randint(1, books + 1, (batch,))
    return torch.where(torch.rand(batch) < full_share, torch.full((batch,), books), some)


def train(preset: Preset, config: Config, data: Path, run: Run) -> MelCodec:
    """The whole procedure; ``run`` owns the folder, the log and resuming.

    Raises:
        Diverged: a loss is not finite, or a book fell out of use.
    """
    torch.manual_seed(config.seed)
    net = MelCodec(preset).to(config.device)
    front_end = LogMel(preset.mel).to(config.device)
    before = [*net.analysis.parameters(), *net.quantiser.enter.parameters(), *net.quantiser.down.parameters()]
    after = [*net.quantiser.up.parameters(), *net.quantiser.leave.parameters(), *net.synthesis.parameters()]
    groups = [{"params": before, "share": config.encoder_share}, {"params": after, "share": 1.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    n_samples = int(config.clip_s * preset.rate_hz) // preset.frame_samples * preset.frame_samples
    speech = Speech(data, preset.rate_hz, n_samples, config.batch, config.seed)
    run.resume(net=net, optimiser=optimiser)
    if run.step == 0 and config.start_from:
        net.load_state_dict(load_net(config.start_from).state_dict())
    elif run.step == 0:
        starting = (speech.draw(-1 - i)[0] for i in range(config.start_batches))
        net.start(torch.cat([whole(front_end, pcm.to(config.device)) for pcm in starting]))
    for book in net.quantiser.books:
        assert isinstance(book, Book)
        book.fixed = config.fix_books
    net.train()
    for step in run.steps():
        cosine_lr(optimiser, config.lr, step, config.steps)
        pcm, wideband = (part.to(config.device) for part in speech.draw(step))
        mel = whole(front_end, pcm)  # [B, M, T]
        used = draw_books(preset.books, config.batch, config.full_share).to(config.device)
        decoded, quantised = net(mel, used)
        weight = band_weight(preset, wideband)
        distance, loss = mel_loss(decoded, mel, weight, config.slope_weight, config.envelope_weight)
        loss = loss + config.commitment * quantised.commitment
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_gradients(net, 1.0)
        optimiser.step()
        counts = torch.stack([book.counts for book in net.quantiser.books])  # type: ignore[misc]
        shares = counts / counts.sum(-1, keepdim=True)
        perplexity = torch.special.entr(shares).sum(-1).exp()
        if step > PATIENCE_STEPS and float(perplexity.min()) < LEAST_PERPLEXITY * preset.book_size:
            worst = int(perplexity.argmin())
            raise Diverged(f"step {step}: book {worst} has collapsed to {float(perplexity[worst]):.0f} of its codes")
        run.log(
            loss=loss,
            mel=distance,
            commitment=quantised.commitment,
            gradient=norm,
            perplexity_first=perplexity[0],
            perplexity_last=perplexity[-1],
        )
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(PRESETS), default="base")
    parser.add_argument("--data", type=Path, default=Path("runs/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--weights", type=Path, help="where the finished weights go; default OUT/<preset>-codec.safetensors"
    )
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop this call after so long; resume later"
    )
    parser.add_argument("--batch", type=int, default=Config.batch)
    parser.add_argument("--clip-s", type=float, default=Config.clip_s)
    parser.add_argument("--lr", type=float, default=Config.lr)
    parser.add_argument("--commitment", type=float, default=Config.commitment)
    parser.add_argument("--encoder-share", type=float, default=Config.encoder_share, help="of --lr, before the books")
    parser.add_argument("--start-from", type=Path, help="weights to go on from, with a new schedule")
    parser.add_argument("--fix-books", action="store_true", help="train all but the books")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cuda where there is one")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--licence", default="Apache-2.0", help="of the weights, for their metadata")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    preset = PRESETS[args.preset]
    config = Config(
        steps=args.steps,
        batch=args.batch,
        clip_s=args.clip_s,
        lr=args.lr,
        commitment=args.commitment,
        encoder_share=args.encoder_share,
        start_from=args.start_from,
        fix_books=args.fix_books,
        seed=args.seed,
        device=args.device,
    )
    run = Run(args.out, args.steps, args.minutes)
    try:
        net = train(preset, config, args.data, run)
    except Diverged as error:
        sys.exit(f"training stopped: {error}")
    hours = len(Speech(args.data, preset.rate_hz, preset.frame_samples, 1).pcm) / RATE_HZ / 3600
    notes = {
        "command": "python -m sottovoce.training.codec " + shlex.join(sys.argv[1:]),
        "licence": args.licence,
        "steps": str(run.step),
        "trained_s": f"{run.trained_s:.0f}",
        "data": f"{hours:.2f} hours of speech",
    }
    save(args.weights or args.out / f"{preset.name}-codec.safetensors", net, preset, "codec", notes)


if __name__ == "__main__":
    main()
