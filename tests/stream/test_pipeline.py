"""Whole conversations over the echo engine, in virtual time: sound in, sound out, nothing lost unseen."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sottovoce.stream import pipeline
from sottovoce.stream.codefile import CodeParser, CodeWriter
from sottovoce.stream.conceal import SILENT_DB
from sottovoce.stream.engine import ECHO, KINDS, EchoEngine, Kind, Work
from sottovoce.stream.errors import AudioFileError, EngineStopped, PacketError
from sottovoce.stream.frames import Codes, Frame, Mel, Pcm
from sottovoce.stream.loop import Session
from sottovoce.stream.pacing import paced
from sottovoce.stream.packer import Dial
from sottovoce.stream.packet import CodePacket, pack, unpack
from sottovoce.stream.pipeline import Settings, Taps
from sottovoce.stream.statistics import Statistics
from support import virtual_time
from support.conversation import Ear, N, blocks, noise, run, tone


async def looped(session: Session, pcm: Pcm, setting: Settings, *cuts: int, **more: Any) -> tuple[Pcm, Statistics]:
    ear, statistics = Ear(), Statistics(session.descriptor)
    n_samples = await pipeline.loopback(
        blocks(pcm, *cuts), ear, session, setting, statistics, clock=virtual_time.now_s, **more
    )
    assert n_samples == len(pcm)
    return ear.pcm, statistics


@pytest.mark.parametrize("n_samples", [0, 1, N - ECHO.delay_samples, N, N + 1, 10 * N, 10 * N + 77])
def test_a_tone_comes_through_in_line_and_in_full(n_samples: int) -> None:
    async def use(session: Session) -> None:
        said = tone(n_samples)
        heard, statistics = await looped(session, said, Settings())
        assert len(heard) == n_samples
        if n_samples >= 10 * N:
            middle = slice(N, 9 * N)
            ratio = np.dot(heard[middle], said[middle]) / np.dot(said[middle], said[middle])
            assert 0.7 < ratio < 1.42  # within 3 dB
            assert np.abs(heard[middle] - ratio * said[middle]).max() < 0.01  # and not shifted
            assert statistics.conceal.concealed == 0
            assert not statistics.dropped
            assert statistics.codes.perplexity()[0] >= 1

    run(use)


@settings(max_examples=15)
@given(st.data())
def test_the_chunk_law_holds_from_pcm_to_pcm(data: st.DataObject) -> None:
    pcm = noise(6 * N + 100)
    cuts = data.draw(st.lists(st.integers(0, len(pcm)), max_size=20))

    async def use(session: Session) -> None:
        whole, _ = await looped(session, pcm, Settings())
        cut, _ = await looped(session, pcm, Settings(), *cuts)
        assert np.array_equal(whole, cut)

    run(use)


@pytest.mark.parametrize("setting", [Settings(), Settings(books=2, frames_per_packet=3, redundancy=2)])
@pytest.mark.parametrize("n_samples", [0, 5, 7 * N + 3])
def test_encode_then_decode_is_loopback(setting: Settings, n_samples: int) -> None:
    async def use(session: Session) -> None:
        pcm = noise(n_samples)
        expected, _ = await looped(session, pcm, setting)
        file = io.BytesIO()
        writer = CodeWriter(file, session.descriptor)

        async def append(packed: bytes) -> None:
            writer.append(packed)

        statistics = Statistics(session.descriptor)
        writer.finish(await pipeline.encode(blocks(pcm, 100), append, session, setting, statistics))
        parser = CodeParser()

        async def packets() -> AsyncIterator[bytes]:
            for byte in file.getvalue():
                for packed in parser.feed(bytes([byte])):
                    yield packed

        ear = Ear()
        n = await pipeline.decode(packets(), ear, session, setting, statistics, lambda: parser.n_samples)
        assert n == n_samples
        assert np.array_equal(ear.pcm, expected)

    run(use)


@pytest.mark.parametrize("redundancy", [0, 1, 3])
@pytest.mark.parametrize("loss", [0.2, 0.5, 1.0])
def test_losses_change_the_sound_and_not_its_length(loss: float, redundancy: int) -> None:
    async def use(session: Session) -> None:
        setting = Settings(loss=loss, redundancy=redundancy, frames_per_packet=2, seed=5)
        pcm = tone(60 * N)
        heard, statistics = await looped(session, pcm, setting)
        assert len(heard) == len(pcm)
        assert np.isfinite(heard).all()
        conceal, counters = statistics.conceal, statistics.counters
        assert counters["packets_lost"] > 0
        assert statistics.dropped["sent.lost"] == conceal.repaired + conceal.concealed
        assert conceal.received + conceal.repaired + conceal.concealed == counters["frames_sent"]
        assert (conceal.repaired > 0) == (redundancy > 0 and loss < 1)
        if loss == 1:
            assert np.abs(heard).max() == 0  # nothing known, nothing made up

    run(use)


def test_a_dead_line_falls_silent() -> None:
    async def use(session: Session) -> None:
        async def packets() -> AsyncIterator[bytes]:
            codes = np.full((1, ECHO.books), 8 * 16 + 15, np.uint16)
            yield pack(CodePacket(15, 0, codes), ECHO.bits_per_code)
            yield pack(CodePacket(15, 20, codes, end_of_talk=True), ECHO.bits_per_code)

        ear = Ear()
        statistics = Statistics(ECHO)
        seen: list[Frame[Mel]] = []
        taps = Taps(mel_out=seen.append)
        await pipeline.decode(packets(), ear, session, Settings(aligned=False), statistics, taps=taps)
        loud = [float(np.abs(frame.data).max()) for frame in ear.frames]
        assert len(loud) == 21
        assert loud[0] > 0.5
        assert loud[20] > 0.5
        assert loud[1:9] == sorted(loud[1:9], reverse=True)
        assert max(loud[9:20]) == 0
        assert [frame.concealed for frame in ear.frames] == [False] + [True] * 19 + [False]
        # Within a frame it is a slope: each mel frame is as much below the one before as the next is below it.
        db = 20 / np.log(10) * np.array([mel.data.max(axis=1) for mel in seen[:2]])
        assert np.allclose(np.diff(db[1], prepend=db[0, -1]), -SILENT_DB * (ECHO.frame_ms / 200) ** 2 / 4, atol=1e-3)

    run(use)


class Failing(EchoEngine):
    def step(self, work: Any) -> Any:
        if work[0].kind == "decode":
            raise ArithmeticError("boom")
        return super().step(work)


def test_whatever_fails_is_one_error_with_its_type() -> None:
    async def bad_source() -> AsyncIterator[Pcm]:
        yield noise(5 * N)
        raise AudioFileError("the file is broken")

    async def bad_sink(frame: Frame[Pcm]) -> None:
        raise OSError(28, "No space left on device")

    async def bad_packets() -> AsyncIterator[bytes]:
        yield b"no packet"

    async def foreign_packets() -> AsyncIterator[bytes]:
        yield pack(CodePacket(0, 0, np.zeros((1, 1), np.uint16)), ECHO.bits_per_code)

    async def use(session: Session) -> None:
        statistics = Statistics(ECHO)
        with pytest.raises(AudioFileError, match="broken"):
            await pipeline.loopback(bad_source(), Ear(), session, Settings(), statistics)
        with pytest.raises(OSError, match="No space"):
            await pipeline.loopback(blocks(noise(50 * N)), bad_sink, session, Settings(), statistics)
        for packets in (bad_packets(), foreign_packets()):
            with pytest.raises(PacketError):
                await pipeline.decode(packets, Ear(), session, Settings(), statistics)
        for setting in (
            Settings(books=9),
            Settings(loss=2),
            Settings(frames_per_packet=0),
            Settings(redundancy=8),
        ):
            with pytest.raises(ValueError):
                await pipeline.loopback(blocks(noise(N)), Ear(), session, setting, statistics)
        await looped(session, noise(5 * N), Settings())  # the session is as good as new

    run(use)

    async def use_failing(session: Session) -> None:
        with pytest.raises(EngineStopped, match="boom"):
            await looped(session, noise(50 * N), Settings())

    run(use_failing, Failing())


def test_closing_the_session_ends_the_conversation() -> None:
    async def use(session: Session) -> None:
        async def close(frame: Frame[Pcm]) -> None:
            session.close()

        with pytest.raises(EngineStopped, match="closed"):
            await pipeline.loopback(blocks(noise(50 * N)), close, session, Settings(), Statistics(ECHO))

    run(use)


def test_cancelling_the_task_ends_every_stage() -> None:
    async def use(session: Session) -> None:
        ear = Ear(lambda: asyncio.sleep(3600))
        before = asyncio.all_tasks()
        task = asyncio.create_task(pipeline.loopback(blocks(noise(90 * N)), ear, session, Settings(), Statistics(ECHO)))
        await asyncio.sleep(60)
        stages = {"capture", "speak", "hear"}
        assert {task.get_name() for task in asyncio.all_tasks() - before - {task}} == stages
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == before
        await looped(session, noise(3 * N), Settings())

    run(use)


def test_a_slow_sink_holds_a_file_back_and_every_queue_stays_bounded() -> None:
    async def use(session: Session) -> None:
        ear, statistics = Ear(lambda: asyncio.sleep(1)), Statistics(ECHO)
        pcm = noise(100 * N)
        await pipeline.loopback(blocks(pcm), ear, session, Settings(), statistics, clock=virtual_time.now_s)
        assert len(ear.pcm) == len(pcm)
        assert not statistics.dropped
        assert all(channel.high_water <= channel.capacity <= 5 for channel in statistics.channels())

    run(use)


def test_live_capture_drops_its_oldest_and_nothing_behind_it_does() -> None:
    async def use(session: Session) -> None:
        ear, statistics = Ear(lambda: asyncio.sleep(0.1)), Statistics(ECHO)  # a third of the rate it gets
        source = paced(blocks(noise(100 * N)), ECHO.rate_hz, N, virtual_time.now_s)
        setting = Settings(live=True, aligned=False)
        await pipeline.loopback(source, ear, session, setting, statistics, clock=virtual_time.now_s)
        assert set(statistics.dropped) == {"captured.overflow"}
        assert statistics.dropped["captured.overflow"] + len(ear.frames) == 100
        assert statistics.age.summary().max_ms < 25 * 100  # bounded, as all queues are

    run(use)


@pytest.mark.parametrize(("pauses_s", "lost"), [([0.1] * 20 + [0.0] * 20, 16), ([0.1] * 20 + [0.0] * 4, 0)])
def test_a_live_file_has_silence_where_frames_were_lost_and_stays_in_step(pauses_s: list[float], lost: int) -> None:
    said = np.concatenate([tone(N, 1 + i) for i in range(len(pauses_s))])

    async def source() -> AsyncIterator[Pcm]:
        for pause_s, frame in zip(pauses_s, np.split(said, len(pauses_s)), strict=True):
            if pause_s:
                await asyncio.sleep(pause_s)
            yield frame

    async def use(session: Session) -> None:
        ear, statistics = Ear(), Statistics(ECHO)
        await pipeline.loopback(source(), ear, session, Settings(live=True), statistics)
        assert len(ear.pcm) == len(said)
        spectra = np.abs(np.fft.rfft(ear.pcm.reshape(-1, N // 4))).reshape(-1, 4, N // 8 + 1).min(axis=1)
        loudest, silent = spectra.argmax(axis=1), spectra.max(axis=1) < 1e-3
        assert silent.sum() == statistics.dropped.get("captured.overflow", 0) == lost
        assert np.array_equal(loudest[~silent], np.arange(1, len(pauses_s) + 1)[~silent])

    run(use)


def test_live_in_time_nothing_is_dropped_and_no_time_is_lost() -> None:
    async def use(session: Session) -> None:
        ear, statistics = Ear(), Statistics(ECHO)
        source = paced(blocks(tone(50 * N)), ECHO.rate_hz, N // 4, virtual_time.now_s)
        setting = Settings(live=True, aligned=False)
        await pipeline.loopback(source, ear, session, setting, statistics, clock=virtual_time.now_s)
        assert np.allclose(ear.heard_s, np.arange(1, 51) * ECHO.frame_ms / 1000)
        assert not statistics.dropped
        assert statistics.age.summary().n == 50
        assert list(statistics.stages) == ["mel", "encode", "pack", "receive", "decode", "vocode", "play"]

    run(use)


@pytest.mark.parametrize("sink_s", [0.0, 0.005])
@pytest.mark.parametrize(
    ("frames_per_packet", "redundancy", "burst"), [(1, 0, None), (4, 0, None), (3, 2, 1.0), (1, 3, 1.0), (2, 1, 4.0)]
)
def test_the_delays_of_the_stages_add_up_to_the_age_of_each_frame(
    frames_per_packet: int, redundancy: int, burst: float | None, sink_s: float
) -> None:
    async def use(session: Session) -> None:
        ear, statistics = Ear(lambda: asyncio.sleep(sink_s)), Statistics(ECHO)
        source = paced(blocks(tone(26 * N)), ECHO.rate_hz, N, virtual_time.now_s)
        setting = Settings(
            frames_per_packet=frames_per_packet,
            redundancy=redundancy,
            loss=0.4 if burst else 0.0,
            burst=burst,
            seed=2,
            aligned=False,
        )
        await pipeline.loopback(source, ear, session, setting, statistics, clock=virtual_time.now_s)
        born_s = np.arange(1, 27) * ECHO.frame_ms / 1000
        assert np.allclose([frame.born_s for frame in ear.frames], born_s)
        assert statistics.age.total_s == pytest.approx(sum(ear.heard_s) - born_s.sum())
        assert statistics.age.total_s == pytest.approx(sum(stage.total_s for stage in statistics.stages.values()))
        assert {stage.summary().n for stage in statistics.stages.values()} == {26}
        n = frames_per_packet
        waited = sum(min((i // n + 1) * n, 26) - 1 - i for i in range(26))  # for the newest frame of its packet
        assert statistics.stages["pack"].total_s == pytest.approx(waited * ECHO.frame_ms / 1000)
        assert statistics.stages["mel"].total_s == pytest.approx(0)
        assert (statistics.conceal.repaired > 0) == (redundancy > 0)
        # A single lost packet is held back until the next one repairs all of it; a burst outlasts the patience.
        assert (statistics.conceal.concealed > 0) == (burst == 4.0)

    run(use)


def test_the_dial_turns_the_bitrate_on_the_way_and_taps_see_it() -> None:
    async def use(session: Session) -> None:
        dial = Dial(ECHO.books, 1)
        seen: list[Frame[Codes]] = []

        def tap(frame: Frame[Codes]) -> None:
            seen.append(frame)
            if len(seen) == 10:
                dial.books = 99

        _, statistics = await looped(session, noise(40 * N), Settings(), dial=dial, taps=Taps(codes=tap))
        books = [frame.books for frame in seen]
        assert books[:10] == [1] * 10
        assert books[-10:] == [8] * 10
        assert set(books) == {1, 8}
        assert all((frame.data[0] >= 0).sum() == frame.books for frame in seen)
        bits = sum(len(frame.data) * frame.books for frame in seen if frame.books) * ECHO.bits_per_code
        assert statistics.counters["code_bits"] == bits
        assert ECHO.bitrate(1) < statistics.code_bitrate < ECHO.bitrate()
        assert statistics.code_bitrate < statistics.wire_bitrate

    run(use)


def test_packets_end_their_talk() -> None:
    async def use(session: Session) -> None:
        packets: list[CodePacket] = []

        async def sink(packed: bytes) -> None:
            packets.append(unpack(packed, ECHO.bits_per_code))

        setting = Settings(frames_per_packet=4, aligned=False)
        assert await pipeline.encode(blocks(noise(9 * N)), sink, session, setting, Statistics(ECHO)) == 9 * N
        assert [(p.seq, len(p.codes), p.end_of_talk) for p in packets] == [
            (0, 4, False),
            (4, 4, False),
            (8, 1, True),
        ]

    run(use)


def test_a_frame_is_due_by_its_age() -> None:
    dues: dict[Kind, list[float]] = {kind: [] for kind in KINDS}

    class Watching(EchoEngine):
        def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
            for piece in work:
                dues[piece.kind].append(piece.due_s)
            return super().step(work)

    async def use(session: Session) -> None:
        source = paced(blocks(tone(5 * N)), ECHO.rate_hz, N, virtual_time.now_s)
        await pipeline.loopback(
            source, Ear(), session, Settings(aligned=False), Statistics(ECHO), clock=virtual_time.now_s
        )
        for kind in KINDS:
            assert np.allclose(dues[kind], np.arange(2, 7) * ECHO.frame_ms / 1000), kind

    run(use, Watching())
