"""Check a talker against its codec, its vocoder and speech that it did not learn from.

    python -m sottovoce.training.talk_checks runs/base-talker/base-talker.safetensors --data runs/talk

The checks themselves are in ``models/talker_checks.py``, without torch, for any backend. Without ``--data`` the utterance that
the weight file carries is used. Exit status 1: something is wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sottovoce.models.checkpoint import load_talker
from sottovoce.models.talker import Talker
from sottovoce.models.talker_checks import KNOWN, Finding, Known, Logits, Predict, belongs, fits, listens
from sottovoce.models.talker_file import read_about
from sottovoce.models.weight_file import WEIGHTS, CheckpointError, default_path, model_hash, read, read_metadata

from .talk_rows import held_out
from .talk_store import TalkData

LONGEST_FRAMES = 250
CHECKED = 20


def predictor(talker: Talker) -> Predict:
    """Teacher forcing through the torch modules."""
    talker.eval()

    @torch.no_grad()
    def predict(known: Known) -> Logits:
        codes, symbols, slots = (torch.from_numpy(part)[None] for part in (known.codes, known.symbols, known.slots))
        found: Logits = talker.logits(codes, symbols, slots, torch.tensor([known.voice]))[0].numpy()
        return found

    return predict


def known_utterances(data: TalkData, voices: Sequence[str], most: int = CHECKED) -> list[Known]:
    """Held-out utterances of these voices, none longer than ten seconds; the last ones where nothing is held out."""
    fitting = [i for i, one in enumerate(data.utterances) if one.voice in voices and one.n_frames <= LONGEST_FRAMES]
    chosen = [i for i in fitting if held_out(data.utterances[i].key)] or fitting[-1:]
    return [
        Known(
            data.symbols(i), data.slots(i), np.asarray(data.codes(i), np.int64), voices.index(data.utterances[i].voice)
        )
        for i in chosen[:most]
    ]


def examine_file(path: Path, weights: Path = WEIGHTS, data: TalkData | None = None) -> list[Finding]:
    """The talker in ``path`` with the codec and the vocoder in ``weights``.

    Raises:
        CheckpointError: a file is missing or damaged.
        ValueError: there is no known utterance to listen to.
    """
    about = read_about(path)
    codec, tensors = read(default_path(about.config.codec, "codec", weights), "codec")
    vocoder, _ = read(default_path(about.config.codec, "vocoder", weights), "vocoder")
    metadata = read_metadata(path)
    head = [*fits(about.config, codec, vocoder), *belongs(metadata, model_hash(codec, tensors))]
    if not head[0].good or not head[1].good:
        return head
    talker, _ = load_talker(path, codec, about.model_hash)
    if data:
        known = known_utterances(data, [voice.name for voice in about.voices])
    else:
        known = [Known.from_text(metadata[KNOWN])] if KNOWN in metadata else []
    if not known:
        raise ValueError(f"{path}: carries no known utterance; give --data")
    return [*head, *listens(predictor(talker), known, about.config.mels_per_frame)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("talker", type=Path)
    parser.add_argument("--codec", type=Path, default=WEIGHTS, help="folder of the weights of codec and vocoder")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of training.talk_data")
    args = parser.parse_args(argv)
    try:
        found = examine_file(args.talker, args.codec, TalkData(*args.data) if args.data else None)
    except (CheckpointError, ValueError) as error:
        sys.exit(f"talk_checks: {error}")
    for one in found:
        print(f"{'good ' if one.good else 'WRONG'} {one.name}: {one.detail}")
    sys.exit(0 if all(one.good for one in found) else 1)


if __name__ == "__main__":
    main()
