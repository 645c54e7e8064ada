"""Train the mel codec: mel to codes and back.

    python -m sottovoce.training.codec --preset base --data runs/data --out runs/base-codec --steps 2400
    python -m sottovoce.training.codec --preset tiny --data runs/data --out runs/tiny --steps 20    # seconds, for the tests

Resumes where ``--out`` has a state. Ends by writing the weights to ``--weights``.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sottovoce.models.checkpoint import load_net, save
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import PRESETS, Preset
from sottovoce.models.griffin_lim import GriffinLim
from sottovoce.models.mel import LogMel
from sottovoce.models.rvq import Book
from sottovoce.models.streaming import whole
from sottovoce.models.weight_file import CheckpointError

from . import command, precision
from .augment import Augment, AugmentConfig
from .books import BookUse
from .data import Speech
from .distributed import diverse
from .listen import LISTENED_TO, Listener, aside
from .losses import NARROWBAND_TOP_HZ
from .precision import Precision
from .run import Run, clip_gradients, cosine_lr

ENVELOPE_BANDS = 8


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
    augment: Path | None = None
    "Folder of noises and rooms that spoil what the encoder hears, never what the decoder is to say."
    seed: int = 0
    precision: Precision = field(default_factory=Precision)
    listen_every: int = 0


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


def around_books(net: MelCodec, encoder_share: float) -> list[dict[str, Any]]:
    """For an optimiser: what stands before the books, at a share of the learning rate, and what stands behind them."""
    before = [*net.analysis.parameters(), *net.quantiser.enter.parameters(), *net.quantiser.down.parameters()]
    after = [*net.quantiser.up.parameters(), *net.quantiser.leave.parameters(), *net.synthesis.parameters()]
    return [{"params": before, "share": encoder_share}, {"params": after, "share": 1.0}]


def fix_books(net: MelCodec, fixed: bool = True) -> None:
    """Whether the books stay where they are while the rest learns."""
    for book in net.quantiser.books:
        assert isinstance(book, Book)
        book.fixed = fixed


def train(preset: Preset, config: Config, data: Path, run: Run) -> MelCodec:
    """The whole procedure; ``run`` owns the folder, the log and resuming.

    Raises:
        Diverged: a number is not finite, or a book fell out of use.
        CheckpointError: weights or state are missing, damaged or of something else.
        ValueError: ``data`` or ``config.augment`` lacks what is asked for.
    """
    torch.manual_seed(config.seed)
    group, device = run.group, run.group.device
    net = MelCodec(preset).to(device)
    front_end = LogMel(preset.mel).to(device)
    use = BookUse(preset.quantiser).to(device)
    groups = around_books(net, config.encoder_share)
    optimiser = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    n_samples = int(config.clip_s * preset.rate_hz) // preset.frame_samples * preset.frame_samples
    speech = Speech(data, preset.rate_hz, n_samples, config.batch, config.seed)
    augment = Augment(AugmentConfig(seed=config.seed), config.augment, preset.rate_hz) if config.augment else None
    listener = Listener(run.folder, preset.rate_hz, config.listen_every, group)
    diverse(group, config.seed)
    run.resume(net=net, optimiser=optimiser, added={"use": use})
    if run.step == 0 and config.start_from:
        begin(net, config.start_from)
    elif run.step == 0:
        starting = (speech.draw(-1 - i)[0] for i in range(config.start_batches))
        net.start(torch.cat([whole(front_end, pcm.to(device)) for pcm in starting]))
    fix_books(net, config.fix_books)
    net.train()
    config.precision.apply(net)
    joined = group.join(net)
    for step in run.steps():
        cosine_lr(optimiser, config.lr, step, config.steps)
        pcm, wideband = (part.to(device) for part in speech.draw(group.batch(step)))
        mel = whole(front_end, pcm)  # [B, M, T]
        heard = whole(front_end, augment.input(pcm, group.batch(step))) if augment else mel
        used = draw_books(preset.books, config.batch, config.full_share).to(device)
        decoded, quantised = joined(heard, used)
        weight = band_weight(preset, wideband)
        distance, loss = mel_loss(decoded, mel, weight, config.slope_weight, config.envelope_weight)
        loss = loss + config.commitment * quantised.commitment
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_gradients(net, 1.0)
        optimiser.step()
        perplexity, usage = use.see(quantised.codes, group)
        run.log(
            loss=loss,
            mel=distance,
            commitment=quantised.commitment,
            gradient=norm,
            perplexity_first=perplexity[0],
            perplexity_last=perplexity[-1],
            perplexity_least=perplexity.min(),
            usage_least=usage.min(),
        )
        use.check(perplexity, usage, step)
        if listener.wants(step):
            listen(net, front_end, speech, listener, step)
    return net


def begin(net: MelCodec, path: Path) -> None:
    """Set ``net`` to weights.

    Raises:
        CheckpointError: the file is missing, damaged, or of another codec.
    """
    given = load_net(path)
    if dataclasses.replace(given.preset, vocoder=net.preset.vocoder) != net.preset:
        raise CheckpointError(path, f"a codec of preset {given.preset.name!r} that is not today's {net.preset.name!r}")
    net.load_state_dict(given.state_dict())


def listen(net: MelCodec, front_end: LogMel, speech: Speech, listener: Listener, step: int) -> None:
    """The same clips at one, half and all books; their mel sounded by Griffin-Lim, which has no weights to wait for."""
    with aside(net):
        pcm = speech.draw(LISTENED_TO)[0][:2].to(front_end.window.device)
        mels = {"original": whole(front_end, pcm)}
        for books in sorted({1, max(1, net.preset.books // 2), net.preset.books}):
            mels[f"{books} books"] = net(mels["original"], torch.full((len(pcm),), books, device=pcm.device))[0]
        sound = GriffinLim(net.preset.mel).to(pcm.device)
        listener.show(step, mels, {name: sound(mel) for name, mel in mels.items()})


def main() -> None:
    parser = command.parser(__doc__, steps=2400, batch=Config.batch, clip_s=Config.clip_s, lr=Config.lr)
    parser.add_argument(
        "--weights", type=Path, help="where the finished weights go; default OUT/<preset>-codec.safetensors"
    )
    parser.add_argument("--commitment", type=float, default=Config.commitment)
    parser.add_argument("--encoder-share", type=float, default=Config.encoder_share, help="of --lr, before the books")
    parser.add_argument("--start-from", type=Path, help="weights to go on from, with a new schedule")
    parser.add_argument("--fix-books", action="store_true", help="train all but the books")
    parser.add_argument("--augment", type=Path, metavar="NOISES", help="spoil the input with what this folder holds")
    args = parser.parse_args()
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
        augment=args.augment,
        seed=args.seed,
        precision=precision.asked_for(args),
        listen_every=args.listen_every,
    )
    with command.session(args) as run:
        net = train(preset, config, args.data, run)
        if run.group.rank == 0:
            path = args.weights or args.out / f"{preset.name}-codec.safetensors"
            save(path, net, preset, "codec", command.notes("codec", args, run, args.data))


if __name__ == "__main__":
    main()
