"""Train the talker: text to the codes of our codec.

    python -m sottovoce.training.talker --preset base --data runs/talk --out runs/base-talker --steps 40000
    python -m sottovoce.training.talker --preset tiny --data runs/talk --out runs/tiny --steps 20    # seconds, for the tests

``--data`` are folders that ``training.talk_data`` wrote with the codec whose weights lie in ``--codec``. Resumes where
``--out`` has a state. One utterance in a hundred is held out: every ``--check-every`` steps its figures stand in the log under
``held_out_*``. Ends by writing the weights to ``--weights``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from sottovoce.models.attention import Block
from sottovoce.models.checkpoint import load_net, load_talker, load_vocoder, save_talker
from sottovoce.models.codec import CodesToMel, MelCodec
from sottovoce.models.config import PRESETS
from sottovoce.models.streaming import Streaming, whole
from sottovoce.models.talker import Talker
from sottovoce.models.talker_checks import KNOWN
from sottovoce.models.talker_config import TALKERS, TalkerConfig
from sottovoce.models.weight_file import WEIGHTS, CheckpointError, default_path, model_hash, read

from . import command, precision
from .distributed import diverse
from .listen import Listener, aside
from .precision import Precision
from .run import Run, clip_gradients, cosine_lr
from .talk_cast import ANYBODY, cast
from .talk_checks import known_utterances
from .talk_loss import Figures, LossConfig, TalkerLoss, neighbours
from .talk_play import said
from .talk_rows import RowDrawer
from .talk_store import TalkData

CHECKED_BATCHES = 4


@dataclass(frozen=True)
class Config:
    """What the command line may change."""

    steps: int
    batch: int = 8
    row_s: float = 10.0
    lr: float = 1e-3
    dropout: float = 0.1
    balance: float = 0.5
    "1: voices are drawn as often as they have sound; 0: all alike."
    cut_share: float = 0.5
    "How likely a clause ends at punctuation within a sentence."
    voice_dropout: float = 0.0
    "Share of rows under the voice ``any``."
    losses: LossConfig = field(default_factory=LossConfig)
    check_every: int = 500
    start_from: Path | None = None
    seed: int = 0
    precision: Precision = field(default_factory=Precision)
    listen_every: int = 0


@dataclass(frozen=True)
class Given:
    """What is learnt from, checked to belong together."""

    data: TalkData
    voices: tuple[str, ...]
    shape: TalkerConfig
    codec: MelCodec
    vocoder: Streaming | None
    "For listening."


def gather(preset: str, folders: Sequence[Path], codec: Path, voices: Sequence[str] | None, least_minutes: float,
           voice_dropout: float = 0.0) -> Given:  # fmt: skip
    """Data and codec for the talker ``preset``.

    Args:
        codec: folder of the codec's weights.
        voices: in the order of their ids; None: all that have ``least_minutes`` of speech, those with most first.

    Raises:
        TalkDataError: data are missing or damaged.
        CheckpointError: the codec is missing, or not the one that wrote the data.
        ValueError: no voice has enough speech, or one that was named has none.
    """
    data, shape = TalkData(*folders), TALKERS[preset]
    about = data.about
    path = default_path(about.codec, "codec", codec)
    own, tensors = read(path, "codec")
    if (found := model_hash(own, tensors)) != about.model_hash:
        raise CheckpointError(
            path, f"is {found}, the data speak {about.model_hash}; make them anew with training.talk_data"
        )
    if not shape.speaks(PRESETS[about.codec]):
        raise ValueError(f"talker {preset} speaks codes of {shape.codec}, the data are of {about.codec}")
    have = data.voices
    least = least_minutes * 60 / about.frame_s
    names = tuple(voices or (voice for voice, frames in have.most_common() if frames >= least))
    if not names:
        raise ValueError(f"no voice has {least_minutes} minutes of speech; the most is {have.most_common(1)[0]}")
    if unknown := [name for name in names if not have[name]]:
        raise ValueError(f"no speech of {', '.join(unknown)}; there are {', '.join(have)}")
    if voice_dropout:
        names = (*names, ANYBODY)
    sound = default_path(about.codec, "vocoder", codec)
    vocoder = load_vocoder(sound, own) if sound.exists() else None
    return Given(data, names, replace(shape, voices=len(names)), load_net(path), vocoder)


def named_voices(voices: Sequence[str]) -> list[str]:
    """Without ``any``."""
    return [voice for voice in voices if voice != ANYBODY]


def flat(figures: Figures, prefix: str = "") -> dict[str, Tensor]:
    """For the log: one number each."""
    numbers = {"loss": figures.loss, "ce": figures.cross_entropy.mean(), "accuracy": figures.accuracy.mean()}
    numbers |= {f"ce_{book}": value for book, value in enumerate(figures.cross_entropy)}
    numbers |= {f"accuracy_{book}": value for book, value in enumerate(figures.accuracy)}
    numbers |= {"duration": figures.duration, "duration_slots": figures.duration_slots, "pace": figures.pace}
    return {prefix + name: value for name, value in numbers.items()}


def make_fast(talker: Talker, how: Precision) -> None:
    """Compile the blocks whose shapes stay the same from step to step."""
    if how.compiled:
        for part in talker.frames.modules():
            if isinstance(part, Block):
                part.forward = torch.compile(part.forward)  # type: ignore[method-assign]
        talker.depth.forward = torch.compile(talker.depth.forward)  # type: ignore[method-assign]


def train(given: Given, config: Config, run: Run) -> Talker:
    """The whole procedure; ``run`` owns the folder, the log and resuming.

    Raises:
        Diverged: a number is not finite.
        CheckpointError: weights or state are missing, damaged or of something else.
        ValueError: there is nothing to learn from.
    """
    torch.manual_seed(config.seed)
    group, device = run.group, run.group.device
    talker = Talker(given.shape, config.dropout).to(device)
    optimiser = torch.optim.AdamW(decayed(talker), lr=config.lr, betas=(0.9, 0.95), fused=True)
    voices = named_voices(given.voices)
    drawer = RowDrawer(
        given.data,
        voices,
        config.row_s,
        config.batch,
        config.seed,
        config.balance,
        config.cut_share,
        config.voice_dropout,
    )
    checks = checking(given, voices, config)
    listener = Listener(run.folder, given.data.about.rate_hz, config.listen_every, group)
    diverse(group, config.seed)
    run.resume(net=talker, optimiser=optimiser)
    if run.step == 0:
        begin(talker, given, config.start_from)
    taught = TalkerLoss(talker, config.losses, neighbours(given.codec.quantiser)).to(device)
    taught.train()
    make_fast(talker, config.precision)
    joined = group.join(taught)
    for step in run.steps():
        cosine_lr(optimiser, config.lr, step, config.steps)
        rows = drawer.draw(group.batch(step)).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision.bf16):
            figures: Figures = joined(rows)
        optimiser.zero_grad(set_to_none=True)
        figures.loss.backward()
        norm = clip_gradients(talker, 1.0)
        optimiser.step()
        held_out = check(taught, checks) if checks and config.check_every and step % config.check_every == 0 else {}
        run.log(**flat(figures), gradient=norm, **held_out)
        if listener.wants(step) and checks:
            listen(talker, given, checks, listener, step)
    return talker


def decayed(talker: Talker) -> list[dict[str, object]]:
    """Weight decay for matrices alone: norms, biases and embeddings have their own scale."""
    tables = {id(talker.codes.tables), id(talker.voices.weight), id(talker.encoder.symbols.weight)}
    matrices = [p for p in talker.parameters() if p.ndim > 1 and id(p) not in tables]
    others = [p for p in talker.parameters() if p.ndim <= 1 or id(p) in tables]
    return [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]


def begin(talker: Talker, given: Given, start_from: Path | None) -> None:
    """Where a new run starts: from weights, or with codes embedded as the codec's own vectors, where these are as wide.

    Raises:
        CheckpointError: the weights are missing, damaged, or of another talker, codec or voices.
    """
    if start_from is None:
        if given.codec.preset.quantiser.code_width == given.shape.code_width:
            talker.start(given.codec.quantiser)
        return
    preset = given.codec.preset
    before, about = load_talker(start_from, preset, given.data.about.model_hash)
    names = tuple(voice.name for voice in about.voices)
    if about.config != given.shape or names != given.voices:
        raise CheckpointError(
            start_from, f"a talker of other shape or voices ({', '.join(names)}); name them by --voices"
        )
    talker.load_state_dict(before.state_dict())


def checking(given: Given, voices: Sequence[str], config: Config) -> RowDrawer | None:
    """Rows of what is held out, the same ones for all runs; None where the data are too few to hold anything out."""
    try:
        return RowDrawer(given.data, voices, config.row_s, config.batch, balance=1.0, checking=True)
    except ValueError:
        return None


def check(taught: TalkerLoss, held_out: RowDrawer) -> dict[str, Tensor]:
    """Figures of what nothing was learnt from, undisturbed."""
    device = taught.near.device
    with aside(taught):
        figures = [taught(held_out.draw(number).to(device)) for number in range(CHECKED_BATCHES)]
    return flat(Figures(*(torch.stack(parts).mean(0) for parts in zip(*figures, strict=True))), "held_out_")


def listen(talker: Talker, given: Given, held_out: RowDrawer, listener: Listener, step: int) -> None:
    """The first seconds of two held-out rows: as they are, and as the talker says them with their true times."""
    device = next(talker.parameters()).device
    rows = held_out.draw(0)
    with aside(talker):
        codes = {"original": rows.codes[:2], "said": said(talker, rows, 2, device).cpu()}
        mels = {name: whole(CodesToMel(given.codec), each) for name, each in codes.items()}
        sounds = {name: whole(given.vocoder, mel) for name, mel in mels.items()} if given.vocoder else {}
        listener.show(step, mels, sounds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(TALKERS), default="base")
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("runs/talk")])
    parser.add_argument("--codec", type=Path, default=WEIGHTS, help="folder of the weights of codec and vocoder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--weights", type=Path, help="where the finished weights go; default OUT/<preset>-talker.safetensors"
    )
    parser.add_argument("--voices", nargs="+", help="in the order of their numbers; default: all with --least-minutes")
    parser.add_argument("--least-minutes", type=float, default=2.0, help="of speech that a voice needs")
    parser.add_argument(
        "--about", nargs="*", default=[], metavar="VOICE=SEX,LANGUAGE,LICENCE", help="of people's voices"
    )
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop this call after so long; resume later"
    )
    parser.add_argument("--batch", type=int, default=Config.batch, help="rows a step, of each process")
    parser.add_argument("--row-s", dest="clip_s", type=float, default=Config.row_s, help="seconds of a row")
    parser.add_argument("--lr", type=float, default=Config.lr)
    parser.add_argument("--dropout", type=float, default=Config.dropout)
    parser.add_argument("--balance", type=float, default=Config.balance, help="of voices: 1 by sound, 0 all alike")
    parser.add_argument("--cut-share", type=float, default=Config.cut_share, help="of commas that end a clause")
    parser.add_argument("--voice-dropout", type=float, default=0.0, help="share of rows under the voice 'any'")
    for name, default in LossConfig.__dataclass_fields__.items():
        parser.add_argument("--" + name.replace("_", "-"), type=float, default=default.default)
    parser.add_argument("--check-every", type=int, default=Config.check_every, help="steps; 0: never")
    parser.add_argument("--start-from", type=Path, help="weights to go on from, with a new schedule")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cuda where there is one")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--listen-every", type=int, default=command.LISTEN_EVERY, help="0: no sounds for TensorBoard")
    parser.add_argument("--licence", default="Apache-2.0", help="of the weights, for their metadata")
    precision.add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    with command.session(args) as run:
        losses = LossConfig(**{name: getattr(args, name) for name in LossConfig.__dataclass_fields__})
        config = Config(
            args.steps, args.batch, args.clip_s, args.lr, args.dropout, args.balance, args.cut_share, args.voice_dropout,
            losses, args.check_every, args.start_from, args.seed, precision.asked_for(args), args.listen_every,
        )  # fmt: skip
        given = gather(args.preset, args.data, args.codec, args.voices, args.least_minutes, args.voice_dropout)
        told = ", ".join(given.voices)
        print(f"{given.data.hours:.2f} h, {len(given.data)} utterances, {len(given.voices)} voices: {told}", flush=True)
        voices = cast(given.data, given.voices, args.about)
        talker = train(given, config, run)
        if run.group.rank == 0:
            path = args.weights or args.out / f"{args.preset}-talker.safetensors"
            notes = command.notes("talker", args, run, given.data.hours)
            if known := known_utterances(given.data, named_voices(given.voices), most=1):
                notes[KNOWN] = known[0].to_text()
            save_talker(path, talker, voices, given.data.about.model_hash, notes)


if __name__ == "__main__":
    main()
