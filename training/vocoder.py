"""Train the vocoder: sound from mel, first towards the spectrum alone, then against discriminators.

    python -m sottovoce.training.vocoder --preset base --data runs/data --out runs/base-vocoder --steps 4000
    ... --codec runs/base-codec/base-codec.safetensors      # on mel that went through the codec, as it will be used

Resumes where ``--out`` has a state. Ends by writing the weights to ``--weights``.
"""

import argparse
import dataclasses
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sottovoce.models.checkpoint import load_net, save
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import PRESETS, VOCODERS, Preset
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.models.vocoder import Vocoder, make_vocoder

from .codec import draw_books
from .data import Speech
from .discriminators import Judges
from .losses import MultiScaleMel, feature_loss, fool_loss, judge_loss
from .run import Diverged, Run, clip_gradients, cosine_lr

PERIODS = {"base": (2, 3, 5, 7, 11), "micro": (2, 3, 5), "tiny": (2, 3)}


@dataclass(frozen=True)
class Config:
    """What the command line may change."""

    steps: int
    judged_from: int
    "Step at which the discriminators join."
    batch: int = 8
    clip_s: float = 0.8
    judged_s: float = 0.28
    "Length of the stretch of each clip that the discriminators hear: they cost the most."
    judges_at_once: int = 1
    "How many of each kind hear a step, in turn."
    lr: float = 1e-3
    judge_lr: float = 4e-4
    judge_width: int = 16
    spectrum_weight: float = 15.0
    feature_weight: float = 2.0
    seed: int = 0
    device: str = "cpu"


def through_codec(net: MelCodec, mel: Tensor, full_share: float = 0.5) -> Tensor:
    """Mel as a receiver sees it, at a random number of books a row."""
    with torch.no_grad():
        decoded: Tensor = net(mel, draw_books(net.preset.books, mel.shape[0], full_share).to(mel.device))[0]
        return decoded


def train(preset: Preset, config: Config, data: Path, run: Run, codec: MelCodec | None = None) -> Vocoder:
    """The whole procedure; ``run`` owns the folder, the log and resuming.

    Raises:
        Diverged: a loss is not finite.
    """
    torch.manual_seed(config.seed)
    vocoder = make_vocoder(preset).to(config.device)
    judges = Judges(PERIODS[preset.name], config.judge_width).to(config.device)
    front_end = LogMel(preset.mel).to(config.device)
    spectrum = MultiScaleMel(preset.rate_hz).to(config.device)
    optimiser = torch.optim.AdamW(vocoder.parameters(), lr=config.lr, betas=(0.8, 0.99), weight_decay=0.0, fused=True)
    of_judges = torch.optim.AdamW(
        judges.parameters(), lr=config.judge_lr, betas=(0.8, 0.99), weight_decay=0.0, fused=True
    )
    n_samples = int(config.clip_s * preset.rate_hz) // preset.frame_samples * preset.frame_samples
    n_judged = min(n_samples, int(config.judged_s * preset.rate_hz))
    speech = Speech(data, preset.rate_hz, n_samples, config.batch, config.seed)
    run.resume(vocoder=vocoder, judges=judges, optimiser=optimiser, of_judges=of_judges)
    for step in run.steps():
        cosine_lr(optimiser, config.lr, step, config.steps)
        cosine_lr(of_judges, config.judge_lr, step, config.steps)
        pcm = speech.draw(step)[0].to(config.device)
        mel = whole(front_end, pcm)
        mel = mel if codec is None else through_codec(codec, mel)
        real = F.pad(pcm, (front_end.delay, 0))[:, :n_samples]  # what the newest window's middle holds
        made = whole(vocoder, mel)
        distance = spectrum(made, real)
        loss = config.spectrum_weight * distance
        judged = {}
        if step >= config.judged_from:
            asked = judges.on_duty(step, config.judges_at_once)
            stretch = slice(start := int(torch.randint(n_samples - n_judged + 1, ())), start + n_judged)
            scores_real, features_real = judges(real[:, stretch], asked)
            scores_made, _ = judges(made[:, stretch].detach(), asked)
            judging = judge_loss(scores_real, scores_made)
            of_judges.zero_grad(set_to_none=True)
            judging.backward()
            of_judges.step()
            judges.requires_grad_(False)
            scores_made, features_made = judges(made[:, stretch], asked)
            judges.requires_grad_(True)
            fooling, features = fool_loss(scores_made), feature_loss(features_real, features_made)
            loss = loss + fooling + config.feature_weight * features
            judged = {"judging": judging, "fooling": fooling, "features": features}
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_gradients(vocoder, 50.0)
        optimiser.step()
        run.log(loss=loss, spectrum=distance, gradient=norm, **judged)
    return vocoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(PRESETS), default="base")
    parser.add_argument("--data", type=Path, default=Path("runs/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--codec", type=Path, help="train on mel decoded by this codec")
    parser.add_argument("--weights", type=Path, help="where the weights go; default OUT/<preset>-vocoder.safetensors")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--vocoder", choices=list(VOCODERS["base"]), help="default: the preset's own")
    parser.add_argument("--judged-from", type=int, default=2000)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop this call after so long; resume later"
    )
    parser.add_argument("--batch", type=int, default=Config.batch)
    parser.add_argument("--clip-s", type=float, default=Config.clip_s)
    parser.add_argument("--judges-at-once", type=int, default=Config.judges_at_once, help="5 asks all of them")
    parser.add_argument("--lr", type=float, default=Config.lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cuda where there is one")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--licence", default="Apache-2.0", help="of the weights, for their metadata")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    preset = PRESETS[args.preset]
    if args.vocoder:
        preset = dataclasses.replace(preset, vocoder=VOCODERS[preset.name][args.vocoder])
    config = Config(
        steps=args.steps,
        judged_from=args.judged_from,
        batch=args.batch,
        clip_s=args.clip_s,
        judges_at_once=args.judges_at_once,
        lr=args.lr,
        seed=args.seed,
        device=args.device,
    )
    run = Run(args.out, args.steps, args.minutes)
    try:
        vocoder = train(preset, config, args.data, run, load_net(args.codec).to(args.device) if args.codec else None)
    except Diverged as error:
        sys.exit(f"training stopped: {error}")
    notes = {
        "command": "python -m sottovoce.training.vocoder " + shlex.join(sys.argv[1:]),
        "licence": args.licence,
        "steps": str(run.step),
        "trained_s": f"{run.trained_s:.0f}",
    }
    save(args.weights or args.out / f"{preset.name}-vocoder.safetensors", vocoder, preset, "vocoder", notes)


if __name__ == "__main__":
    main()
