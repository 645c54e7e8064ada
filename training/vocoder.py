"""Train the vocoder: sound from mel, first towards the spectrum alone, then against discriminators.

    python -m sottovoce.training.vocoder --preset base --data runs/data --out runs/base-vocoder --steps 4000
    ... --codec runs/base-codec/base-codec.safetensors      # on mel that went through the codec, as it will be used
    ... --start-from OTHER.safetensors                      # on from weights, or from a run's state.pt with its judges

Resumes where ``--out`` has a state. Ends by writing the weights to ``--weights``.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sottovoce.models.checkpoint import load_net, load_vocoder, save
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import PRESETS, VOCODERS, Preset
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.models.vocoder import Vocoder, make_vocoder
from sottovoce.models.weight_file import CheckpointError

from . import command, precision
from .adversary import Adversary, JudgeConfig
from .balance import Balancer, gradients
from .codec import draw_books
from .data import Speech
from .distributed import diverse
from .listen import LISTENED_TO, Listener, aside
from .losses import MultiScaleMel, as_recorded
from .precision import Precision
from .run import Run, clip_gradients, cosine_lr, take_over


@dataclass(frozen=True)
class Config:
    """What the command line may change."""

    steps: int
    judged_from: int
    "Step at which the discriminators join."
    batch: int = 8
    clip_s: float = 0.8
    lr: float = 1e-3
    judges: JudgeConfig = field(default_factory=JudgeConfig)
    balance: bool = False
    "Give every loss its share of the gradient, whatever its scale (``balance.py``); else the weights multiply the losses."
    spectrum_weight: float = 15.0
    fooling_weight: float = 1.0
    feature_weight: float = 2.0
    start_from: Path | None = None
    "Weights to begin with, or another run's ``state.pt``, which brings its discriminators and optimisers too."
    seed: int = 0
    precision: Precision = field(default_factory=Precision)
    listen_every: int = 0


def through_codec(net: MelCodec, mel: Tensor, full_share: float = 0.5) -> Tensor:
    """Mel as a receiver sees it, at a random number of books a row."""
    with torch.no_grad():
        decoded: Tensor = net(mel, draw_books(net.preset.books, mel.shape[0], full_share).to(mel.device))[0]
        return decoded


def begin(vocoder: Vocoder, preset: Preset, path: Path, parts: dict[str, Any]) -> None:
    """Set ``vocoder`` to weights, or all ``parts`` to what a run's ``state.pt`` holds.

    Raises:
        CheckpointError: the file is missing, damaged, or of another vocoder.
    """
    if path.suffix == ".pt":
        take_over(path, **parts)
        return
    try:
        vocoder.load_state_dict(load_vocoder(path, preset).state_dict())
    except RuntimeError as error:
        raise CheckpointError(path, f"another kind of vocoder than {preset.vocoder}") from error


def train(preset: Preset, config: Config, data: Path, run: Run, codec: MelCodec | None = None) -> Vocoder:
    """The whole procedure; ``run`` owns the folder, the log and resuming.

    Raises:
        Diverged: a number is not finite, or the discriminators cannot be fooled any more.
        CheckpointError: see ``begin`` and ``Run.resume``.
        ValueError: ``data`` lacks what is asked for.
    """
    torch.manual_seed(config.seed)
    group, device = run.group, run.group.device
    vocoder = make_vocoder(preset).to(device)
    adversary = Adversary(preset, config.judges, group, config.precision)
    front_end = LogMel(preset.mel).to(device)
    spectrum = MultiScaleMel(preset.rate_hz).to(device)
    weights = {"spectrum": config.spectrum_weight, "fooling": config.fooling_weight, "features": config.feature_weight}
    balancer = Balancer(weights, group)
    optimiser = torch.optim.AdamW(vocoder.parameters(), lr=config.lr, betas=(0.8, 0.99), weight_decay=0.0, fused=True)
    n_samples = int(config.clip_s * preset.rate_hz) // preset.frame_samples * preset.frame_samples
    speech = Speech(data, preset.rate_hz, n_samples, config.batch, config.seed)
    listener = Listener(run.folder, preset.rate_hz, config.listen_every, group)
    diverse(group, config.seed)
    parts: dict[str, Any] = {
        "vocoder": vocoder,
        "judges": adversary.judges,
        "optimiser": optimiser,
        "of_judges": adversary.optimiser,
    }
    run.resume(**parts, added={"balancer": balancer})
    if run.step == 0 and config.start_from:
        begin(vocoder, preset, config.start_from, parts)
    config.precision.apply(vocoder)
    joined = group.join(vocoder)
    adversary.begin()
    for step in run.steps():
        cosine_lr(optimiser, config.lr, step, config.steps)
        pcm, wideband = (part.to(device) for part in speech.draw(group.batch(step)))
        mel = whole(front_end, pcm)
        mel = mel if codec is None else through_codec(codec, mel)
        made, _ = joined(mel, vocoder.initial_state(config.batch))
        real, heard = (as_recorded(x, wideband, preset.rate_hz) for x in (in_line(pcm, front_end), made))
        losses = {"spectrum": spectrum(heard, real)}
        judged: dict[str, Tensor] = {}
        if step >= config.judged_from:
            opinion = adversary.judge(heard, real, step, config.steps)
            losses |= {"fooling": opinion.fooling, "features": opinion.features}
            judged = {"judging": opinion.judging, "gap": opinion.gap}
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        optimiser.zero_grad(set_to_none=True)
        if config.balance:
            made.backward(balancer.mix(gradients(losses, made)))
        else:
            loss.backward()
        norm = clip_gradients(vocoder, 50.0)
        optimiser.step()
        run.log(loss=loss, **losses, gradient=norm, **judged)
        if listener.wants(step):
            listen(vocoder, codec, front_end, speech, listener, step)
    return vocoder


def in_line(pcm: Tensor, front_end: LogMel) -> Tensor:
    """The sound [B, T] that mel of ``pcm`` describes, in step with what the vocoder makes of it: its newest window's middle."""
    return F.pad(pcm, (front_end.delay, 0))[:, : pcm.shape[-1]]


def listen(
    vocoder: Vocoder, codec: MelCodec | None, front_end: LogMel, speech: Speech, listener: Listener, step: int
) -> None:
    """The same clips, as they were and as they are made from the mel that training uses, at all books."""
    with aside(vocoder):
        pcm = speech.draw(LISTENED_TO)[0][:2].to(front_end.window.device)
        mel = whole(front_end, pcm)
        made = whole(vocoder, mel if codec is None else codec(mel)[0])
        listener.show(
            step, {"original": mel, "made": whole(front_end, made)}, {"original": in_line(pcm, front_end), "made": made}
        )


def main() -> None:
    parser = command.parser(__doc__, steps=4000, batch=Config.batch, clip_s=Config.clip_s, lr=Config.lr)
    command.add_judges(parser, JudgeConfig.kinds, JudgeConfig.width)
    parser.add_argument("--codec", type=Path, help="train on mel decoded by this codec")
    parser.add_argument("--weights", type=Path, help="where the weights go; default OUT/<preset>-vocoder.safetensors")
    parser.add_argument("--vocoder", choices=list(VOCODERS["base"]), help="default: the preset's own")
    parser.add_argument("--judged-from", type=int, default=2000)
    parser.add_argument(
        "--start-from", type=Path, help="weights, or a run's state.pt, to go on from with a new schedule"
    )
    parser.add_argument("--balance", action="store_true", help="balance the losses' gradients as EnCodec does")
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    if args.vocoder:
        preset = dataclasses.replace(preset, vocoder=VOCODERS[preset.name][args.vocoder])
    config = Config(
        steps=args.steps,
        judged_from=args.judged_from,
        batch=args.batch,
        clip_s=args.clip_s,
        lr=args.lr,
        judges=JudgeConfig(tuple(args.judges), args.judges_at_once, width=args.judge_width),
        balance=args.balance,
        start_from=args.start_from,
        seed=args.seed,
        precision=precision.asked_for(args),
        listen_every=args.listen_every,
    )
    with command.session(args) as run:
        codec = load_net(args.codec).to(run.group.device) if args.codec else None
        vocoder = train(preset, config, args.data, run, codec)
        if run.group.rank == 0:
            path = args.weights or args.out / f"{preset.name}-vocoder.safetensors"
            save(path, vocoder, preset, "vocoder", command.notes("vocoder", args, run, args.data))


if __name__ == "__main__":
    main()
