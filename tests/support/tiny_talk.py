"""A talker and its codec of a few thousand weights, in memory or as files, and a reader without dictionaries."""

from collections.abc import AsyncIterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from sottovoce.models.checkpoint import save, save_talker
from sottovoce.models.codec import MelCodec
from sottovoce.models.config import TINY
from sottovoce.models.onnx_codec import OnnxCodec, build_codec
from sottovoce.models.onnx_talker import OnnxTalker, build_talker
from sottovoce.models.talker import Talker
from sottovoce.models.talker_config import TALKER_TINY
from sottovoce.models.talker_file import Voice
from sottovoce.models.vocoder import make_vocoder
from sottovoce.models.weight_file import default_path, model_hash, read
from sottovoce.stream.onnx_engine import OnnxEngine
from sottovoce.stream.onnx_talk import OnnxTalk
from sottovoce.stream.session_events import TextArrived
from sottovoce.stream.spoken import Spoken
from sottovoce.stream.talk_engine import TalkEngine

VOICES = (Voice("ann", "female", "en-US", "CC0-1.0"), Voice("joe", "male", "en-GB", "Apache-2.0"))
LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz", "æbkdɛfɡhɪʤklmnɑpkɹstʌvwksj", strict=False)) | {"y": "j", "z": "z"}


def write_codec(folder: Path) -> None:
    """Codec and vocoder of the preset ``tiny``, untrained."""
    torch.manual_seed(0)
    save(default_path("tiny", "codec", folder), MelCodec(TINY), TINY, "codec", {})
    save(default_path("tiny", "vocoder", folder), make_vocoder(TINY), TINY, "vocoder", {})


def write_talker(folder: Path, talker: Talker | None = None, **notes: str) -> Path:
    """A talker for the codec in ``folder``; by default one whose codes change with everything that it is told."""
    preset, tensors = read(default_path("tiny", "codec", folder), "codec")
    path = default_path("tiny", "talker", folder)
    save_talker(path, talker or stirred(), VOICES, model_hash(preset, tensors), notes)
    return path


def stirred() -> Talker:
    """Symbols of it last some 20 ms."""
    torch.manual_seed(1)
    talker = Talker(TALKER_TINY)
    with torch.no_grad():
        for parameter in talker.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        talker.durations.leave.bias.fill_(float(np.log1p(2)))
    return talker.eval()


@cache
def graphs() -> tuple[OnnxCodec, OnnxTalker]:
    """Both, once for all tests."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_codec(folder)
        path = write_talker(folder)
        codec = build_codec("tiny", folder)
        return codec, build_talker(path, TINY, codec.model_hash)


def half(talker: Talker) -> Talker:
    """With its weights as a file keeps them."""
    return talker.half().float()


def engine(rows: int = 1) -> TalkEngine:
    """One that talks."""
    codec, talker = graphs()
    return TalkEngine(OnnxEngine(rows=rows, codec=codec), TINY, OnnxTalk(talker, rows))


class Speller:
    """Reads every letter as one sound."""

    async def words(self, text: str) -> list[Spoken]:
        words, at = [], 0
        for word in text.split():
            start = text.index(word, at)
            at = start + len(word)
            sounds = "".join(LETTERS.get(char, "") for char in word.lower())
            mark = word[-1] if word[-1] in ",.!?" else ""
            if sounds:
                words.append(Spoken(word, sounds, start, at, "", mark))
        return words


async def pieces(*texts: str, generation: int = 0) -> AsyncIterator[TextArrived]:
    """As a client sends them."""
    for text in texts:
        yield TextArrived(text, generation)
    yield TextArrived(None, generation, end=True)


def cut(text: str, places: Sequence[int]) -> list[str]:
    """``text`` in pieces."""
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]
