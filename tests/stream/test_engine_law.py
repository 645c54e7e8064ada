"""The check of the streaming law: it passes what keeps the law, and names what breaks it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sottovoce.stream.clicks import clicks
from sottovoce.stream.engine import ECHO, EchoEngine, Engine, Work
from sottovoce.stream.law import Verdict, check_engine, check_talker, voice
from sottovoce.stream.onnx_engine import OnnxEngine
from sottovoce.stream.talk_work import Manner, Moment, Reading
from support.delegating import DelegatingEngine
from support.tiny_talk import engine as talking
from support.tiny_talk import graphs

RATE_HZ = 24_000
FRAMES = 45


class Broken(DelegatingEngine):
    """An engine whose work is tampered with, or its answers."""

    def __init__(
        self,
        inner: Engine,
        work: Callable[[Work], Work] = lambda piece: piece,
        answers: Callable[[list[NDArray[Any]]], list[NDArray[Any]]] = lambda answers: answers,
    ) -> None:
        super().__init__(inner)
        self._work, self._answers = work, answers

    def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
        return self._answers(super().step([self._work(piece) for piece in work]))


def onnx() -> OnnxEngine:
    return OnnxEngine(rows=2, codec=graphs()[0])


def wrong(engine: Engine) -> set[tuple[str, str]]:
    return {(one.check, one.kind) for one in check_engine(engine, FRAMES) if not one.good}


def test_engines_that_keep_the_law_pass() -> None:
    for engine in (onnx(), EchoEngine(2)):
        verdicts = list(check_engine(engine, FRAMES))
        assert all(one.good for one in verdicts if one.check != "clicks"), verdicts
        assert {one.check for one in verdicts} == {"cuts", "rows", "resets", "clicks"}
        assert all(one.n >= 5 for one in verdicts)
        assert {engine.open(), engine.open()} == {0, 1}


def test_an_engine_that_drops_its_state_fails() -> None:
    found = wrong(Broken(OnnxEngine("micro", rows=2), work=lambda piece: replace(piece, fresh=True)))
    assert {*(("cuts", kind) for kind in ("mel", "encode", "decode", "vocode")), ("clicks", "vocode")} <= found


def test_an_engine_that_does_not_forget_fails() -> None:
    found = wrong(Broken(onnx(), work=lambda piece: replace(piece, fresh=False)))
    assert {("resets", "mel"), ("resets", "vocode")} <= found


def test_an_engine_whose_rows_hear_each_other_fails() -> None:
    def mixed(answers: list[NDArray[Any]]) -> list[NDArray[Any]]:
        if len(answers) > 1 and answers[0].dtype == np.float32:
            answers[0] = answers[0] + np.float32(1e-3) * answers[1]
        return answers

    found = wrong(Broken(onnx(), answers=mixed))
    assert {("rows", "mel"), ("rows", "decode"), ("rows", "vocode")} <= found
    assert not {check for check, _ in found} & {"cuts"}


def test_sound_that_is_no_number_or_too_short_fails() -> None:
    def spoiled(answers: list[NDArray[Any]]) -> list[NDArray[Any]]:
        return [answer[:-1] if len(answer) > 900 else answer for answer in answers]

    pieces = [one for one in check_engine_cuts(Broken(onnx(), answers=spoiled))]
    assert not pieces[-1].good


def check_engine_cuts(engine: Engine) -> list[Verdict]:
    return [one for one in check_engine(engine, FRAMES) if one.check == "cuts"]


def test_too_few_rows_or_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="two rows and forty frames"):
        next(check_engine(EchoEngine(1), 60))
    with pytest.raises(ValueError, match="not 3 and 39"):
        next(check_engine(EchoEngine(3), 39))


def test_rows_of_a_talker() -> None:
    engine = talking(rows=2)
    scores: dict[int, Any] = {}

    def step(row: int, frame: int) -> Work:
        if row not in scores:
            scores[row] = engine.step([Work(row, "read", Reading("ʌ hˈI ðˈɛɹ, hˈI.", Manner(seed=row)), 0.0)])[0]
        return Work(row, "talk", Moment(scores[row], frame % scores[row].n_frames), 0.0, fresh=frame == 0)

    assert check_talker(engine, step, 12).good
    forgetful = Broken(engine, work=lambda piece: replace(piece, fresh=piece.kind == "talk"))
    assert check_talker(forgetful, step, 12).good  # alone and in company alike: not what this check is for

    def swapped(answers: list[Any]) -> list[Any]:
        return answers[::-1] if len(answers) > 1 else answers

    assert not check_talker(Broken(engine, answers=swapped), step, 12).good


# ---- clicks ------------------------------------------------------------------------------------------------


def made_up(n_frames: int = 100) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    shape = replace(ECHO, rate_hz=RATE_HZ, frame_samples=960)
    return voice(shape, n_frames), np.arange(1, n_frames) * 960


def test_whole_sound_has_seams_like_any_other_place() -> None:
    pcm, seams = made_up()
    found = clicks(pcm, seams, RATE_HZ)
    assert found.good
    assert 0.4 < found.score < 0.6
    assert clicks(pcm * np.float32(0.01), seams, RATE_HZ).good


@pytest.mark.parametrize("jump", [0.02, 0.05, 0.3])
def test_jumps_at_the_seams_are_found(jump: float) -> None:
    pcm, seams = made_up()
    offsets = np.repeat(np.where(np.arange(len(seams) + 1) % 2, jump, -jump), 960)
    found = clicks((pcm + offsets).astype(np.float32), seams, RATE_HZ)
    assert not found.good
    assert found.jump > 1.5


def test_pieces_without_their_past_are_found() -> None:
    """Each frame filtered by itself: the beginning of each lacks what the filter remembers."""
    pcm, seams = made_up()
    taps = np.hanning(65) / np.hanning(65).sum()
    alone = np.concatenate([np.convolve(piece, taps)[:960] for piece in np.split(pcm, len(pcm) // 960)])
    assert not clicks(alone.astype(np.float32), seams, RATE_HZ).good
    assert clicks(np.convolve(pcm, taps)[: len(pcm)].astype(np.float32), seams, RATE_HZ).good


def test_silence_tells_nothing() -> None:
    _, seams = made_up()
    with pytest.raises(ValueError, match="only 0 seams"):
        clicks(np.zeros(96_000, np.float32), seams, RATE_HZ)
