"""A server that goes away in the middle: who comes back to it, with what, and who says in one line that it is over."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sottovoce.clients.backoff import FIRST_PAUSE_S, LONG_LINE_S, LONGEST_PAUSE_S, SPREAD, Backoff
from sottovoce.clients.client import MOST_IN_VAIN, Client
from sottovoce.clients.narration import MENDING_S, Narration
from sottovoce.clients.talk import Talk
from sottovoce.clients.unheard import Unheard
from sottovoce.models.config import TINY
from sottovoce.stream.client_messages import Format, Start
from sottovoce.stream.engine import EchoEngine, Engine
from sottovoce.stream.errors import ConnectionFailed, ThinkerError
from sottovoce.stream.frames import Pcm
from sottovoce.stream.messages import ServerMessage
from sottovoce.stream.server import ServerOptions, serve
from sottovoce.stream.server_messages import Limits, SegmentEnd, SegmentStart
from sottovoce.stream.session_events import TextArrived
from sottovoce.stream.speakers import Speakers
from support import program, tiny_talk
from support.conversation import N, tone
from support.program import refused
from support.same import STEP_16_BITS, assert_same
from support.served import NO_TOKEN, served
from support.serving import health, until_free
from support.speaking import READERS

TEXT = "Good day, dear. It has left. Nobody saw it. All right."
RATE_HZ = TINY.rate_hz
SPEAK = Start("speak", Format(), Format("pcm", "f32le"), live=False, lead_ms=100.0)


class Mortal:
    """A server on one port that dies and comes back as often as it is told to."""

    def __init__(self, engine: Callable[[], Engine], options: ServerOptions | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.place = f"127.0.0.1:{self.port}"
        self._engine, self._options = engine, options or ServerOptions()
        self._task: asyncio.Task[None] | None = None

    async def rise(self) -> None:
        ready = asyncio.Event()
        listening = socket.create_server(("127.0.0.1", self.port))
        self._task = asyncio.create_task(serve(self._engine(), self._options, listening, ready.set))
        await ready.wait()

    async def die(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task


@asynccontextmanager
async def mortal(speaks: bool, limits: Limits | None = None) -> AsyncIterator[Mortal]:
    speakers = Speakers(tiny_talk.engine().voices, READERS) if speaks else None
    options = ServerOptions(limits or Limits(sessions=0), speakers=speakers)
    server = Mortal(tiny_talk.engine if speaks else EchoEngine, options)
    await server.rise()
    try:
        yield server
    finally:
        await server.die()


async def text_of(text: str, size: int = 7) -> AsyncIterator[TextArrived]:
    for at in range(0, len(text), size):
        yield TextArrived(text[at : at + size], 0)


class Time:
    """A clock that only sleeping moves; ``slept`` is called with how often that was."""

    def __init__(self, slept: Callable[[int], Awaitable[None]] | None = None) -> None:
        self.now_s = 0.0
        self.slept_s: list[float] = []
        self._slept = slept

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, s: float) -> None:
        self.now_s += s
        self.slept_s.append(s)
        if self._slept is not None:
            await self._slept(len(self.slept_s))


async def narrated(
    server: Mortal,
    text: str,
    mend: bool = True,
    time: Time | None = None,
    at: Callable[[int, int], Awaitable[None]] | None = None,
    speed: float | None = None,
) -> tuple[list[list[str]], list[Pcm], Narration]:
    """The passages and the sound of each connection; ``at`` gets how many were before it, and how many passages have begun."""
    passages: list[list[str]] = [[]]
    sound: list[list[Pcm]] = [[]]

    def told(message: ServerMessage) -> None:
        if isinstance(message, SegmentStart):
            while len(passages) <= narration.breaks:
                passages.append([])
            passages[-1].append(message.text)

    client = (
        Client(f"ws://{server.place}") if time is None else Client(f"ws://{server.place}", clock=time, sleep=time.sleep)
    )
    narration = Narration(client, replace(SPEAK, speed=speed), text_of(text), mend=mend, told=told)
    async for heard in narration.heard():
        while len(sound) <= narration.breaks:
            sound.append([])
        sound[-1].append(heard.pcm)
        if at is not None:
            await at(narration.breaks, len(passages[-1]))
    return passages, [np.concatenate(pieces) for pieces in sound], narration


def test_a_text_goes_on_with_the_passage_that_broke_off() -> None:
    async def main() -> None:
        async with mortal(speaks=True) as server:
            deaths: list[int] = []
            (whole,), (in_one_go,), _ = await narrated(server, TEXT)
            assert len(whole) >= 3

            async def die_in_the_second(breaks: int, begun: int) -> None:
                if (breaks, begun) == (0, 2) and not deaths:
                    deaths.append(1)
                    await server.die()
                    await server.rise()

            (first, second), (before, after), narration = await narrated(
                server, TEXT, time=Time(), at=die_in_the_second
            )
            assert narration.breaks == 1
            assert narration.earlier_ms == pytest.approx(1000 * len(before) / RATE_HZ)
            assert "".join(whole) == TEXT
            assert first == whole[: len(first)]
            assert second == whole[1:]  # the second one again, from its beginning
            _, (rest,), _ = await narrated(server, TEXT.removeprefix(whole[0]))
            assert_same(after, rest, STEP_16_BITS)
            assert_same(before, in_one_go[: len(before)], STEP_16_BITS)

    asyncio.run(main())


def test_a_server_that_comes_back_late_is_waited_for() -> None:
    async def main() -> None:
        async with mortal(speaks=True) as server:

            async def rise(pauses: int) -> None:
                if pauses == 6:
                    await server.rise()

            async def die(breaks: int, begun: int) -> None:
                if not time.slept_s:
                    await server.die()

            time = Time(rise)
            passages, _, narration = await narrated(server, TEXT, time=time, at=die)
            assert "".join(passages[-1]) == TEXT
            assert narration.breaks == 1
            assert time.now_s > 10  # longer than anybody waits who has yet to hear the first word of it
            assert all(later > 1.1 * sooner for sooner, later in pairwise(time.slept_s[:4]))

    asyncio.run(main())


def test_a_server_that_never_comes_back_is_told() -> None:
    async def main() -> None:
        async with mortal(speaks=True) as server:
            time = Time()
            with pytest.raises(
                ConnectionFailed, match=r"^ws://127\.0\.0\.1:\d+ cannot be reached .*is the server running\?$"
            ):
                await narrated(server, TEXT, time=time, at=lambda *_: server.die())
            assert 20 < time.now_s <= MENDING_S

    asyncio.run(main())


def test_a_passage_that_no_server_survives_ends_it() -> None:
    async def main() -> None:
        async with mortal(speaks=True) as server:
            time, deaths = Time(), 0

            async def die_again(breaks: int, begun: int) -> None:
                nonlocal deaths
                if breaks == deaths:
                    deaths += 1
                    await server.die()
                    await server.rise()

            with pytest.raises(ConnectionFailed, match="went away"):
                await narrated(server, TEXT, time=time, at=die_again)
            assert deaths == MOST_IN_VAIN
            assert_doubled(time.slept_s, *range(MOST_IN_VAIN - 1))

    asyncio.run(main())


def test_a_file_is_whole_or_an_error() -> None:
    async def main() -> None:
        async with mortal(speaks=True) as server:
            with pytest.raises(ConnectionFailed, match="went away"):
                await narrated(server, TEXT, mend=False, at=lambda *_: server.die())

    asyncio.run(main())


def test_who_breaks_off_writing_is_told_after_what_was_written() -> None:
    async def source() -> AsyncIterator[TextArrived]:
        yield TextArrived("Good day. ", 0)
        raise ThinkerError("it broke off")

    async def main() -> None:
        async with mortal(speaks=True) as server:
            lengths = []

            async def listen() -> None:
                async for heard in Narration(Client(f"ws://{server.place}"), SPEAK, source(), mend=True).heard():
                    lengths.append(len(heard.pcm))

            with pytest.raises(ThinkerError, match="it broke off"):
                await listen()
            assert sum(lengths) > 1000
            await until_free(server.place)

    asyncio.run(main())


def test_more_text_than_may_wait_is_given_as_it_is_spoken() -> None:
    """Were it given at once, the server would end the session; and who waits for ever long is not sent away as idle."""
    text = "See it, dear. " * 20

    async def main() -> None:
        async with mortal(speaks=True, limits=Limits(sessions=0, text_chars=100, idle_s=0.5)) as server:
            passages, (sound,), _ = await narrated(server, text, speed=4.0)
            assert "".join(passages[0]).split() == text.split()
            assert len(sound) > RATE_HZ

    asyncio.run(main())


def test_live_sound_goes_on_when_its_server_is_back() -> None:
    async def main() -> None:
        async with mortal(speaks=False) as server:
            time = Time(lambda pauses: server.rise())
            client = Client(f"ws://{server.place}", clock=time, sleep=time.sleep)
            n_heard, died = 0, False

            async def source() -> AsyncIterator[Pcm]:
                while n_heard < 20 * N:
                    yield tone(N)
                    await asyncio.sleep(0.002)

            async for block in client.loopback(source(), live=True):
                n_heard += len(block)
                if n_heard > 10 * N and not died:
                    died = True
                    await server.die()
            assert (client.reconnects, len(time.slept_s)) == (1, 1)

    asyncio.run(main())


class Observed(Client):
    """``line`` gets every session as it begins."""

    line: Callable[[Talk], Awaitable[None]]

    @asynccontextmanager
    async def talk(
        self, start: Start, plays_itself: bool = False, backoff: Backoff | None = None
    ) -> AsyncIterator[Talk]:
        async with super().talk(start, plays_itself, backoff) as talk:
            await self.line(talk)
            yield talk


async def talking() -> AsyncIterator[Pcm]:
    while True:
        yield tone(N)
        await asyncio.sleep(0.002)


def assert_doubled(pauses_s: list[float], *times: int) -> None:
    """Each pause is the first one doubled so often, give or take what keeps clients apart."""
    due_s = np.minimum(FIRST_PAUSE_S * 2.0 ** np.array(times), LONGEST_PAUSE_S)
    np.testing.assert_allclose(pauses_s, due_s, rtol=SPREAD)


@pytest.mark.parametrize("dies", [True, False], ids=["who dies", "who hangs up"])
def test_live_sound_does_not_go_on_where_every_line_breaks_at_once(dies: bool) -> None:
    """A server that takes whoever comes, and is gone, or breaks the line, before it gives anything back."""

    async def main() -> None:
        async with mortal(speaks=False) as server:
            lines = 0

            async def rise(pauses: int) -> None:
                if dies:
                    await server.rise()

            async def fail(talk: Talk) -> None:
                nonlocal lines
                lines += 1
                if dies:
                    await server.die()
                else:
                    talk.abort()

            time = Time(rise)
            client = Observed(f"ws://{server.place}", clock=time, sleep=time.sleep)
            client.line = fail
            with pytest.raises(ConnectionFailed, match="went away"):
                await anext(client.loopback(talking(), live=True))
            assert (lines, client.reconnects) == (MOST_IN_VAIN, MOST_IN_VAIN - 1)
            assert_doubled(time.slept_s, *range(MOST_IN_VAIN - 1))

    asyncio.run(main())


def test_a_server_whose_lines_soon_break_is_asked_ever_more_rarely_until_one_lasts() -> None:
    async def main() -> None:
        async with mortal(speaks=False) as server:
            time, lines = Time(), list[Talk]()

            async def begin(talk: Talk) -> None:
                lines.append(talk)

            client = Observed(f"ws://{server.place}", clock=time, sleep=time.sleep)
            client.line, broken = begin, 0
            async for _ in client.loopback(talking(), live=True):
                if broken < len(lines):
                    broken += 1
                    if broken == 8:
                        time.now_s += LONG_LINE_S
                    elif broken == 10:
                        break
                    lines[-1].abort()
            assert_doubled(time.slept_s, 0, 1, 2, 3, 4, 5, 5, 0, 1)
            assert client.reconnects == 9

    asyncio.run(main())


# ---- what is said again --------------------------------------------------------------------------------------------


def test_what_was_heard_to_its_end_is_not_said_again() -> None:
    text = Unheard()
    text.write("One. Two. ")
    text.begin(SegmentStart(0, 0, 0.0, "One. "))
    assert text.waiting_chars == 5
    text.hear(400.0)
    text.end(SegmentEnd(0, 0, 500.0))
    text.begin(SegmentStart(0, 1, 500.0, "Two. "))
    text.write("Three.")
    assert (text.waiting_chars, text.n_heard, text.is_quiet) == (6, 0, False)
    text.hear(500.0)
    assert text.n_heard == 5
    text.hear(540.0)
    assert text.restart() == "Two. Three."
    assert (text.waiting_chars, text.is_quiet) == (11, True)
    text.begin(SegmentStart(0, 0, 0.0, "Two. "))
    text.hear(40.0)
    assert text.restart() == "Two. Three."


def test_what_nobody_can_say_lies_behind_with_what_follows_it() -> None:
    text = Unheard()
    text.write("\N{GRINNING FACE} \N{GRINNING FACE} Yes. No.")
    text.begin(SegmentStart(0, 0, 0.0, "Yes. "))
    text.begin(SegmentStart(0, 1, 300.0, "something else"))  # a passage that is not in the text moves nothing
    text.end(SegmentEnd(0, 0, 300.0))
    text.hear(310.0)
    assert text.restart() == "No."


# ---- as a person sees it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["say", "loopback"])
def test_a_file_through_a_server_that_dies_is_one_line_and_no_file(command: str, tmp_path: Path) -> None:
    out, arguments, codec = tmp_path / "out.wav", tuple[str, ...](), "echo"
    if command == "say":
        arguments, codec = ("--weights", str(tmp_path)), "tiny"
        tiny_talk.write_codec(tmp_path)
        tiny_talk.write_talker(tmp_path)
    soundfile.write(tmp_path / "in.wav", np.zeros(60 * 16_000, np.float32), 16_000)
    with served(*arguments, codec=codec) as (server, place):
        url = place.replace("http", "ws")
        told = {"say": ("-",), "loopback": ("--input", tmp_path / "in.wav", "--realtime")}[command]
        with subprocess.Popen(
            program.command(command, "--server", url, *told, "--output", out),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=NO_TOKEN,
        ) as client:  # fmt: skip
            assert client.stdin is not None
            with suppress(BrokenPipeError):
                client.stdin.write(b"It goes on and on. " * 500)
                client.stdin.flush()
            asyncio.run(until_taken(place.removeprefix("http://")))
            server.kill()
            _, complaints = client.communicate(timeout=60)
        result = subprocess.CompletedProcess([], client.returncode, b"", complaints)
    refused(result, 11, "the server went away")
    assert not out.exists()


async def until_taken(place: str) -> None:
    while not (await health(place))["rows_taken"]:
        pass
