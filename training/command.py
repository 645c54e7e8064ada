"""What the training commands have in common: their options, how they begin, and how they end."""

import argparse
import hashlib
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import torch

from sottovoce.models.config import PRESETS
from sottovoce.models.weight_file import CheckpointError, read_metadata

from . import precision
from .data import RATE_HZ, read_clips
from .discriminators import KINDS
from .distributed import joined
from .run import UNREADABLE, Diverged, Interrupted, Run

LISTEN_EVERY = 1000
BEGUN_FROM = ("start_from", "codec", "vocoder", "judges_from")
"""Options that name weights, or a state, of another run."""


def parser(description: str | None, steps: int, batch: int, clip_s: float, lr: float) -> argparse.ArgumentParser:
    """The options that every training has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--preset", choices=list(PRESETS), default="base")
    made.add_argument("--data", type=Path, default=Path("runs/data"))
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--steps", type=int, default=steps)
    made.add_argument("--minutes", type=float, default=float("inf"), help="stop this call after so long; resume later")
    made.add_argument("--batch", type=int, default=batch, help="clips a step, of each process")
    made.add_argument("--clip-s", type=float, default=clip_s)
    made.add_argument("--lr", type=float, default=lr)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--device", default="cpu", help="cuda where there is one")
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    made.add_argument(
        "--listen-every",
        type=int,
        default=LISTEN_EVERY,
        help="steps between pictures and sounds for TensorBoard; 0: none",
    )
    made.add_argument("--licence", default="Apache-2.0", help="of the weights, for their metadata")
    precision.add_arguments(made)
    return made


def add_judges(to: argparse.ArgumentParser, judges: tuple[str, ...], width: int) -> None:
    """The options of trainings that have discriminators."""
    to.add_argument("--judges", nargs="+", choices=KINDS, default=list(judges), help="kinds of discriminators")
    to.add_argument("--judges-at-once", type=int, default=1, help="of each kind a step, in turn; 5 asks all of them")
    to.add_argument(
        "--judge-width", type=int, default=width, help="channels; 32 is the papers' size for --judges scale"
    )


@contextmanager
def session(args: argparse.Namespace) -> Iterator[Run]:
    """The run that ``args`` describe; what a user can cause becomes one line and exit status 1.

    Ctrl-C and SIGTERM stop it at the end of a step, saved: exit status 130 and 143, as a shell expects them.
    """
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = False  # the front end and the quantiser mean float32
    try:
        if args.steps < 1 or args.batch < 1 or args.clip_s <= 0:
            raise ValueError("--steps, --batch and --clip-s must be above zero")
        with joined(args.device) as group:
            run = Run(args.out, args.steps, args.minutes, group=group)
            with _heeding_signals(run):
                yield run
    except Interrupted as stopped:
        if run.group.rank == 0:
            print(stopped, file=sys.stderr)
        sys.exit(128 + stopped.signal_number)
    except Diverged as error:
        sys.exit(f"training stopped: {error}")
    except (CheckpointError, ValueError) as error:
        sys.exit(f"cannot train: {error}")


@contextmanager
def _heeding_signals(run: Run) -> Iterator[None]:
    """Only the main thread may do this."""
    before = {
        number: signal.signal(number, lambda number, _: run.interrupt(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def clips_hours(data: Path) -> float:
    return sum(clip.n_samples for clip in read_clips(data)) / RATE_HZ / 3600


def notes(module: str, args: argparse.Namespace, run: Run, data: Path | float) -> dict[str, str]:
    """What the metadata of a weight file say about its making. No path of this machine is among it.

    ``data`` is a prepared folder, or the hours of speech themselves.
    """
    hours = data if isinstance(data, float) else clips_hours(data)
    on_gpu = run.group.device.type == "cuda"
    given = {name: path for name in BEGUN_FROM if isinstance(path := getattr(args, name, None), Path)}
    begun_from = "; ".join(f"{name} {_described(path)}" for name, path in given.items())
    return {
        "command": f"python -m sottovoce.training.{module} " + shlex.join(map(_without_place, sys.argv[1:])),
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name(run.group.device) if on_gpu else f"cpu, {args.threads} threads",
        **({"begun_from": begun_from} if begun_from else {}),
        "licence": args.licence,
        "steps": str(run.step),
        "trained_s": f"{run.trained_s:.0f}",
        "data": f"{hours:.2f} hours of speech",
    }


def _without_place(word: str) -> str:
    """A word of the command; an absolute path as it is seen from here, or by its name alone."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    path = Path(value)
    if path.is_absolute():
        value = str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
    return option + equals + value


def _described(path: Path) -> str:
    """Name, hash and steps of weights or of a run's state."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        if path.suffix == ".pt":
            steps = torch.load(path, weights_only=True, map_location="cpu", mmap=True)["step"]
        else:
            steps = read_metadata(path).get("steps", "unknown")
    except (*UNREADABLE, CheckpointError):
        return f"{path.name}, not there any more"  # a run that is resumed needs it no more
    return f"{path.name}, sha256 {digest}, {steps} steps"
