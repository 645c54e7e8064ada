"""Fine-tune the whole chain, pcm to mel to codes to mel to pcm: codec and vocoder together, end to end through the quantiser.

    python -m sottovoce.training.chain --preset base --data runs/data --out runs/base-chain \
        --codec runs/base-codec/base-codec.safetensors --vocoder runs/base-vocoder/base-vocoder.safetensors
    ... --judges period spectrum --judges-from runs/base-vocoder/state.pt   # go on with the vocoder's discriminators

The books stay where they are; what the sound lacks reaches the encoder through them straight. Every row uses a number of books
of its own, so that all bitrates stay good. As in a stream every clip is heard from silence, without a look ahead, and starts
anywhere. Resumes where ``--out`` has a state. Ends by writing both weight files: their codes are new ones.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sottovoce.models.checkpoint import load_net, load_vocoder, save
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import Preset
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole
from sottovoce.models.vocoder import Vocoder, make_vocoder
from sottovoce.models.weight_file import CheckpointError, read_metadata

from . import command, precision
from .adversary import Adversary, JudgeConfig
from .balance import Balancer, gradients
from .books import BookUse
from .codec import around_books, band_weight, draw_books, fix_books, mel_loss
from .data import Speech
from .discriminators import KINDS
from .distributed import diverse
from .listen import LISTENED_TO, Listener, aside
from .losses import MultiScaleMel, as_recorded
from .precision import Precision
from .run import Run, clip_gradients, cosine_lr, take_over
from .vocoder import in_line

SOUND_WEIGHTS = {"spectrum": 1.0, "fooling": 1.0, "features": 1.0}  # shares of the gradient that made sound gets
MEL_WEIGHTS = {"mel": 1.0, "sound": 1.0}  # and of that which decoded mel gets: from itself, and through the vocoder


@dataclass(frozen=True)
class Config:
    """What the command line may change."""

    steps: int
    judged_from: int
    "Step from which the vocoder hears its discriminators; they learn from the first on."
    batch: int = 8
    clip_s: float = 1.2
    lr: float = 2e-4
    judges: JudgeConfig = field(default_factory=lambda: JudgeConfig(kinds=KINDS))
    judges_from: Path | None = None
    "``state.pt`` of a run whose discriminators go on; None: new ones."
    commitment: float = 1.0
    encoder_share: float = 0.05
    "Of the learning rate, before the books: they do not follow what stands there, so it must not run away from them."
    slope_weight: float = 0.5
    envelope_weight: float = 1.0
    full_share: float = 0.5
    seed: int = 0
    precision: Precision = field(default_factory=Precision)
    listen_every: int = 0


def read_preset(codec: Path, vocoder: Path, name: str) -> Preset:
    """What two weight files are, as one.

    Raises:
        CheckpointError: one is missing or damaged, is not of preset ``name``, or they do not fit each other.
    """
    preset = load_net(codec).preset
    if preset.name != name:
        raise CheckpointError(codec, f"holds {preset.name!r}, not {name!r}; give --preset {preset.name}")
    load_vocoder(vocoder, preset)
    return dataclasses.replace(preset, vocoder=Preset.from_json(read_metadata(vocoder)["preset"]).vocoder)


def train(
    preset: Preset, config: Config, data: Path, run: Run, from_codec: Path, from_vocoder: Path
) -> tuple[MelCodec, Vocoder]:
    """The whole procedure; ``run`` owns the folder, the log and resuming. ``preset`` is that of ``read_preset``.

    Raises:
        Diverged: a number is not finite, a book fell out of use, or the discriminators cannot be fooled any more.
        CheckpointError: weights or states are missing, damaged or of something else.
        ValueError: ``data`` lacks what is asked for.
    """
    torch.manual_seed(config.seed)
    group, device = run.group, run.group.device
    net, vocoder = MelCodec(preset).to(device), make_vocoder(preset).to(device)
    adversary = Adversary(preset, config.judges, group, config.precision)
    front_end = LogMel(preset.mel).to(device)
    spectrum = MultiScaleMel(preset.rate_hz).to(device)
    use = BookUse(preset.quantiser).to(device)
    of_sound, of_mel = Balancer(SOUND_WEIGHTS, group), Balancer(MEL_WEIGHTS, group)
    groups = around_books(net, config.encoder_share)
    of_net = torch.optim.AdamW(groups, lr=config.lr, betas=(0.8, 0.99), weight_decay=0.0, fused=True)
    of_vocoder = torch.optim.AdamW(vocoder.parameters(), lr=config.lr, betas=(0.8, 0.99), weight_decay=0.0, fused=True)
    n_samples = int(config.clip_s * preset.rate_hz) // preset.frame_samples * preset.frame_samples
    speech = Speech(data, preset.rate_hz, n_samples, config.batch, config.seed)
    listener = Listener(run.folder, preset.rate_hz, config.listen_every, group)
    diverse(group, config.seed)
    judging = {"judges": adversary.judges, "of_judges": adversary.optimiser}
    modules: dict[str, Any] = {"net": net, "vocoder": vocoder, "of_net": of_net, "of_vocoder": of_vocoder, **judging}
    run.resume(**modules, of_sound=of_sound, of_mel=of_mel, use=use)
    if run.step == 0:
        net.load_state_dict(load_net(from_codec).state_dict())
        vocoder.load_state_dict(load_vocoder(from_vocoder, preset).state_dict())
        if config.judges_from:
            take_over(config.judges_from, **judging)
    fix_books(net)
    for module in (net, vocoder):
        module.train()
        config.precision.apply(module)
    joined_net, joined_vocoder = group.join(net), group.join(vocoder)
    adversary.begin()
    for step in run.steps():
        cosine_lr(of_net, config.lr, step, config.steps)
        cosine_lr(of_vocoder, config.lr, step, config.steps)
        pcm, wideband = (part.to(device) for part in speech.draw(group.batch(step)))
        mel = whole(front_end, pcm)
        used = draw_books(preset.books, config.batch, config.full_share).to(device)
        decoded, quantised = joined_net(mel, used)
        given = (
            decoded.detach().requires_grad_()
        )  # the chain is cut here, so that what comes back is weighed against mel
        made, _ = joined_vocoder(given, vocoder.initial_state(config.batch))
        real, heard = (as_recorded(x, wideband, preset.rate_hz) for x in (in_line(pcm, front_end), made))
        losses = {"spectrum": spectrum(heard, real)}
        opinion = adversary.judge(heard, real, step, config.steps)
        if step >= config.judged_from:
            losses |= {"fooling": opinion.fooling, "features": opinion.features}
        of_net.zero_grad(set_to_none=True)
        of_vocoder.zero_grad(set_to_none=True)
        made.backward(of_sound.mix(gradients(losses, made)))
        assert given.grad is not None
        weight = band_weight(preset, wideband)
        distance, shaped = mel_loss(decoded, mel, weight, config.slope_weight, config.envelope_weight)
        pulls = {**gradients({"mel": shaped}, decoded), "sound": given.grad}
        pull = of_mel.mix(pulls)
        # brought back to the size that the mel's own loss has, which is what the weight of the commitment is relative to
        pull = pull * (of_mel.norm("mel") * sum(MEL_WEIGHTS.values()) / MEL_WEIGHTS["mel"])
        torch.autograd.backward([decoded, config.commitment * quantised.commitment], [pull, None])
        norms = clip_gradients(net, 1.0), clip_gradients(vocoder, 50.0)
        of_net.step()
        of_vocoder.step()
        perplexity, usage = use.see(quantised.codes, group)
        run.log(
            mel=distance,
            commitment=quantised.commitment,
            **losses,
            judging=opinion.judging,
            gap=opinion.gap,
            gradient_codec=norms[0],
            gradient_vocoder=norms[1],
            perplexity_least=perplexity.min(),
            usage_least=usage.min(),
        )
        use.check(perplexity, usage, step)
        if listener.wants(step):
            listen(net, vocoder, front_end, speech, listener, step)
    return net, vocoder


def listen(net: MelCodec, vocoder: Vocoder, front_end: LogMel, speech: Speech, listener: Listener, step: int) -> None:
    """The same clips through the chain at one, half and all books."""
    with aside(net, vocoder):
        pcm = speech.draw(LISTENED_TO)[0][:2].to(front_end.window.device)
        mels: dict[str, Tensor] = {"original": whole(front_end, pcm)}
        sounds = {"original": in_line(pcm, front_end)}
        for books in sorted({1, max(1, net.preset.books // 2), net.preset.books}):
            name = f"{books} books"
            mels[name] = net(mels["original"], torch.full((len(pcm),), books, device=pcm.device))[0]
            sounds[name] = whole(vocoder, mels[name])
        listener.show(step, mels, sounds)


def main() -> None:
    parser = command.parser(__doc__, steps=4000, batch=Config.batch, clip_s=Config.clip_s, lr=Config.lr)
    command.add_judges(parser, KINDS, JudgeConfig.width)
    parser.add_argument("--codec", type=Path, required=True, help="weights of the codec to begin with")
    parser.add_argument("--vocoder", type=Path, required=True, help="weights of the vocoder to begin with")
    parser.add_argument("--weights", type=Path, help="folder where both weight files go; default OUT")
    parser.add_argument("--judged-from", type=int, default=500, help="step from which the discriminators count")
    parser.add_argument("--judges-from", type=Path, metavar="STATE", help="state.pt whose discriminators go on")
    parser.add_argument("--commitment", type=float, default=Config.commitment)
    parser.add_argument("--encoder-share", type=float, default=Config.encoder_share, help="of --lr, before the books")
    args = parser.parse_args()
    config = Config(
        steps=args.steps,
        judged_from=args.judged_from,
        batch=args.batch,
        clip_s=args.clip_s,
        lr=args.lr,
        judges=JudgeConfig(tuple(args.judges), args.judges_at_once, width=args.judge_width),
        judges_from=args.judges_from,
        commitment=args.commitment,
        encoder_share=args.encoder_share,
        seed=args.seed,
        precision=precision.asked_for(args),
        listen_every=args.listen_every,
    )
    with command.session(args) as run:
        preset = read_preset(args.codec, args.vocoder, args.preset)
        net, vocoder = train(preset, config, args.data, run, args.codec, args.vocoder)
        if run.group.rank == 0:
            folder, notes = args.weights or args.out, command.notes("chain", args, run, args.data)
            save(folder / f"{preset.name}-codec.safetensors", net, preset, "codec", notes)
            save(folder / f"{preset.name}-vocoder.safetensors", vocoder, preset, "vocoder", notes)


if __name__ == "__main__":
    main()
