"""A conversation as it runs, over a fake socket in virtual time: what comes back, and what is left when it ends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from sottovoce.stream import pipeline
from sottovoce.stream.call import Service
from sottovoce.stream.client_messages import Cancel, Credit, End, Format, Start, Text, Update
from sottovoce.stream.engine import ECHO, EchoEngine, Work
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.loop import Session as Row
from sottovoce.stream.packet import shape
from sottovoce.stream.pipeline import Settings
from sottovoce.stream.resample import Resampler
from sottovoce.stream.samples import from_bytes, to_bytes
from sottovoce.stream.server_messages import Cancelled, Error, Hello, Started, Stats, Taken
from sottovoce.stream.statistics import Statistics
from sottovoce.stream.wire import Flag, Kind, Media
from support import conversation, fake_socket
from support.conversation import N, tone
from support.fake_socket import FakeSocket, until


def media(pcm: Pcm, seq: int = 0, generation: int = 0, form: str = "f32le") -> Media:
    return Media(Kind.PCM, seq, generation, len(pcm), 0, to_bytes(pcm, form))  # type: ignore[arg-type]


def give_credit(socket: FakeSocket, rate_hz: int = ECHO.rate_hz) -> None:
    """Play all that comes at once."""

    async def played(heard: Media) -> None:
        if heard.kind <= Kind.CODES:
            unit = 1 if heard.kind == Kind.PCM else N
            socket.say(Credit(heard.generation, 1000 * (heard.time + heard.count * unit) / rate_hz))

    socket.on_media = played


async def speak(socket: FakeSocket, pcm: Pcm, form: str = "f32le", rate_hz: int = ECHO.rate_hz) -> None:
    """Say ``pcm`` at the rate of speech, and end."""
    for seq, at in enumerate(range(0, len(pcm), N)):
        await asyncio.sleep(N / rate_hz)
        socket.say(media(pcm[at : at + N], seq, form=form))
    socket.say(End())


def locally(pcm: Pcm, settings: Settings) -> Pcm:
    """The same without a wire."""
    heard: list[Pcm] = []

    async def use(row: Row) -> None:
        async def source() -> AsyncIterator[Pcm]:
            yield pcm

        async def sink(frame: Frame[Pcm]) -> None:
            heard.append(frame.data)

        await pipeline.loopback(source(), sink, row, settings, Statistics(ECHO))

    conversation.run(use)
    return np.concatenate(heard)


def voice(n: int) -> Pcm:
    return tone(n) + np.random.default_rng(1).normal(0, 0.05, n).astype(np.float32)


F32 = Format("pcm", "f32le")


def test_sound_that_waits_comes_back_as_the_pipeline_gives_it_sample_for_sample() -> None:
    pcm = voice(50 * N + 77)
    heard: list[Pcm] = []

    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        give_credit(socket)
        socket.say(Start("loopback", F32, F32, books=3, live=False))
        for seq, at in enumerate(range(0, len(pcm), 1000)):
            due_ms = 1000 * (at + 1000) / ECHO.rate_hz - 2000
            await until(lambda due_ms=due_ms: due_ms <= max((t.taken_ms for t in socket.of(Taken)), default=0.0))
            socket.say(media(pcm[at : at + 1000], seq))
        socket.say(End())
        await call
        assert socket.closed == 1000
        assert isinstance(socket.sent[-1], End)
        heard.append(from_bytes(socket.pcm(), "f32le"))

    fake_socket.run(use)
    np.testing.assert_array_equal(heard[0], locally(pcm, Settings(books=3)))
    assert len(heard[0]) == len(pcm)


def test_live_sound_comes_back_as_the_pipeline_gives_it() -> None:
    pcm = voice(30 * N)
    heard: list[Pcm] = []

    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        give_credit(socket)
        socket.say(Start("loopback", F32, F32))
        await speak(socket, pcm)
        await call
        heard.append(from_bytes(socket.pcm(), "f32le"))
        pieces = [m for m in socket.of(Media)]
        assert [piece.flags for piece in pieces] == [Flag.FIRST, *[Flag(0)] * (len(pieces) - 2), Flag.LAST]
        assert [piece.seq for piece in pieces] == list(range(len(pieces)))
        assert [piece.time for piece in pieces[:-1]] == [i * N for i in range(len(pieces) - 1)]

    fake_socket.run(use)
    np.testing.assert_array_equal(heard[0], locally(pcm, Settings(aligned=False)))


@pytest.mark.parametrize(("form", "rate_hz"), [("s16le", 48000), ("f32le", 44100), ("s16le", 8000)])
def test_other_rates_are_resampled_both_ways(form: str, rate_hz: int) -> None:
    pcm = voice(2 * rate_hz)
    heard: list[Pcm] = []

    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        give_credit(socket, rate_hz)
        there = Format("pcm", form, rate_hz)  # type: ignore[arg-type]
        socket.say(Start("loopback", there, there, live=False))
        await speak(socket, pcm, form, rate_hz)
        await call
        heard.append(from_bytes(socket.pcm(), form))  # type: ignore[arg-type]

    fake_socket.run(use)
    sent = from_bytes(to_bytes(pcm, form), form)  # type: ignore[arg-type]
    up, down = Resampler(rate_hz, ECHO.rate_hz), Resampler(ECHO.rate_hz, rate_hz)
    there = np.concatenate([up.push(sent), up.finish()])
    back = locally(there, Settings())
    expected = np.concatenate([down.push(back), down.finish()])
    assert abs(len(heard[0]) - len(pcm)) <= rate_hz // ECHO.rate_hz + 1
    step = 1 / 32768 if form == "s16le" else 1e-6
    np.testing.assert_allclose(heard[0], np.clip(expected, -1, 1), atol=step)


def test_codes_out_and_codes_in_are_the_two_halves() -> None:
    pcm = voice(20 * N)
    packets: list[Media] = []
    heard: list[Pcm] = []

    async def encode(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        give_credit(socket)
        socket.say(Start("loopback", F32, Format("codes"), books=5, live=False))
        await speak(socket, pcm)
        await call
        packets.extend(socket.of(Media))

    async def decode(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        give_credit(socket)
        socket.say(Start("loopback", Format("codes"), F32, live=False, model_hash=ECHO.model_hash))
        for packet in packets:
            socket.say(packet)
        socket.say(End())
        await call
        heard.append(from_bytes(socket.pcm(), "f32le"))

    fake_socket.run(encode)
    assert all(packet.kind == Kind.CODES and shape(packet.payload)[0] == packet.count for packet in packets)
    fake_socket.run(decode)
    np.testing.assert_array_equal(heard[0][: len(pcm)], locally(pcm, Settings(books=5)))


@pytest.mark.parametrize("payload", [b"", b"nonsense", bytes(30), b"\x0f\x10\x00\x00\x01\xff\xff"])
def test_packets_that_are_none_end_the_session(payload: bytes) -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback", Format("codes"), F32, model_hash=ECHO.model_hash))
        socket.say(Media(Kind.CODES, 0, 0, 1, 0, payload))
        await call
        assert socket.sent[-1].code == "bad_message"  # type: ignore[union-attr]
        assert (socket.closed, service.loop.rows_taken) == (1002, 0)

    fake_socket.run(use)


def test_samples_that_are_no_numbers_end_the_session() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback", F32, F32))
        socket.say(media(np.array([0, np.nan], np.float32)))
        await call
        assert socket.sent[-1] == Error("bad_message", "a sample is not a finite number")

    fake_socket.run(use)


def test_after_a_cancel_nothing_old_is_heard() -> None:
    old, new = tone(40 * N, 5), tone(40 * N, 29)

    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        give_credit(socket)
        socket.say(Start("loopback", F32, F32))
        for i in range(40):
            await asyncio.sleep(ECHO.frame_ms / 1000)
            if i == 20:
                socket.say(Cancel(0))
            socket.say(media((new if i >= 20 else old)[i * N : (i + 1) * N], i, int(i >= 20)))
        socket.say(End())
        await call
        (at,) = [i for i, sent in enumerate(socket.sent) if isinstance(sent, Cancelled)]
        assert {m.generation for m in socket.sent[:at] if isinstance(m, Media)} == {0}
        after = [m for m in socket.sent[at:] if isinstance(m, Media)]
        assert {m.generation for m in after} == {1}
        assert (after[0].time, after[0].flags) == (0, Flag.FIRST)
        heard = from_bytes(b"".join(m.payload for m in after), "f32le")
        assert np.abs(heard[: ECHO.delay_samples]).max() == 0  # not even a filter's tail
        hops = heard[ECHO.delay_samples :][: (len(heard) - ECHO.delay_samples) // 128 * 128].reshape(-1, 128)
        loudness = np.abs(np.fft.rfft(hops)).max(axis=0)
        assert loudness[29] > 10
        assert loudness[5] < 1e-3

    fake_socket.run(use)


def test_dials_turn_while_somebody_talks() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        give_credit(socket)
        socket.say(Start("loopback", F32, F32))
        for i in range(150):
            await asyncio.sleep(ECHO.frame_ms / 1000)
            if i == 40:
                socket.say(Update(books=2, view=True))
            if i == 80:
                socket.say(Update(loss=1.0, view=False))
            socket.say(media(tone(N), i))
        socket.say(End())
        await call
        seen = [
            np.frombuffer(m.payload, "<i2").reshape(-1, ECHO.books)
            for m in socket.of(Media)
            if m.kind == Kind.CODES_HEARD
        ]
        books = {int((codes >= 0).sum()) for codes in seen}
        assert 2 in books
        assert books <= {2, 8}
        assert 35 <= len(seen) <= 45
        told = socket.of(Stats)
        assert len(told) in (4, 5)  # the first comes within half a second to one
        assert told[-1].packets["lost"] > 20
        assert told[-1].packets["concealed"] > 20
        assert [stats.books for stats in told] == [8] + [2] * (len(told) - 1)
        concealed = [m for m in socket.of(Media) if m.kind == Kind.PCM and Flag.CONCEALED in m.flags]
        assert len(concealed) > 20

    fake_socket.run(use)


def test_pictures_show_what_went_in_and_out() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        give_credit(socket)
        socket.say(Start("loopback", F32, F32, view=True))
        await speak(socket, tone(10 * N, 8))
        await call
        for kind in (Kind.MEL_IN, Kind.MEL_OUT):
            pictures = [m for m in socket.of(Media) if m.kind == kind]
            assert [m.time for m in pictures] == [i * N for i in range(10)]
            for picture in pictures:
                mel = np.frombuffer(picture.payload, np.uint8).reshape(picture.count, ECHO.n_mels)
                assert picture.count == ECHO.mels_per_frame
                assert set(mel.argmax(axis=1)) == {7}  # bands begin at the first harmonic
                half_db = 200 + 40 * np.log10(0.5)
                assert np.abs(mel[:, 7] - half_db).max() <= 7  # a level is within 3 dB, a step is half of one

    fake_socket.run(use)


def test_losses_that_cannot_be_are_refused_on_the_way_and_at_the_start() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback"))
        socket.say(Update(loss=0.9, burst=1.0))
        await until(lambda: bool(socket.of(Error)))
        assert not socket.of(Error)[0].fatal
        other = FakeSocket()
        socket.leave()
        await call
        other.say(Start("loopback", loss=0.9, burst=1.0))
        await fake_socket.connect(service, other)
        assert (other.sent[-1].code, other.closed) == ("bad_message", 1002)  # type: ignore[union-attr]

    fake_socket.run(use)


# ---- rows --------------------------------------------------------------------------------------------------------


def test_a_second_session_on_one_row_is_refused_at_once_and_may_come_again() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback"))
        await until(lambda: bool(socket.of(Started)))
        second = FakeSocket()
        second.say(Start("loopback"))
        await fake_socket.connect(service, second)
        hello, error = second.sent
        assert isinstance(hello, Hello)
        assert (error.code, error.retry_ms, error.fatal, second.closed) == ("no_slot", 1000, True, 1013)  # type: ignore[union-attr]
        socket.leave()
        await call
        third = FakeSocket()
        third.say(Start("loopback"))
        third.say(End())
        await fake_socket.connect(service, third)
        assert isinstance(third.sent[-1], End)

    fake_socket.run(use)


def test_who_only_looks_takes_no_row() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        await until(lambda: bool(socket.sent))
        assert service.loop.rows_taken == 0

    fake_socket.run(use)


def test_a_client_that_leaves_mid_sentence_frees_its_row_within_one_step() -> None:
    engine = _CountingEngine()

    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback", F32, F32))
        for i in range(20):
            socket.say(media(tone(N), i))
        await until(lambda: engine.steps > 8)
        socket.leave()
        before = engine.steps
        await call
        assert engine.steps - before <= 1
        assert service.loop.rows_taken == 0
        with service.loop.open() as row:  # and it is given back in the engine as well
            await row.step("mel", tone(N), 0.0)
        assert len(asyncio.all_tasks()) == 1

    fake_socket.run(use, engine)


class _CountingEngine(EchoEngine):
    steps = 0

    def step(self, work: Sequence[Work]) -> list[Any]:
        self.steps += 1
        return super().step(work)


class _FailingEngine(EchoEngine):
    def step(self, work: Sequence[Work]) -> list[Any]:
        raise RuntimeError("the model fell over")


def test_an_engine_that_fails_is_told_to_the_client_and_to_health(caplog: pytest.LogCaptureFixture) -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback", F32, F32))
        socket.say(media(tone(N)))
        await call
        error = socket.sent[-1]
        assert isinstance(error, Error)
        assert (error.code, socket.closed) == ("internal", 1011)
        assert "the model fell over" in error.message
        second = FakeSocket()
        second.say(Start("loopback"))
        await fake_socket.connect(service, second)
        assert second.sent[-1].code == "internal"  # type: ignore[union-attr]

    fake_socket.run(use, _FailingEngine())
    assert [record.exc_info for record in caplog.records if record.levelno >= logging.WARNING] == [None]


# ---- time --------------------------------------------------------------------------------------------------------


def test_an_idle_client_is_sent_away_and_its_row_with_it() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback"))
        await call
        assert socket.sent[-1].code == "idle"  # type: ignore[union-attr]
        assert socket.sent_s[-1] == pytest.approx(60, abs=0.01)
        assert (socket.closed, service.loop.rows_taken) == (1000, 0)

    fake_socket.run(use)


def test_a_client_that_plays_nothing_is_slow() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback", F32, F32))
        speaking = asyncio.create_task(speak(socket, tone(1000 * N)))
        await call
        speaking.cancel()
        assert socket.sent[-1].code == "slow"  # type: ignore[union-attr]
        assert 10 < socket.sent_s[-1] < 12
        assert sum(m.count for m in socket.of(Media)) * 1000 / ECHO.rate_hz <= 300
        assert service.loop.rows_taken == 0

    fake_socket.run(use)


def test_a_line_that_takes_nothing_is_left() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback", F32, F32))
        await until(lambda: bool(socket.of(Started)))
        socket.stalled = True
        began_s = socket.sent_s[-1]
        speaking = asyncio.create_task(speak(socket, tone(1000 * N)))
        await call
        speaking.cancel()
        assert 9 < asyncio.get_running_loop().time() - began_s < 12
        assert socket.closed is None
        assert service.loop.rows_taken == 0

    fake_socket.run(use)


def test_a_client_that_floods_is_heard_slowly_and_keeps_its_session() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("loopback"))
        for _ in range(1000):
            socket.say('{"type":"ping"}')
        socket.say(End())
        await call
        assert isinstance(socket.sent[-1], End)
        assert 2.5 < socket.sent_s[-1] < 3.5  # 600 beyond the burst at 200 a second

    fake_socket.run(use)


def test_text_is_refused_as_long_as_nobody_speaks() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        socket.say(Start("speak"))
        socket.say(Text("hello"))
        await call
        hello, error = socket.sent
        assert isinstance(hello, Hello)
        assert hello.modes == ("loopback",)
        assert (error.code, socket.closed) == ("unsupported", 1008)  # type: ignore[union-attr]

    fake_socket.run(use)


def test_metrics_tell_of_sessions_drops_and_continuity() -> None:
    async def use(service: Service, socket: FakeSocket, call: asyncio.Task[None]) -> None:
        give_credit(socket)
        socket.say(Start("loopback", F32, F32))
        await speak(socket, np.concatenate([np.zeros(10 * N, np.float32), tone(40 * N)]))
        await call
        text = service.metrics.text().decode()
        for line in (
            'sottovoce_sessions_total{mode="loopback",reason="end"} 1.0',
            'sottovoce_sessions_open{mode="loopback"} 0.0',
            "sottovoce_rows 1.0",
            "sottovoce_rows_taken 0.0",
            'sottovoce_continuity_ratio{within_ms="50"} 1.0',
            "sottovoce_worst_underrun_seconds_count 1.0",
            'sottovoce_first_audio_seconds_count{part="decode"} 1.0',
            'sottovoce_first_audio_seconds_count{part="leading_silence"} 1.0',
            'sottovoce_step_seconds_count{kind="vocode"} 50.0',
        ):
            assert line in text, line
        silence_ms = socket.of(Stats)[-1].first_audio_ms["leading_silence"]
        assert silence_ms == pytest.approx(10 * ECHO.frame_ms + 12.5, abs=1)

    fake_socket.run(use)
