"""What each of two processes does in `test_distributed.py`; torchrun starts it with the data and an output folder."""

import dataclasses
import math
import sys
from pathlib import Path

import torch
from torch import nn

from sottovoce.models.checkpoint import save
from sottovoce.models.config import TINY, VOCODERS
from sottovoce.models.rvq import Book
from sottovoce.training import chain, codec, vocoder
from sottovoce.training.adversary import JudgeConfig
from sottovoce.training.discriminators import KINDS
from sottovoce.training.distributed import Group, joined
from sottovoce.training.run import Diverged, Run

JUDGES = JudgeConfig(kinds=KINDS, judged_s=0.15, width=4)
VOCOS = dataclasses.replace(TINY, vocoder=VOCODERS["tiny"]["vocos"])
CODEC = codec.Config(steps=4, batch=2, clip_s=0.5, start_batches=4, full_share=1.0)


def revived(group: Group) -> nn.Module:
    """A book that most of what it holds is of no use to, trained on other inputs in each process."""
    torch.manual_seed(0)
    book = Book(64, 4, unit=False)
    book.peers = group
    torch.manual_seed(group.rank)
    for _ in range(400):
        x = torch.randn(20, 4) + 5 * group.rank
        book.learn(x, book.nearest(x))
    return book


def main(data: Path, out: Path) -> None:
    with joined("cpu") as group:

        def run(name: str, steps: int) -> Run:
            return Run(out / name, steps, math.inf, save_every_s=0, group=group)

        def keep(name: str, *modules: nn.Module) -> None:
            torch.save([module.state_dict() for module in modules], out / f"{name}-{group.rank}.pt")

        keep("book", revived(group))
        net = codec.train(TINY, CODEC, data, run("codec", 4))
        keep("codec", net)
        codec.train(TINY, CODEC, data, run("codec-broken", 2))
        keep("codec-broken", codec.train(TINY, CODEC, data, run("codec-broken", 4)))
        of_vocoder = vocoder.Config(steps=3, judged_from=1, batch=2, clip_s=0.2, judges=JUDGES, balance=True)
        sound = vocoder.train(VOCOS, of_vocoder, data, run("vocoder", 3))
        keep("vocoder", sound)
        files = out / "tiny-codec.safetensors", out / "tiny-vocoder.safetensors"
        if group.rank == 0:
            save(files[0], net, TINY, "codec", {})
            save(files[1], sound, VOCOS, "vocoder", {})
        group.gathered(None)  # wait until both are there
        preset = chain.read_preset(*files, "tiny")
        of_chain = chain.Config(steps=4, judged_from=1, batch=2, clip_s=0.25, judges=JUDGES)
        keep("chain", *chain.train(preset, of_chain, data, run("chain", 4), *files))
        chain.train(preset, of_chain, data, run("chain-broken", 2), *files)
        keep("chain-broken", *chain.train(preset, of_chain, data, run("chain-broken", 4), *files))
        try:
            run("nan", 1).log(loss=math.nan if group.rank else 1.0)
        except Diverged as error:
            (out / f"nan-{group.rank}.txt").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
