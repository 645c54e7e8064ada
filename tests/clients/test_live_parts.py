"""The live half without a sound card: microphone, speaker, their delay and drift, keys; in virtual time."""

import asyncio
import errno
import os
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sottovoce.clients.delay import live_delay
from sottovoce.clients.drift import Drift
from sottovoce.clients.keys import raw_keys
from sottovoce.clients.live import Live
from sottovoce.clients.microphone import SETTLE_S, listen
from sottovoce.clients.soundcard import STALLED_S, STARTING_S, SoundCard
from sottovoce.clients.speaker import Speaker
from sottovoce.stream.engine import ECHO
from sottovoce.stream.errors import DeviceError
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.packer import Dial
from sottovoce.stream.statistics import Statistics
from support.fake_card import BLOCK_S, LATENCY_S, FakeAudio, Stream
from support.virtual_time import now_s, run

RATE_HZ = ECHO.rate_hz
FRAME_S = ECHO.frame_ms / 1000


@pytest.fixture
def audio(monkeypatch: pytest.MonkeyPatch) -> FakeAudio:
    audio = FakeAudio()
    monkeypatch.setitem(sys.modules, "sounddevice", audio)
    return audio


def frame(pcm: Pcm) -> Frame[Pcm]:
    return Frame(pcm, 0, 0, now_s())


def card(**options: Any) -> SoundCard:
    return SoundCard(RATE_HZ, clock=now_s, **options)


def microphone(audio: FakeAudio) -> Stream:
    assert audio.microphone
    return audio.microphone


def speaker_of(card: SoundCard, reserve_ms: float = 40.0) -> Speaker:
    assert card.playback
    return Speaker(card, card.playback, RATE_HZ, burst_ms=ECHO.frame_ms, reserve_ms=reserve_ms)


def heard(audio: FakeAudio) -> tuple[NDArray[np.float64], Pcm]:
    """Everything that was played: when, and what. [n], [n]"""
    assert audio.speaker
    times, blocks = zip(*audio.speaker.heard, strict=True)
    n = len(blocks[0])
    return np.concatenate([at_s + np.arange(n) / RATE_HZ for at_s in times]), np.concatenate(blocks)


async def for_s(seconds: float, card: SoundCard) -> None:
    """Let time pass, looking after the card."""
    end_s = now_s() + seconds
    while now_s() < end_s:
        await asyncio.sleep(0.05)
        card.check()


def test_the_microphone_gives_what_is_said_once_it_has_settled(audio: FakeAudio) -> None:
    async def main() -> tuple[float, Pcm, SoundCard]:
        with card(speaker=False) as sound:
            microphone(audio).hears = lambda times: times  # each sample says when it was spoken
            began_s, blocks = now_s(), []
            assert sound.capture
            async for block in listen(sound, sound.capture, RATE_HZ, lambda: now_s() > began_s + 1.5):
                blocks.append(block)
            return began_s, np.concatenate(blocks), sound

    began_s, said, sound = run(main())
    assert np.allclose(np.diff(said), 1 / RATE_HZ, atol=1e-6)  # nothing is missing, nothing twice
    assert SETTLE_S - LATENCY_S - BLOCK_S < said[0] - began_s < SETTLE_S + BLOCK_S
    assert said[-1] - began_s > 1.5 - LATENCY_S - 3 * BLOCK_S
    assert sound.capture
    assert sound.capture.n_unheard > 0


@pytest.mark.parametrize(("side", "name"), [("microphone", "'mic'"), ("speaker", "'ear'")])
@pytest.mark.parametrize("how", ["stop", "unplug"])
def test_one_side_that_dies_is_noticed_beside_one_that_lives(audio: FakeAudio, side: str, name: str, how: str) -> None:
    async def main() -> float:
        with card() as sound:
            await for_s(3.0, sound)
            getattr(getattr(audio, side), how)()
            began_s = now_s()
            with pytest.raises(DeviceError, match=f"the {side} {name} stopped"):
                await for_s(10.0, sound)
            return now_s() - began_s

    assert run(main()) <= (STALLED_S + 0.1 if how == "stop" else 0.1)


def test_a_side_that_never_begins_is_given_a_little_longer(audio: FakeAudio) -> None:
    async def main() -> float:
        with card() as sound:
            microphone(audio).stop()
            with pytest.raises(DeviceError, match="the microphone 'mic' stopped"):
                await for_s(10.0, sound)
            return now_s()

    assert STARTING_S <= run(main()) <= STARTING_S + 0.1


def test_the_microphone_says_that_it_has_stopped_to_whoever_listens(audio: FakeAudio) -> None:
    async def main() -> None:
        with card() as sound:
            assert sound.capture
            blocks = listen(sound, sound.capture, RATE_HZ, lambda: False)
            await anext(blocks)
            microphone(audio).stop()
            with pytest.raises(DeviceError):
                async for _ in blocks:
                    pass

    run(main())


@pytest.mark.parametrize("reserve_ms", [40.0, 0.0])
def test_the_speaker_plays_everything_in_order_behind_its_reserve(audio: FakeAudio, reserve_ms: float) -> None:
    said = np.arange(1, 10 * ECHO.frame_samples + 1, dtype=np.float32)

    async def main() -> SoundCard:
        with card(microphone=False) as sound:
            speaker = speaker_of(sound, reserve_ms)
            assert speaker.n_reserve is None
            for piece in np.split(said, 10):
                await speaker.play(frame(piece))
                await asyncio.sleep(FRAME_S)
            assert speaker.n_reserve == RATE_HZ * reserve_ms / 1000
            await speaker.drain()
            return sound

    sound = run(main())
    _, played = heard(audio)
    assert played[played > 0].tolist() == said.tolist()
    assert sound.playback
    assert sound.playback.underflows == (0 if reserve_ms else 1)  # what is short at first is a reserve from then on


def test_a_speaker_that_has_enough_lets_its_source_wait(audio: FakeAudio) -> None:
    async def main() -> float:
        with card(microphone=False) as sound:
            speaker = speaker_of(sound)
            assert sound.playback
            sound.playback.most_waiting = sound.playback.ring.capacity
            for _ in range(10):
                await speaker.play(frame(np.ones(RATE_HZ, np.float32)))
            return now_s()

    assert run(main()) == pytest.approx(8.0, abs=0.2)  # ten seconds, of which the ring holds two


def test_what_piles_up_after_a_stall_is_skipped(audio: FakeAudio) -> None:
    async def main() -> SoundCard:
        with card(microphone=False) as sound:
            speaker = speaker_of(sound)
            await speaker.play(frame(np.ones(RATE_HZ, np.float32)))
            await speaker.drain()
            return sound

    sound = run(main())
    assert sound.playback
    assert sound.playback.n_skipped == RATE_HZ * (1.04 - 0.04 - 0.032 - 0.1)


@pytest.mark.parametrize("stall_s", [0.0, 0.15, 0.6])
@pytest.mark.parametrize("reserve_ms", [60.0, 0.0])
def test_the_live_delay_is_the_one_that_a_listener_hears(audio: FakeAudio, reserve_ms: float, stall_s: float) -> None:
    """Each sample says when it was spoken; a codec that does nothing stands between, and once stands still."""
    statistics = Statistics(ECHO)
    stalled = False

    async def main() -> float:
        nonlocal stalled
        with card() as sound:
            microphone(audio).hears = lambda times: times
            speaker = speaker_of(sound, reserve_ms)
            assert sound.capture
            assert live_delay(sound, speaker, statistics) is None
            async for block in listen(sound, sound.capture, RATE_HZ, lambda: now_s() > 5.0):
                if now_s() > 4.0 and not stalled:
                    stalled = True
                    await asyncio.sleep(stall_s)
                await speaker.play(frame(block))
            delay = live_delay(sound, speaker, statistics)
            assert delay is not None
            assert delay.devices_ms == pytest.approx(2000 * LATENCY_S)
            return delay.total_ms - 1000 * ECHO.delay_samples / RATE_HZ  # the shift of a codec, which this has not

    told_ms = run(main())
    times, said = heard(audio)
    at = np.flatnonzero(said)[-1]
    assert told_ms == pytest.approx(1000 * (times[at] - said[at]), abs=1.0)


def test_drift_is_told_for_each_side_until_it_loses_something(audio: FakeAudio) -> None:
    async def main() -> tuple[str, str]:
        with card() as sound:
            live = Live(sound, None, Statistics(ECHO), Dial(8))
            microphone(audio).ppm = 80.0
            assert audio.speaker
            audio.speaker.ppm = -35.0
            await for_s(20.0, sound)
            before = live.summary()
            microphone(audio).xrun = audio.speaker.xrun = True
            await for_s(1.0, sound)
            return "\n".join(before), "\n".join(live.summary())

    before, afterwards = run(main())
    assert "drift             microphone +80 ppm, speaker -35 ppm" in before
    assert "drift" not in afterwards


def test_drift_is_not_misled_by_jitter_nor_by_what_was_lost() -> None:
    drift, jitter = Drift(RATE_HZ), np.random.default_rng(0)
    at_s, n = 7.0, 160
    for i in range(50_000):
        late_s = jitter.normal(0, 0.002) + (0.2 if jitter.random() < 0.05 else 0)
        if i == 5_000:
            at_s += 3.0  # the card lost three seconds
            drift.restart()
            assert drift.ppm is None
        drift.add(n, at_s + late_s)
        at_s += n / RATE_HZ * (1 + 50e-6)
    assert drift.ppm == pytest.approx(-50, abs=2)


@pytest.mark.parametrize("fails", [False, True])
def test_keys_are_read_until_the_terminal_is_gone(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """Then it has nothing more, or fails, as for a program in the background that nobody started."""
    pty = pytest.importorskip("pty", reason="no POSIX terminals here")
    keyboard, terminal = pty.openpty()
    unseen: list[dict[str, Any]] = []

    def failing(descriptor: int, n_bytes: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        with raw_keys() as pressed:
            assert pressed is not None
            os.write(keyboard, b"3\x1b[Aq")
            assert [await pressed.get() for _ in range(3)] == ["3", "up", "q"]
            if fails:
                monkeypatch.setattr(os, "read", failing)
            os.close(keyboard)
            for _ in range(100):
                await asyncio.sleep(0)

    with open(terminal) as stdin, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        asyncio.run(main())
    assert unseen == []


def test_keys_turn_the_dial_and_end_it(audio: FakeAudio) -> None:
    dial = Dial(8, 4)
    live = Live(card(), None, Statistics(ECHO), dial)
    found = []
    for key in ("6", "up", "left", "0", "x", "+", "9", "down"):
        live.press(key)
        found.append(dial.books)
    assert found == [6, 7, 6, 6, 6, 7, 8, 7]
    assert not live.asked_to_quit()
    live.press("q")
    assert live.asked_to_quit()
