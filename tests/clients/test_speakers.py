"""A server speaks where there is a talker for its codec, and serves as ever where there is none."""

import asyncio
from pathlib import Path

import pytest

from sottovoce.clients.engines import ECHO, EngineOptions
from sottovoce.clients.speakers import add_speakers
from sottovoce.stream.engine import EchoEngine
from sottovoce.stream.errors import UsageError, WeightsError
from sottovoce.stream.onnx_engine import OnnxEngine
from support import tiny_talk


def codec() -> OnnxEngine:
    return OnnxEngine(codec=tiny_talk.graphs()[0])


def test_a_talker_beside_the_codec_speaks_in_its_voices(tmp_path: Path) -> None:
    tiny_talk.write_codec(tmp_path)
    tiny_talk.write_talker(tmp_path)
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("sottovoce\tsˌɑtəvˈOʧi\n")
    engine, speakers = add_speakers(codec(), EngineOptions("tiny", weights=tmp_path), lexicon)
    assert speakers is not None
    assert speakers.names == ("ann", "joe")
    assert engine.descriptor.preset == "tiny"
    (word,) = asyncio.run(speakers.reader(0).words("sottovoce"))
    assert word.phonemes == "sˌɑtəvˈOʧi"
    with pytest.raises(UsageError, match="ann, joe"):
        speakers.number("bob")


def test_without_a_talker_it_is_the_codec_alone(tmp_path: Path) -> None:
    tiny_talk.write_codec(tmp_path)
    for engine, options in (
        (codec(), EngineOptions("tiny", weights=tmp_path)),
        (codec(), EngineOptions("unheard-of", weights=tmp_path)),
        (EchoEngine(), EngineOptions(ECHO)),
    ):
        assert add_speakers(engine, options) == (engine, None)
        with pytest.raises(UsageError, match="no talker"):
            add_speakers(engine, options, tmp_path / "lexicon.txt")


def test_a_talker_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    tiny_talk.write_codec(tmp_path)
    path = tiny_talk.write_talker(tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsError, match="tiny"):
        add_speakers(codec(), EngineOptions("tiny", weights=tmp_path))
