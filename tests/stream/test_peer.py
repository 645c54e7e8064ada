"""Whole conversations in a room whose carrier is this process: what is heard, what is told, what is never decoded."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sottovoce.stream.engine import ECHO, EchoEngine, Work
from sottovoce.stream.errors import ConnectionFailed, RoomRefused
from sottovoce.stream.floor import LAPSE_S
from sottovoce.stream.frames import Pcm
from sottovoce.stream.loop import EngineLoop, Session
from sottovoce.stream.packer import Dial, Packer
from sottovoce.stream.room_key import RoomKey
from sottovoce.stream.room_messages import Presence, Press, Report, write_control, write_descriptor
from support.conversation import tone
from support.rooms import FRAME_S, MemoryRoom, run, silence, someone, speech
from support.virtual_time import now_s

S = ECHO.rate_hz


def packets(n_frames: int) -> list[bytes]:
    """A talk of a tone, two frames in each."""
    packer = Packer(ECHO, Dial(ECHO.books), 2)
    frames = tone(n_frames * ECHO.frame_samples)
    engine = EchoEngine()
    row = engine.open()
    (mel,) = engine.step([Work(row, "mel", frames, False)])
    (codes,) = engine.step([Work(row, "encode", mel, False)])
    return [*packer.push(codes), packer.finish()]


def level(frames: list[Pcm], bin_: int) -> NDArray[np.float64]:
    """[n] amplitude of `tone` number ``bin_`` in each frame; clocks that are corrected shift it a little."""
    spectrum = np.abs(np.fft.rfft(np.stack(frames) * np.hanning(ECHO.frame_samples)))
    near = spectrum[:, bin_ * ECHO.mels_per_frame - 1 : bin_ * ECHO.mels_per_frame + 2]
    levels: NDArray[np.float64] = near.max(axis=1) * 4 / ECHO.frame_samples
    return levels


def test_a_voice_is_heard_by_the_others_and_not_by_its_owner() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        anna, bert, carl = (someone(loop, room, name) for name in ("anna", "bert", "carl"))
        bert.begin()
        carl.begin()
        await asyncio.sleep(1)
        anna.begin(speech(tone(2 * S), silence(1)), seconds=4)
        await asyncio.sleep(6)
        for other in (bert, carl):
            assert 1.9 < other.ear.loud() * len(other.ear.frames) * FRAME_S < 2.6
            assert other.told("anna is here")
            assert other.told("anna has gone")
            await other.leave()
        assert anna.ear.loud() == 0
        statistics = bert.peer.told()["peers"]["anna"]["receiver"]
        assert statistics["concealed"] == statistics["repaired"] == 0
        assert statistics["received"] == anna.peer.told()["sender"]["frames"]

    run(use)


def test_nothing_is_sent_while_nobody_speaks() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        anna = someone(loop, room, "anna").begin(speech(silence(30)), seconds=30)
        await asyncio.wait([anna.task])
        assert room.of("anna", "a") == room.of("anna", "c") == []
        assert anna.peer.told()["sender"]["silent_frames"] > 900

    run(use)


def test_all_of_a_file_is_sent_though_it_ends_at_once() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert").begin()
        anna = someone(loop, room, "anna", profile="radio", live=False).begin(speech(tone(S)))
        await asyncio.wait([anna.task])
        assert anna.peer.told()["sender"]["frames"] == -(-(S + ECHO.delay_samples) // ECHO.frame_samples)
        await asyncio.sleep(3)
        assert 0.9 < bert.ear.loud() * len(bert.ear.frames) * FRAME_S < 1.3
        await bert.leave()

    run(use)


def test_two_voices_are_mixed() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        carl = someone(loop, room, "carl").begin()
        await asyncio.sleep(0.5)
        someone(loop, room, "anna").begin(speech(tone(2 * S, 8, 0.3)), seconds=3)
        someone(loop, room, "bert").begin(speech(tone(2 * S, 20, 0.3)), seconds=3)
        await asyncio.sleep(1.5)
        carl.ear.frames.clear()
        await asyncio.sleep(0.5)
        assert min(level(carl.ear.frames, 8)) > 0.2
        assert min(level(carl.ear.frames, 20)) > 0.2
        await asyncio.sleep(2)
        await carl.leave()

    run(use)


def test_more_talkers_than_rows_are_counted_and_the_others_heard() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        carl = someone(loop, room, "carl").begin()
        await asyncio.sleep(0.5)
        for name in ("anna", "bert"):
            room.say(name, "d", write_descriptor(ECHO))
            room.say(name, "s", Presence(name).to_bytes())
        for packet in packets(20):
            room.say("anna", "a", packet)
            room.say("bert", "a", packet)
        await asyncio.sleep(5)
        told = carl.peer.told()["peers"]
        unheard = {name: told[name]["counts"].get("unheard.no_row", 0) for name in ("anna", "bert")}
        assert unheard["anna"] == 0 < unheard["bert"]
        assert carl.ear.loud() > 0
        assert loop.rows_taken == 0  # it is kept for a while only
        await carl.leave()

    run(use, rows=1)


def test_who_comes_late_hears_what_is_said_from_then_on() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        anna = someone(loop, room, "anna").begin(speech(tone(4 * S)), seconds=5)
        await asyncio.sleep(2)
        bert = someone(loop, room, "bert").begin()
        await asyncio.sleep(2)
        assert bert.told("anna is here")
        assert bert.ear.loud(0.5, 1.8) == 1
        await asyncio.wait([anna.task])
        await bert.leave()

    run(use)


def test_another_model_is_refused_with_one_line() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert").begin()
        await asyncio.sleep(0.1)
        other = replace(ECHO, model_hash="abcdefabcdef")
        room.say("anna", "s", Presence("anna").to_bytes())
        for _ in range(3):
            room.say("anna", "d", write_descriptor(other))
        for packet in packets(8):
            room.say("anna", "a", packet)
        await asyncio.sleep(1)
        lines = [line for line in bert.lines if "cannot be heard" in line]
        assert lines == [
            "anna cannot be heard: it speaks echo abcdefabcdef, the model here is echo 000000000000; "
            "use the same weights on both ends"
        ]
        told = bert.peer.told()["peers"]["anna"]
        assert told["counts"]["unheard.other_model"] > 0
        assert "receiver" not in told
        assert bert.ear.loud() == 0
        await bert.leave()

    run(use)


# ---- the line --------------------------------------------------------------------------------------------------


def test_a_talk_goes_on_within_three_seconds_of_the_carriers_return_and_nothing_stale_is_played() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert").begin()
        await asyncio.sleep(0.5)
        # What is said while the carrier is away is another tone, which nobody may ever hear.
        anna = someone(loop, room, "anna")
        anna.begin(speech(tone(3 * S, 8), tone(17 * S, 20), tone(10 * S, 8)), seconds=31)
        await asyncio.sleep(2.9)
        room.kill()
        await asyncio.sleep(0.5)
        assert bert.told("the line is lost")
        await asyncio.sleep(17)
        room.revive()
        n = len(bert.ear.frames)
        came_back_s = now_s()
        await asyncio.sleep(6)
        since = bert.ear.frames[n:]
        first = next(i for i, frame in enumerate(since) if np.abs(frame).max() > 0.05)
        assert first * FRAME_S < 3
        assert now_s() - came_back_s == pytest.approx(6)
        stale = level(bert.ear.frames, 20) > 0.05
        assert stale.sum() * FRAME_S < 0.3  # what was on its way just before the carrier went
        assert not stale[n:].any()
        assert anna.peer.told()["line"]["reconnects"] == 1
        assert anna.peer.told()["line"]["out.line_down"] > 0
        await asyncio.wait([anna.task])
        await bert.leave()

    run(use)


def test_who_does_not_come_back_with_the_carrier_is_gone() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert").begin()
        anna = someone(loop, room, "anna").begin()
        await asyncio.sleep(1)
        room.kill()
        anna.task.cancel()
        await asyncio.sleep(3)
        room.revive()
        await asyncio.sleep(5)
        assert not bert.told("anna has gone")
        await asyncio.sleep(22)
        assert bert.told("anna has gone")
        await bert.leave()

    run(use)


def test_a_peer_that_is_lost_is_told_of_and_may_return() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert").begin()
        someone(loop, room, "anna").begin(speech(silence(1), tone(20 * S)), seconds=8)
        await asyncio.sleep(2)
        room.lose("anna")
        await asyncio.sleep(0.1)
        assert bert.lines[-1] == "anna has gone"
        anna = someone(loop, room, "anna").begin(speech(tone(S)), seconds=2)
        await asyncio.sleep(1.5)
        assert bert.lines.count("anna is here") == 2
        assert bert.ear.loud(2.8, 3.3) == 1
        await asyncio.wait([anna.task])
        await asyncio.sleep(8)
        await bert.leave()

    run(use)


def test_no_carrier_is_an_error_after_some_patience_and_a_refusal_at_once() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        room.up = False
        anna = someone(loop, room, "anna").begin()
        with pytest.raises(ConnectionFailed, match="nobody answers"):
            await anna.task
        assert 3 < now_s() < 6
        room.refuses = RoomRefused("no entry")
        bert = someone(loop, room, "bert").begin()
        before_s = now_s()
        with pytest.raises(RoomRefused, match="no entry"):
            await bert.task
        assert now_s() == before_s

    run(use)


def test_a_line_that_takes_nothing_drops_the_oldest_and_the_sender_gives_way() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        anna = someone(loop, room, "anna").begin(speech(tone(12 * S)), seconds=12)
        await asyncio.sleep(1)
        room.flows.clear()
        await asyncio.sleep(7)
        room.flows.set()
        stalled_until_s = now_s()
        await asyncio.sleep(0.3)
        told = anna.peer.told()
        assert told["line"]["out.stale"] > 20
        assert told["sender"]["steps_down"] > 0
        late = [packet for at_s, who, slot, packet in room.said if slot == "a" and stalled_until_s <= at_s]
        assert len(late) < 10  # 400 ms of patience, not seven seconds
        await asyncio.wait([anna.task])

    run(use)


# ---- strangers -------------------------------------------------------------------------------------------------


def test_a_thousand_bad_packets_are_counted_never_decoded_and_never_a_crash() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        key, wrong = RoomKey.generate(), RoomKey.generate()
        bert = someone(loop, room, "bert", key=key).begin()
        anna = someone(loop, room, "anna", key=key).begin(speech(tone(S), silence(8)), seconds=9)
        await asyncio.sleep(2.5)
        good = bert.peer.told()["peers"][anna.peer.level]["receiver"]["received"]
        assert good > 0
        genuine = room.of(anna.peer.level, "a")
        stranger = wrong.sealer(bert.peer._room_level, anna.peer.level)
        chance = random.Random(7)
        heard = len(bert.ear.frames)
        for i in range(1000):
            match i % 4:
                case 0:
                    payload = chance.randbytes(chance.randrange(0, 80))
                case 1:
                    payload = chance.choice(genuine)  # again
                case 2:
                    payload = stranger.seal("a", chance.choice(genuine))
                case _:
                    altered = bytearray(chance.choice(genuine))
                    altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(8)
                    payload = bytes(altered)
            who = anna.peer.level if i % 3 else f"x{i % 10}"
            room.say(who, chance.choice("dsac") if i % 4 == 0 else "a", payload)
        await asyncio.sleep(0.5)
        told = bert.peer.told()
        assert told["peers"][anna.peer.level]["receiver"]["received"] == good
        assert told["counts"]["in.unopened"] >= 900
        refused = told["peers"][anna.peer.level]["refused"]
        assert {"replayed", "not_authentic"} <= set(refused)
        assert np.abs(np.concatenate(bert.ear.frames[heard:])).max() < 0.01
        assert not bert.task.done()
        await asyncio.wait([anna.task])
        await bert.leave()

    run(use)


def test_nonsense_in_a_room_without_a_key_is_counted_too() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert").begin()
        await asyncio.sleep(0.1)
        chance = random.Random(3)
        room.say("anna", "d", write_descriptor(ECHO))
        for i in range(1000):
            room.say(chance.choice(["anna", "nobody"]), "dsac"[i % 4], chance.randbytes(chance.randrange(1, 60)))
        await asyncio.sleep(1)
        told = bert.peer.told()
        assert told["counts"]["in.malformed"] > 300
        assert told["peers"]["nobody"]["counts"]["unheard.no_descriptor"] > 100
        assert sum(told["peers"]["anna"]["receiver"]["refused"].values()) > 100
        assert not bert.task.done()
        await bert.leave()

    run(use)


def test_who_has_another_key_is_not_there() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert", key=RoomKey.generate()).begin()
        anna = someone(loop, room, "anna", key=RoomKey.generate()).begin(speech(tone(S)), seconds=2)
        await asyncio.wait([anna.task])
        assert not bert.told("is here")
        assert bert.ear.loud() == 0
        assert all(who not in ("anna", "bert") for _, who, _, _ in room.said)  # nor are names on the line
        await bert.leave()

    run(use)


def test_strangers_without_end_are_kept_apart_from_a_limited_number_only() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert").begin()
        await asyncio.sleep(0.1)
        for i in range(500):
            room.say(f"peer{i}", "s", Presence(f"peer{i}").to_bytes())
        await asyncio.sleep(1)
        told = bert.peer.told()
        assert len(told["peers"]) == 64
        assert told["counts"]["in.too_many_peers"] == 500 - 64
        room.say("peer7", "s", b"")
        room.say("late", "s", Presence("late").to_bytes())
        await asyncio.sleep(0.1)
        assert bert.told("late is here")
        await bert.leave()

    run(use)


# ---- push to talk ----------------------------------------------------------------------------------------------


def test_of_two_who_press_at_once_one_is_heard_by_all() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        carl = someone(loop, room, "carl", push_to_talk=True).begin()
        pressed = {name: someone(loop, room, name, push_to_talk=True) for name in ("anna", "bert")}
        for i, other in enumerate(pressed.values()):
            other.begin(speech(tone(6 * S, 8 + 12 * i)), seconds=6)
        await asyncio.sleep(1)
        assert all(other.peer.press() for other in pressed.values())  # neither knows of the other yet
        await asyncio.sleep(2)
        winners = [name for name, other in pressed.items() if other.peer.floor.has(now_s())]
        assert len(winners) == 1
        (winner,) = winners
        loser = "bert" if winner == "anna" else "anna"
        assert pressed[loser].told(f"{winner} was first")
        assert carl.peer.floor.holder(now_s()) == winner
        said_by_loser = len(room.of(loser, "a"))
        assert {b for b in (8, 20) if level(carl.ear.frames[-20:], b).max() > 0.1} == {8 if winner == "anna" else 20}
        assert not pressed[loser].peer.press()  # it is taken
        assert pressed[loser].told(f"{winner} has the floor")
        await asyncio.sleep(1)
        assert len(room.of(loser, "a")) == said_by_loser
        pressed[winner].peer.release()
        await asyncio.sleep(0.5)
        assert pressed[loser].peer.press()
        await asyncio.sleep(1)
        assert len(room.of(loser, "a")) > said_by_loser
        await asyncio.wait([other.task for other in pressed.values()])
        await carl.leave()

    run(use)


def test_who_comes_while_somebody_talks_cannot_take_the_floor() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        anna = someone(loop, room, "anna", push_to_talk=True).begin(speech(tone(20 * S)), seconds=12)
        await asyncio.sleep(0.5)
        assert anna.peer.press()
        await asyncio.sleep(1)
        bert = someone(loop, room, "bert", push_to_talk=True).begin()
        await asyncio.sleep(0.5)
        assert not bert.peer.press()
        assert bert.ear.loud(0.2, 0.5) > 0
        room.lose("anna")  # with the floor
        await asyncio.sleep(0.1)
        assert bert.peer.press()
        await asyncio.wait([anna.task])
        await bert.leave()

    run(use)


def test_a_holder_who_falls_silent_without_a_word_loses_the_floor() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert", push_to_talk=True).begin()
        await asyncio.sleep(0.1)
        room.say("anna", "s", Presence("anna", "push").to_bytes())
        room.say("anna", "c", write_control(Press(3)))
        await asyncio.sleep(LAPSE_S - 1)
        assert not bert.peer.press()
        await asyncio.sleep(2)
        assert bert.peer.press()
        await bert.leave()

    run(use)


# ---- reports ---------------------------------------------------------------------------------------------------


def test_a_sender_of_whom_loss_is_reported_gives_way() -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        anna = someone(loop, room, "anna").begin(speech(tone(8 * S)), seconds=8)
        await asyncio.sleep(1)
        books = anna.peer.told()["sender"]["books"]
        room.say("bert", "s", Presence("bert").to_bytes())
        for _ in range(3):
            room.say("bert", "c", write_control(Report("somebody", 0.9, 0, 0)))
        await asyncio.sleep(0.5)
        assert anna.peer.told()["sender"]["books"] == books
        room.say("bert", "c", write_control(Report("anna", 0.6, 0, 0)))
        await asyncio.sleep(0.5)
        assert anna.peer.told()["sender"]["books"] == books - 1
        await asyncio.wait([anna.task])

    run(use)


def test_an_engine_that_does_not_keep_up_for_a_while_makes_nobody_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of the microphone give way then. What follows comes when it should: no peer complains of a lag for ever."""
    visit, visits = Session.visit, []

    async def slow(row: Session, kinds: Any, *rest: Any, **others: Any) -> Any:
        if "encode" in kinds:
            visits.append(now_s())
            if len(visits) == 100:
                await asyncio.sleep(5)
        return await visit(row, kinds, *rest, **others)

    monkeypatch.setattr(Session, "visit", slow)

    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert").begin()
        await asyncio.sleep(1)
        anna = someone(loop, room, "anna").begin(speech(tone(60 * S)), seconds=60)
        await asyncio.sleep(30)
        complaints, before = len(room.of("bert", "c")), anna.peer.told()["sender"]
        await asyncio.sleep(28)
        told, heard = anna.peer.told(), bert.peer.told()["peers"]["anna"]
        lost = told["sender"]["lost_frames"]
        assert 5 / FRAME_S - 8 <= lost <= 5 / FRAME_S
        assert lost == told["captured"]["captured.overflow"]
        assert len(room.of("bert", "c")) == complaints
        assert told["sender"]["steps_down"] == before["steps_down"]
        assert told["sender"]["steps_up"] > before["steps_up"]
        assert heard["delay_ms"] < 500
        assert bert.ear.loud(1 + 4, 1 + 8) == 0  # what gave way is not there
        assert bert.ear.loud(1 + 20, 1 + 55) > 0.99
        for one in (anna, bert):
            await one.leave()

    run(use)


@pytest.mark.parametrize("strangers", [0, 64])
def test_what_was_heard_is_not_heard_again_though_its_peer_was_forgotten(strangers: int) -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        key = RoomKey(bytes(32))
        bert = someone(loop, room, "bert", key=key).begin()
        await asyncio.sleep(0.5)
        voice = speech(silence(0.5), tone(2 * ECHO.rate_hz), silence(30))
        anna = someone(loop, room, "anna", key=key).begin(voice, seconds=12)
        await asyncio.sleep(5)
        assert bert.ear.loud() > 0.05
        name = anna.peer.level
        recorded = [(slot, payload) for _, who, slot, payload in list(room.said) if who == name]
        room.say(name, "s", b"")
        for i in range(strangers):
            room.say(f"x{i}", "c", b"\x02")
        await asyncio.sleep(0.2)
        n = len(bert.ear.frames)
        for slot, payload in recorded:
            room.say(name, slot, payload)
            if slot == "a":
                await asyncio.sleep(0.06)
        await asyncio.sleep(1)
        assert bert.ear.loud(n * FRAME_S) == 0
        anna.task.cancel()
        await asyncio.wait([anna.task])
        await bert.leave()

    run(use)


@pytest.mark.parametrize("how", ["another model", "strangers"])
def test_a_peer_that_is_put_out_while_it_is_heard_ends_nobody(how: str) -> None:
    async def use(loop: EngineLoop, room: MemoryRoom) -> None:
        bert = someone(loop, room, "bert").begin()
        await asyncio.sleep(0.5)
        room.say("anna", "d", write_descriptor(ECHO))
        for i, payload in enumerate(packets(100)):
            room.say("anna", "a", payload)
            await asyncio.sleep(FRAME_S)
            if i == 30 and how == "another model":
                room.say("anna", "d", write_descriptor(replace(ECHO, model_hash="0" * 12)))
            elif i == 30:
                for k in range(64):
                    room.say(f"x{k}", "s", Presence(f"x{k}").to_bytes())
        assert not bert.task.done()
        n = len(bert.ear.frames)
        await asyncio.sleep(1)
        assert len(bert.ear.frames) > n
        await bert.leave()
        assert loop.rows_taken == 0

    run(use)
