"""``sottovoce say``: what is spoken, where it goes, and how it fails. With a talker of a few thousand weights."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sottovoce.clients import cli, engines
from sottovoce.clients.engines import EngineOptions
from sottovoce.clients.pipes import Input
from sottovoce.clients.say import SayOptions, print_voices, say_text
from sottovoce.clients.say_ends import SayEnds
from sottovoce.clients.soundcard import SoundCard
from sottovoce.clients.text_in import PATIENCE_S, text_source, typed
from sottovoce.stream.errors import AudioFileError, SottovoceError, ThinkerError, UsageError, WeightsError
from sottovoce.stream.frames import Frame
from sottovoce.stream.session_events import TextArrived
from sottovoce.stream.talk_work import Manner
from support import tiny_talk, virtual_time
from support.fake_card import FakeAudio
from support.fake_chat import DONE, Line, chatting, delta
from support.program import interruptible, refused, script
from support.same import STEP_16_BITS, assert_same

TEXT = "Good day, dear friend. It has left."
START = """
from sottovoce.clients import engines
engines.PRESETS += ("tiny",)
from sottovoce.clients.cli import main
sys.exit(main())
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes and signals")


class Speller(tiny_talk.Speller):
    """Stands for the reader, without its dictionaries."""

    def __init__(self, *_: object) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny_talk.write_codec(folder)
    tiny_talk.write_talker(folder)
    return folder


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "PRESETS", (*engines.PRESETS, "tiny"))


def say(weights: Path, text: str | None, **options: Any) -> None:
    say_text(SayOptions(EngineOptions("tiny", weights=weights), text, **options), Speller)


def talking(weights: Path, *arguments: object) -> list[str]:
    """The program in a process of its own, with all that belongs to it."""
    return script(START, "say", "--preset", "tiny", "--weights", weights, *arguments)


# ---- what is said --------------------------------------------------------------------------------------------------


def test_a_text_becomes_a_file_the_same_one_with_the_same_seed(weights: Path, tmp_path: Path) -> None:
    for name, options in {"a": {}, "b": {}, "seed": {"seed": 1}, "slow": {"speed": 0.5}}.items():
        say(weights, TEXT, output=str(tmp_path / f"{name}.wav"), manner=Manner(**options))  # type: ignore[arg-type]
    a, b, seed, slow = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("a", "b", "seed", "slow"))
    assert_same(a, b, STEP_16_BITS)
    assert not np.array_equal(a, seed)
    assert len(slow) > 1.5 * len(a)
    for options in ({"voice": "joe"}, {"books": 1}):
        say(weights, TEXT, output=str(tmp_path / "other.wav"), **options)
        other = soundfile.read(tmp_path / "other.wav")[0]
        assert not np.array_equal(other, a)


def test_words_are_printed_with_their_times_and_the_rest_goes_elsewhere(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say(weights, TEXT, output=str(tmp_path / "a.flac"), words=True)
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert [line[2] for line in lines] == TEXT.split()
    times = [float(second) for line in lines for second in line[:2]]
    assert times == sorted(times)
    assert times[-1] <= soundfile.info(tmp_path / "a.flac").duration
    for part in ("voice             ann, codec tiny ", "sound ", "first audio ", "in the models, "):
        assert part in err


def test_voices_are_listed_without_loading_anything(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny-talker.safetensors").write_bytes((weights / "tiny-talker.safetensors").read_bytes())
    print_voices(EngineOptions("tiny", weights=tmp_path))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["ann", "female", "en-US", "CC0-1.0"],
        ["joe", "male", "en-GB", "Apache-2.0"],
    ]


# ---- where the text comes from -------------------------------------------------------------------------------------


@posix
def test_a_pipe_is_read_while_it_is_written_and_a_line_that_stands_alone_is_said() -> None:
    """In virtual time. A letter of three bytes comes in two pieces, and some bytes are no letter."""
    read_end, write_end = os.pipe()
    arrived: list[tuple[float, TextArrived]] = []

    async def main() -> None:
        file = Input("-", AudioFileError)
        file.file.close()
        file.file = open(read_end, "rb", buffering=0)  # noqa: SIM115, ASYNC230  type: ignore
        file.waits_on = read_end

        async def write() -> None:
            for wait_s, data in [
                (1.0, b"\xef\xbb\xbfOne "), (10.0, b"two \xe2\x82"), (0.1, b"\xac\xff.\n"), (0.4, b"Th\0ree.\n"),
                (9.0, b"Four.\n"),
            ]:  # fmt: skip
                await asyncio.sleep(wait_s)
                os.write(write_end, data)
            await asyncio.sleep(0.1)
            os.close(write_end)

        with closing(file):
            writing = asyncio.create_task(write())
            arrived.extend([(round(virtual_time.now_s(), 6), piece) async for piece in typed(file)])
            await writing

    virtual_time.run(main())
    assert arrived == [
        (1.0, TextArrived("One ", 0)),
        (11.0, TextArrived("two ", 0)),
        (11.1, TextArrived("\N{EURO SIGN}\N{REPLACEMENT CHARACTER}.\n", 0)),
        (11.5, TextArrived("Th\0ree.\n", 0)),
        (11.5 + PATIENCE_S, TextArrived(None, 0)),
        (20.5, TextArrived("Four.\n", 0)),
    ]


@pytest.mark.parametrize(
    ("text", "chat", "words"),
    [
        ("", None, "the text is empty"),
        (" \n", None, "the text is empty"),
        ("", "http://localhost/v1", "the text is empty"),
        (None, "http://localhost/v1", "--chat needs a question"),
        ("-", "http://localhost/v1", "--chat needs a question"),
        ("why?", "localhost", "--chat is like http://localhost:11434/v1, not 'localhost'"),
    ],
)
def test_a_text_that_is_none_is_refused_at_once(text: str | None, chat: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        text_source(text, chat)


def test_without_a_text_nor_a_pipe_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="give a text"):
        text_source(None)
    with pytest.raises(AudioFileError, match="standard input is closed"):
        text_source("-")


def test_what_is_missing_for_chat_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    monkeypatch.delitem(sys.modules, "sottovoce.stream.thinker", raising=False)
    with pytest.raises(UsageError, match=r"httpx2 must be installed for --chat: pip install 'sottovoce\[talk\]'"):
        text_source("why?", "http://localhost/v1")


@pytest.mark.parametrize("breaks", [False, True])
def test_an_answer_is_spoken_and_shown_and_what_went_wrong_is_told_after_it(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], breaks: bool
) -> None:
    """The server is in a thread: the program has an event loop of its own."""
    answers = iter((TEXT[:9], TEXT[9:]))

    async def answer(line: Line) -> None:
        await line.begin()
        await line.send(*map(delta, answers))
        if not breaks:
            await line.send(DONE)
            await line.end()

    out = tmp_path / "a.wav"

    async def main() -> None:
        async with chatting(answer) as url:
            await asyncio.to_thread(say_in_thread, url)

    def say_in_thread(url: str) -> None:
        say(weights, "why?", chat=url, model="m", output=str(out))

    if breaks:
        with pytest.raises(ThinkerError, match="broke"):
            asyncio.run(main())
        assert list(tmp_path.iterdir()) == []
    else:
        asyncio.run(main())
        assert soundfile.info(out).duration > 0.5
    assert capsys.readouterr().out.splitlines() == ["Good day, dear friend.", "It has left."]


# ---- what cannot be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "kind", "words"),
    [
        (TEXT, {"voice": "eve"}, UsageError, "there is no voice 'eve'; choose one of ann, joe"),
        (TEXT, {"books": 5}, UsageError, "--books must be 1 to 4"),
        (TEXT, {"output": "a.xyz"}, AudioFileError, "names no format"),
        (TEXT, {"output": "none/a.wav"}, AudioFileError, "its folder does not exist"),
        (TEXT, {"output": "folder.wav"}, AudioFileError, "it is a folder"),
        ("...!? --", {}, UsageError, "nothing in this text that can be said"),
        ("\N{GRINNING FACE} \0\N{REPLACEMENT CHARACTER}", {}, UsageError, "nothing in this text that can be said"),
    ],
)
def test_what_cannot_be_said_leaves_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, options: dict[str, Any],
    kind: type[SottovoceError], words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(kind, match=words):
        say(weights, text, **{"output": "a.wav", **options})
    assert [path.name for path in tmp_path.iterdir()] == ["folder.wav"]


def test_no_talker_is_one_line_before_anything_is_loaded(tmp_path: Path) -> None:
    for preset, words in (
        ("tiny", "tiny-talker.safetensors is not there"),
        ("nothing", "no talker for the codec nothing"),
    ):
        for use in (
            lambda options: print_voices(options),
            lambda options: say_text(SayOptions(options, TEXT, output=str(tmp_path / "a.wav"))),
        ):
            with pytest.raises(WeightsError, match=words):
                use(EngineOptions(preset, weights=tmp_path))
    with pytest.raises(UsageError, match="the echo engine cannot speak"):
        print_voices(EngineOptions("echo"))


def test_damaged_weights_are_one_line(weights: Path, tmp_path: Path) -> None:
    for path in weights.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    talker = tmp_path / "tiny-talker.safetensors"
    talker.write_bytes(talker.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot load the talker of tiny: "):
        say(tmp_path, TEXT, output=str(tmp_path / "a.wav"))
    talker.write_bytes((weights / "tiny-codec.safetensors").read_bytes())
    with pytest.raises(WeightsError, match="holds 'codec', not a talker"):
        print_voices(EngineOptions("tiny", weights=tmp_path))


def test_a_closed_standard_output_is_told_and_leaves_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(AudioFileError, match="standard output is closed"):
        say(weights, TEXT, words=True, output=str(tmp_path / "a.wav"))
    with pytest.raises(AudioFileError, match="standard output is closed"):
        say(weights, TEXT, output="-")
    assert list(tmp_path.iterdir()) == []


# ---- the speaker ---------------------------------------------------------------------------------------------------


@pytest.fixture
def audio(monkeypatch: pytest.MonkeyPatch) -> FakeAudio:
    audio = FakeAudio()
    monkeypatch.setitem(sys.modules, "sounddevice", audio)
    return audio


@pytest.mark.parametrize("ppm", [-20_000.0, 0.0, 20_000.0])
def test_a_speaker_sets_the_pace_whatever_its_clock(audio: FakeAudio, ppm: float) -> None:
    """Sound comes as fast as it is taken; nothing is skipped, missed, or held in great numbers."""
    rate_hz, n_frames = 16_000, 500
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (n_frames, 640)).astype(np.float32)

    async def main() -> None:
        card = SoundCard(rate_hz, microphone=False, burst_s=0.3, clock=virtual_time.now_s)
        playback = card.playback
        assert playback
        with SayEnds(None, card, rate_hz, 300.0, asyncio.sleep) as ends:
            ends.start()
            assert audio.speaker
            audio.speaker.ppm = ppm
            most = 0
            for seq, pcm in enumerate(sound):
                await ends.sink(Frame(pcm, seq, 0, virtual_time.now_s()))
                most = max(most, playback.ring.n_waiting)
            played_s = virtual_time.now_s()
            await ends.drain()
            assert most <= 5440  # the lead and a frame
            assert played_s == pytest.approx(n_frames * 0.04 / (1 + ppm * 1e-6), abs=0.5)
            assert (playback.underflows, playback.n_skipped) == (0, 0)
            heard = np.concatenate([block for _, block in audio.speaker.heard])
            begin = np.flatnonzero(heard)[0]
            assert np.array_equal(heard[begin : begin + sound.size], sound.ravel())

    virtual_time.run(main())


# ---- from outside --------------------------------------------------------------------------------------------------


def test_from_outside_a_text_comes_by_pipe_and_sound_goes_by_pipe(weights: Path, tmp_path: Path) -> None:
    """With the reader and its dictionaries; whatever is no letter among them."""
    text = b"\xef\xbb\xbfGood day, 3 friends \xf0\x9f\x98\x80 \xff\0.\n" + b"x" * 1000 + b"\n\nBye!"
    by_pipe = subprocess.run(
        talking(weights, "--words", "--output", "-", "--speed", "4"),
        input=text,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert by_pipe.returncode == 0, by_pipe.stderr
    assert by_pipe.stdout.startswith(b"RIFF")
    assert len(by_pipe.stdout) > 44
    told = by_pipe.stderr.decode().splitlines()
    assert [line.split()[2] for line in told[:4]] == ["Good", "day", "3", "friends"]
    assert told[-4].startswith("voice")


@posix
def test_ctrl_c_while_it_speaks_ends_it_and_leaves_nothing(weights: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        talking(weights, "-", "--words", "--output", tmp_path / "a.wav"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=interruptible,
    ) as program:  # fmt: skip
        assert program.stdin
        assert program.stdout
        program.stdin.write(b"Good day, dear friend. It goes on and")
        program.stdin.flush()
        assert program.stdout.readline().split()[2] == b"Good"
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (130, b"sottovoce: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@posix
def test_who_no_longer_listens_ends_it(weights: Path) -> None:
    with subprocess.Popen(
        talking(weights, "-", "--output", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdin
        assert program.stdout
        program.stdin.write(b"Good day, dear friend. It goes on. And on.\n" * 100)
        program.stdin.close()
        assert program.stdout.read(1000).startswith(b"RIFF")
        program.stdout.close()
        assert program.wait(60) == 141
        assert program.stderr
        assert program.stderr.read() == b""


def test_what_is_missing_is_told_with_the_command_that_brings_it(weights: Path, tmp_path: Path) -> None:
    for missing, words in (
        ("onnxruntime", "onnxruntime must be installed to speak: pip install 'sottovoce[engine,talk]'"),
        ("hibari", "hibari must be installed to speak: pip install 'sottovoce[talk]'"),
    ):
        lines = f"sys.modules[{missing!r}] = None\n" + START
        result = subprocess.run(
            script(lines, "say", "--preset", "tiny", "--weights", weights, "Yes.", "--output", tmp_path / "a.wav"),
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        refused(result, 2, words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--speed", "0", "a speed is a number from 0.25 to 4, not 0"),
        ("--speed", "nan", "not nan"),
        ("--speed", "x", "invalid float"),
        ("--seed", "-1", "a seed is a whole number from 0"),
        ("--temperature", "inf", "a temperature is"),
        ("--output", "", "name is empty"),
    ],
)
def test_wrong_options_are_one_line(
    option: str, value: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hear", "forget_stdout"):  # signals and standard output are of the tests
        monkeypatch.setattr(cli, name, lambda: None)
    assert cli.main(["say", "hi", option, value]) == 2
    assert words in capsys.readouterr().err
