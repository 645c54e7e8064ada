"""The law of cancelling: nothing captured before a cancel is heard after it, and no frame vanishes uncounted."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sottovoce.stream import pipeline
from sottovoce.stream.channel import Channel
from sottovoce.stream.conceal import Conceal
from sottovoce.stream.engine import ECHO
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.generation import Generation
from sottovoce.stream.loop import Session
from sottovoce.stream.packet import CodePacket, shape, unpack
from sottovoce.stream.pipeline import Settings
from sottovoce.stream.statistics import Statistics
from support import virtual_time
from support.conversation import N, blocks, run, tone

N_FRAMES = 24
TONES = (5, 17, 29, 41)
"""What is said in each generation: the number of a band."""
_LEVELS = ECHO.book_size // ECHO.n_mels

CANCELS_S = st.lists(st.floats(0, N_FRAMES * ECHO.frame_ms / 1000), max_size=len(TONES) - 1)
BLOCKS = st.sampled_from([N // 4, N, 3 * N + 100])
SETTINGS = st.builds(
    Settings,
    frames_per_packet=st.integers(1, 4),
    redundancy=st.integers(0, 2),
    loss=st.sampled_from([0, 0.3]),
    live=st.booleans(),
    aligned=st.just(False),
    capture_frames=st.sampled_from([1, 5]),
)


class Scene:
    """Somebody speaks, in each generation on a tone of its own, somebody hears it, and somebody cancels."""

    def __init__(self, session: Session, block: int, sink_s: float) -> None:
        self.session = session
        self.generation = Generation()
        self.heard: list[list[Pcm]] = [[] for _ in TONES]
        self.n_heard = 0
        self._block = block
        self._sink_s = sink_s
        self._said = [tone(N_FRAMES * N, band) for band in TONES]

    async def source(self) -> AsyncIterator[Pcm]:
        for at in range(0, N_FRAMES * N, self._block):
            await asyncio.sleep(self._block / ECHO.rate_hz)
            yield self._said[self.generation.current][at : at + self._block]

    async def sink(self, frame: Frame[Pcm]) -> None:
        assert frame.generation == self.generation.current
        self.heard[frame.generation].append(frame.data)
        self.n_heard += 1
        await asyncio.sleep(self._sink_s)

    async def cancel(self, at_s: list[float]) -> None:
        for pause_s in np.diff(sorted(at_s), prepend=0.0):
            await asyncio.sleep(pause_s)
            self.generation.cancel()

    def check(self) -> None:
        """Every generation begins with the silence of a vocoder that has no tail, and then knows its own tone only."""
        for generation, frames in enumerate(self.heard):
            if frames:
                pcm = np.concatenate(frames)
                assert np.abs(pcm[: ECHO.delay_samples]).max() == 0
                hops = pcm[ECHO.delay_samples :][: (len(pcm) - ECHO.delay_samples) // 128 * 128].reshape(-1, 128)
                loudness = np.abs(np.fft.rfft(hops)).max(axis=0)
                others = [band for band in TONES if band != TONES[generation]]
                assert loudness[others].max() < 1e-3


def captured(statistics: Statistics) -> int:
    return next(channel.sent for channel in statistics.channels() if channel.name == "captured")


def dropped(statistics: Statistics) -> int:
    """Frames that are not to be heard; those that a wire lost are made up."""
    return sum(n for reason, n in statistics.dropped.items() if not reason.endswith(".lost"))


@settings(max_examples=25)
@given(CANCELS_S, SETTINGS, BLOCKS, st.sampled_from([0.0, 0.02, 0.1]))
@example([0.7], Settings(frames_per_packet=3, aligned=False), N, 0.1)
@example([0.4], Settings(loss=1.0, redundancy=2, frames_per_packet=2, aligned=False), N, 0.0)
def test_a_loopback_keeps_the_law(at_s: list[float], setting: Settings, block: int, sink_s: float) -> None:
    async def use(session: Session) -> None:
        scene, statistics = Scene(session, block, sink_s), Statistics(ECHO)
        cancelling = asyncio.create_task(scene.cancel(at_s))
        await pipeline.loopback(
            scene.source(),
            scene.sink,
            session,
            setting,
            statistics,
            generation=scene.generation,
            clock=virtual_time.now_s,
        )
        scene.check()
        assert captured(statistics) == scene.n_heard + dropped(statistics)
        await cancelling

    run(use)


@settings(max_examples=25)
@given(CANCELS_S, SETTINGS, BLOCKS, st.sampled_from([0.0, 0.02, 0.1]), st.sampled_from([0.0, 0.1]))
def test_two_ends_and_a_wire_that_knows_of_the_cancel_keep_the_law(
    at_s: list[float], setting: Settings, block: int, sink_s: float, wire_s: float
) -> None:
    async def use(session: Session) -> None:
        scene, sent, received = Scene(session, block, sink_s), Statistics(ECHO), Statistics(ECHO)
        wire: Channel[tuple[int, bytes]] = Channel(4)
        n_arrived = 0

        async def into_the_wire(packed: bytes) -> None:
            await wire.send((scene.generation.current, packed))  # stands in the header of whatever carries packets

        async def out_of_the_wire() -> AsyncIterator[bytes]:
            nonlocal n_arrived
            async for generation, packed in wire:
                await asyncio.sleep(wire_s)
                if not scene.generation.is_stale(generation):
                    n_arrived += shape(packed)[0]
                    yield packed

        async def speak() -> None:
            async with wire:
                await pipeline.encode(
                    scene.source(), into_the_wire, session, setting, sent, generation=scene.generation
                )

        speaking, cancelling = asyncio.create_task(speak()), asyncio.create_task(scene.cancel(at_s))
        await pipeline.decode(out_of_the_wire(), scene.sink, session, setting, received, generation=scene.generation)
        scene.check()
        assert captured(sent) == sent.counters["frames_sent"] + dropped(sent)
        made_up = received.conceal.concealed + received.conceal.repaired
        assert n_arrived + made_up == scene.n_heard + dropped(received)
        await speaking
        await cancelling

    run(use)


@settings(max_examples=25)
@given(CANCELS_S, SETTINGS, BLOCKS, st.sampled_from([0.0, 0.02, 0.1]))
def test_a_receiver_that_knows_nothing_of_a_cancel_repeats_nothing(
    at_s: list[float], setting: Settings, block: int, sink_s: float
) -> None:
    async def use(session: Session) -> None:
        scene, statistics = Scene(session, block, 0.0), Statistics(ECHO)
        conceal = Conceal(ECHO.books, ECHO.frame_ms)
        talks: list[list[CodePacket]] = [[]]

        async def sink(packed: bytes) -> None:
            packet = unpack(packed, ECHO.bits_per_code)
            frames = conceal.receive(packet)
            assert not any(frame.concealed for frame in frames)
            known = [*(frame.codes[0] for frame in frames), *packet.redundant]
            assert all(code // _LEVELS == TONES[scene.generation.current] - 1 for code in known)
            talks[-1].append(packet)
            if packet.end_of_talk:
                talks.append([])
            await asyncio.sleep(sink_s)

        cancelling = asyncio.create_task(scene.cancel(at_s))
        await pipeline.encode(scene.source(), sink, session, setting, statistics, generation=scene.generation)
        await cancelling
        packets = [packet for talk in talks for packet in talk]
        numbers = np.cumsum([0, *(len(packet.codes) for packet in packets)])
        assert [packet.seq for packet in packets] == list(numbers[:-1])
        assert captured(statistics) == numbers[-1] + dropped(statistics)
        assert talks[-1] == []  # the last one ended as well
        assert len(talks) - 1 <= len(at_s) + 1

    run(use)


def test_a_block_that_came_before_a_cancel_is_cancelled_to_its_end() -> None:
    async def use(session: Session) -> None:
        generation, statistics = Generation(), Statistics(ECHO)
        heard: list[Frame[Pcm]] = []

        async def sink(frame: Frame[Pcm]) -> None:
            heard.append(frame)
            if len(heard) == 3:
                generation.cancel()

        setting = Settings(aligned=False)
        source = blocks(tone(60 * N + 10), 59 * N + 10)  # the last frame ends in another block
        await pipeline.loopback(source, sink, session, setting, statistics, generation=generation)
        assert [frame.generation for frame in heard] == [0] * 3
        assert dropped(statistics) == 60 - 3

    run(use)


def test_a_cancel_without_a_word_after_it_ends_the_talk() -> None:
    async def use(session: Session) -> None:
        generation, statistics = Generation(), Statistics(ECHO)
        packets: list[CodePacket] = []

        async def source() -> AsyncIterator[Pcm]:
            yield tone(6 * N)
            await asyncio.sleep(1)
            generation.cancel()

        async def sink(packed: bytes) -> None:
            packets.append(unpack(packed, ECHO.bits_per_code))

        setting = Settings(frames_per_packet=4, aligned=False)
        await pipeline.encode(source(), sink, session, setting, statistics, generation=generation)
        assert [(p.seq, len(p.codes), p.end_of_talk) for p in packets] == [(0, 4, False), (4, 0, True)]
        assert statistics.dropped == {"encoded.stale": 2}

    run(use)


def test_what_may_be_cancelled_is_not_aligned() -> None:
    async def use(session: Session) -> None:
        async def nobody(_: object) -> None: ...

        async def nothing() -> AsyncIterator[bytes]:
            return
            yield b""

        setting, statistics, generation = Settings(aligned=True), Statistics(ECHO), Generation()
        for conversation in (
            pipeline.loopback(blocks(tone(N)), nobody, session, setting, statistics, generation=generation),
            pipeline.encode(blocks(tone(N)), nobody, session, setting, statistics, generation=generation),
            pipeline.decode(nothing(), nobody, session, setting, statistics, generation=generation),
        ):
            with pytest.raises(ValueError, match="aligned"):
                await conversation

    run(use)
