"""The ends of a peer: a file that gets what a speaker would have played, and a sound card whose clock is its own."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sottovoce.clients.room_ends import FilePlayer, RoomEndOptions, RoomEnds, check_devices
from sottovoce.stream.engine import ECHO
from sottovoce.stream.errors import AudioFileError, DeviceError
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.loop import EngineLoop
from support import virtual_time
from support.conversation import tone
from support.fake_card import FakeAudio
from support.rooms import FRAME_S, MemoryRoom, run, someone, speech
from support.virtual_time import now_s

S = ECHO.rate_hz


@pytest.fixture
def audio(monkeypatch: pytest.MonkeyPatch) -> FakeAudio:
    audio = FakeAudio()
    monkeypatch.setitem(sys.modules, "sounddevice", audio)
    return audio


class Kept:
    """An output that remembers."""

    def __init__(self) -> None:
        self.sound: list[Pcm] = []
        self.when_s: list[float] = []

    async def write(self, pcm: Pcm) -> None:
        self.sound.append(pcm)
        self.when_s.append(now_s())


def test_a_file_gets_a_frame_for_every_frames_time_and_late_ones_are_counted() -> None:
    async def main() -> None:
        output = Kept()
        player = FilePlayer(output, FRAME_S, now_s)
        await asyncio.sleep(5)
        for i in range(100):
            await player.wanted()
            if i == 50:
                await asyncio.sleep(0.5)
            await player.play(Frame(np.zeros(512, np.float32), i, 0, 0.0))
        assert output.when_s[49] == pytest.approx(5 + 49 * FRAME_S)
        assert output.when_s[99] == pytest.approx(5 + 99 * FRAME_S)  # it has caught up
        assert 10 < player.late < 16

    virtual_time.run(main())


@pytest.mark.parametrize("ppm", [-300.0, 0.0, 300.0])
def test_a_voice_goes_from_microphone_to_speaker_without_a_gap_whatever_their_clocks(
    audio: FakeAudio, ppm: float
) -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        with RoomEnds(RoomEndOptions(), ECHO, now_s) as ends:
            bert = someone(loop, room, "bert")
            source, player = ends.start(lambda: now_s() > 70)
            assert audio.speaker
            assert audio.microphone
            audio.speaker.ppm = ppm
            audio.microphone.ppm = -ppm
            audio.microphone.hears = lambda times: (0.3 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)
            bert.task = asyncio.create_task(bert.peer.run(source, player))
            anna = someone(loop, room, "anna").begin(speech(tone(40 * S)), seconds=60)
            await asyncio.sleep(58)
            assert anna.ear.loud(5, 38) == 1  # she heard the microphone
            assert anna.ear.loud(45, 55) == 1
            statistics = bert.peer.told()["peers"]["anna"]["receiver"]
            assert statistics["concealed"] == 0
            heard = np.concatenate([block for at_s, block in audio.speaker.heard if 5 < at_s < 38])
            loud = np.abs(heard[: len(heard) // 64 * 64].reshape(-1, 64)).max(axis=1) > 0.05
            assert loud.mean() > 0.999
            assert ends.card
            assert ends.card.playback
            assert ends.card.playback.underflows == player.late == 0
            await asyncio.wait([anna.task])
            await bert.leave()

    run(use)


def test_a_listener_needs_no_microphone_and_a_peer_with_files_no_card(audio: FakeAudio, tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    soundfile.write(sound, tone(S), S)
    with RoomEnds(RoomEndOptions(silent=True), ECHO) as ends:
        assert ends.card
        assert ends.card.capture is None
    with RoomEnds(RoomEndOptions(str(sound), str(tmp_path / "b.wav")), ECHO) as ends:
        assert ends.card is None
    assert (tmp_path / "b.wav").exists()


def test_what_is_not_there_is_told_before_anything_is_loaded(audio: FakeAudio, tmp_path: Path) -> None:
    check_devices(RoomEndOptions())
    with pytest.raises(DeviceError, match="no speaker is called"):
        check_devices(RoomEndOptions(silent=True, output_device="loud"))
    with pytest.raises(DeviceError, match="no microphone is called"):
        check_devices(RoomEndOptions(output="b.wav", input_device="hot"))
    with pytest.raises(AudioFileError, match="no format"):
        RoomEnds(RoomEndOptions(output="b.xyz", silent=True), ECHO)


def test_a_card_that_stops_ends_the_conversation(audio: FakeAudio) -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        with RoomEnds(RoomEndOptions(silent=True), ECHO, now_s) as ends:
            source, player = ends.start(lambda: False)
            assert source is None
            bert = someone(loop, room, "bert", push_to_talk=True)
            bert.task = asyncio.create_task(bert.peer.run(source, player))
            await asyncio.sleep(2)
            assert audio.speaker
            audio.speaker.unplug()
            with pytest.raises(DeviceError, match="the speaker 'ear' stopped"):
                await bert.task
            assert room.kept == {}  # and the room is told

    run(use)
