"""The Python client against a real server: what comes back, and what it says and does where the server does not do its part."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from sottovoce.clients.client import Client
from sottovoce.clients.load import LoadOptions, Player, measure
from sottovoce.clients.talk import Refused
from sottovoce.stream import pipeline
from sottovoce.stream.client_messages import Format, Start, Update
from sottovoce.stream.engine import ECHO
from sottovoce.stream.errors import ConnectionFailed, UsageError
from sottovoce.stream.frames import Frame, Pcm
from sottovoce.stream.guard import Rules
from sottovoce.stream.loop import Session as Row
from sottovoce.stream.messages import ServerMessage
from sottovoce.stream.pipeline import Settings
from sottovoce.stream.server import ServerOptions
from sottovoce.stream.server_messages import Limits, Stats, Taken
from sottovoce.stream.statistics import Statistics
from sottovoce.stream.wire import Kind
from support import conversation
from support.conversation import N, noise, tone
from support.same import STEP_16_BITS, assert_same
from support.serving import health, serving, until_free
from support.speaking import speaking

F32 = Format("pcm", "f32le")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, s: float) -> None:
        self.now_s += s
        self.slept_s.append(s)


async def said(pcm: Pcm, block: int = 5000) -> AsyncIterator[Pcm]:
    for at in range(0, len(pcm), block):
        yield pcm[at : at + block]


def locally(pcm: Pcm, settings: Settings) -> Pcm:
    heard: list[Pcm] = []

    async def use(row: Row) -> None:
        async def sink(frame: Frame[Pcm]) -> None:
            heard.append(frame.data)

        await pipeline.loopback(said(pcm), sink, row, settings, Statistics(ECHO))

    conversation.run(use)
    return np.concatenate(heard)


def test_ten_lines_give_the_samples_of_a_local_pipeline() -> None:
    pcm = noise(10 * ECHO.rate_hz + 123)  # more than a client may send ahead, and more than it gets ahead
    told: list[ServerMessage] = []

    async def main() -> Pcm:
        async with serving(rows=1) as place:
            client = Client(f"ws://{place}", told=told.append)
            heard = [block async for block in client.loopback(said(pcm), books=3)]
            await until_free(place)
            return np.concatenate(heard)

    np.testing.assert_array_equal(asyncio.run(main()), locally(pcm, Settings(books=3)))
    assert len([message for message in told if isinstance(message, Taken)]) > 10


def test_a_text_is_spoken_alike_whole_and_in_pieces() -> None:
    async def pieces() -> AsyncIterator[str]:
        for letter in "Oh, I see. Yes.":
            yield letter

    async def main() -> None:
        async with speaking() as place:
            client = Client(f"ws://{place}")
            hello = await client.hello()
            whole = np.concatenate([pcm async for pcm in client.speak("Oh, I see. Yes.", voice=hello.voices[1])])
            cut = np.concatenate([pcm async for pcm in client.speak(pieces(), voice=hello.voices[1])])
            other = np.concatenate([pcm async for pcm in client.speak("Oh, I see. Yes.", voice=hello.voices[0])])
            assert len(whole) % hello.codec.frame_samples == 0
            assert np.abs(whole).max() > 0
            assert_same(cut, whole, STEP_16_BITS)
            assert len(other) != len(whole) or (other != whole).any()

    asyncio.run(main())


def test_what_the_writer_of_a_text_raises_comes_out_and_no_row_stays() -> None:
    async def pieces() -> AsyncIterator[str]:
        yield "Oh, I see."
        raise LookupError("no more words")

    async def main() -> None:
        async with speaking(rows=1) as place:
            with pytest.raises(LookupError, match="no more words"):
                async for _ in Client(f"ws://{place}").speak(pieces()):
                    pass
            await until_free(place)

    asyncio.run(main())


def test_an_unknown_voice_is_told() -> None:
    async def main() -> None:
        async with speaking() as place:
            with pytest.raises(Refused, match="one of ann, joe"):
                async for _ in Client(f"ws://{place}").speak("Yes.", voice="nobody"):
                    pass

    asyncio.run(main())


def test_an_empty_source_gives_nothing() -> None:
    async def main() -> None:
        async with serving(rows=1) as place:
            assert [block async for block in Client(f"ws://{place}").loopback(said(tone(0)))] == []

    asyncio.run(main())


def test_a_listener_who_turns_away_leaves_no_row_behind() -> None:
    async def main() -> None:
        async with serving(rows=1) as place:
            hearing = Client(f"ws://{place}").loopback(said(noise(20 * N)))
            await anext(hearing)
            await hearing.aclose()  # type: ignore[attr-defined]
            await until_free(place)

    asyncio.run(main())


def test_what_the_source_raises_comes_out() -> None:
    class Broken(Exception):
        pass

    async def source() -> AsyncIterator[Pcm]:
        yield tone(3 * N)
        raise Broken

    async def main() -> None:
        async with serving(rows=1) as place:
            with pytest.raises(Broken):
                async for _ in Client(f"ws://{place}").loopback(source()):
                    pass
            await until_free(place)

    asyncio.run(main())


def test_a_live_talk_is_cancelled_and_goes_on() -> None:
    async def main() -> None:
        async with serving(rows=1) as place, Client(f"ws://{place}").talk(Start("loopback", F32, F32)) as talk:
            for _ in range(4):
                await talk.say(tone(N, 5))
            first = await anext(talk)
            assert (first.media.generation, first.start_ms) == (0, 0)
            await talk.update(Update(books=2))
            await talk.cancel()
            for _ in range(3):
                await talk.say(tone(N, 29))
            await talk.end()
            heard = [piece async for piece in talk if piece.media.kind == Kind.PCM]
            assert {piece.media.generation for piece in heard} == {1}
            pcm = np.concatenate([piece.pcm for piece in heard])
            assert len(pcm) == 3 * N
            assert np.abs(pcm[: ECHO.delay_samples]).max() == 0

    asyncio.run(main())


def test_that_the_first_sound_came_is_told_at_once_whoever_plays_it() -> None:
    told: list[ServerMessage] = []

    async def main() -> None:
        async with serving(rows=1) as place:
            client = Client(f"ws://{place}", told=told.append)
            async with client.talk(Start("loopback", F32, F32), plays_itself=True) as talk:
                await talk.say(tone(N))
                await anext(talk)
                with pytest.raises(TimeoutError):  # nothing more comes but what the server tells
                    async with asyncio.timeout(1.5):
                        await anext(talk)

    asyncio.run(main())
    assert any("network" in message.first_audio_ms for message in told if isinstance(message, Stats))


def test_codes_come_and_go() -> None:
    async def main() -> Pcm:
        async with serving(rows=1) as place:
            client = Client(f"ws://{place}")
            packets = []
            async with client.talk(Start("loopback", F32, Format("codes"), live=False)) as talk:
                await talk.say(tone(6 * N))
                await talk.end()
                packets = [(piece.media.payload, piece.media.count) async for piece in talk]
            start = Start("loopback", Format("codes"), F32, live=False, model_hash=ECHO.model_hash)
            async with client.talk(start) as talk:
                for packed, n_frames in packets:
                    await talk.say_packet(packed, n_frames)
                await talk.end()
                return np.concatenate([piece.pcm async for piece in talk])

    np.testing.assert_array_equal(asyncio.run(main())[: 6 * N], locally(tone(6 * N), Settings()))


def test_a_line_that_breaks_is_mended_where_sound_is_live() -> None:
    async def main() -> None:
        async with serving(rows=1) as place, _Proxy(place) as proxy:
            client = Client(f"ws://{proxy.place}", sleep=_at_once)
            n_heard, cut = 0, False

            async def source() -> AsyncIterator[Pcm]:
                while n_heard < 30 * N:
                    yield tone(N)
                    await asyncio.sleep(0.002)

            async for block in client.loopback(source(), live=True):
                n_heard += len(block)
                if n_heard > 10 * N and not cut:
                    cut = True
                    proxy.cut()
            assert client.reconnects == 1
            await until_free(place)

    asyncio.run(main())


def test_a_line_that_breaks_is_an_error_where_every_sample_counts() -> None:
    async def main() -> None:
        async with serving(rows=1) as place, _Proxy(place) as proxy:
            hearing = Client(f"ws://{proxy.place}").loopback(said(noise(200 * N)))
            await anext(hearing)
            proxy.cut()
            with pytest.raises(ConnectionFailed, match="went away"):
                _ = [block async for block in hearing]

    asyncio.run(main())


class _Proxy:
    """A line that can be cut."""

    def __init__(self, place: str) -> None:
        self._host, _, self._port = place.partition(":")
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "_Proxy":
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.place = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()
        await asyncio.sleep(0)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, back]

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
            except OSError:
                pass
            finally:
                sink.close()

        await asyncio.gather(copy(reader, back), copy(there, writer))


async def _at_once(s: float) -> None:
    await asyncio.sleep(0)


# ---- servers that do not do their part ---------------------------------------------------------------------------


def test_it_gives_up_on_nobody_with_one_clear_line() -> None:
    time = Time()
    client = Client("ws://127.0.0.1:9", patience_s=10, clock=time, sleep=time.sleep)
    with pytest.raises(ConnectionFailed, match=r"^ws://127\.0\.0\.1:9 cannot be reached .*is the server running\?$"):
        asyncio.run(client.hello())
    assert 5 < time.now_s <= 10
    assert all(later > 1.1 * sooner for sooner, later in zip(time.slept_s, time.slept_s[1:4], strict=False))


def test_it_waits_for_a_row() -> None:
    async def main() -> None:
        async with serving(rows=1) as place:
            time = Time()
            holding = Client(f"ws://{place}").talk(Start("loopback"))
            await holding.__aenter__()

            async def sleep(s: float) -> None:
                assert s >= 1.0  # as the server said
                await holding.__aexit__(None, None, None)
                await until_free(place)
                await time.sleep(s)

            client = Client(f"ws://{place}", clock=time, sleep=sleep)
            async with client.talk(Start("loopback")):
                assert (await health(place))["rows_taken"] == 1
            assert len(time.slept_s) == 1

    asyncio.run(main())


def test_it_gives_up_on_a_row_that_never_comes() -> None:
    async def main() -> None:
        async with serving(rows=1) as place, Client(f"ws://{place}").talk(Start("loopback")):
            time = Time()
            client = Client(f"ws://{place}", clock=time, sleep=time.sleep)
            with pytest.raises(Refused, match="all 1 rows are taken") as raised:
                async with client.talk(Start("loopback")):
                    pass
            assert raised.value.code == "no_slot"
            assert 2 < time.now_s <= 5

    asyncio.run(main())


def test_what_would_be_the_same_again_is_not_tried_again() -> None:
    async def never(s: float) -> None:
        raise AssertionError("it tries again")

    async def main() -> None:
        async with serving(options=ServerOptions(rules=Rules(token="s3cret-token"))) as place:
            assert (await Client(f"ws://{place}", "s3cret-token", sleep=never).hello()).codec.preset == "echo"
            with pytest.raises(Refused, match="this is not the token of this server"):
                await Client(f"ws://{place}", "wrong-token", sleep=never).hello()
            with pytest.raises(Refused, match="this server needs its token"):
                await Client(f"ws://{place}", sleep=never).hello()
            with pytest.raises(ConnectionFailed, match="refuses with HTTP 403"):
                await Client(f"ws://{place}/elsewhere", sleep=never).hello()
            with pytest.raises(Refused, match="cannot speak"):
                async with Client(f"ws://{place}", "s3cret-token", sleep=never).talk(Start("speak")):
                    pass

    asyncio.run(main())


@pytest.mark.parametrize(
    "url", ["", "http://localhost", "localhost:8765", "ws://", "ws://host:port", "ws://a/?token=x", "ws://["]
)
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(UsageError):
        asyncio.run(Client(url).hello())


@pytest.mark.parametrize(
    ("said", "words"),
    [(b"220 mail.example ESMTP\r\n", "is no sottovoce server"), (b"", "hung up before it had answered")],
    ids=["another protocol", "nothing"],
)
def test_what_is_no_sottovoce_server_is_told(said: bytes, words: str) -> None:
    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ConnectionFailed, match=words):
            await Client(f"ws://{place}").hello()
        server.close()

    asyncio.run(main())


def test_a_token_is_shown_nowhere() -> None:
    assert "s3cret" not in repr(Client("ws://127.0.0.1", "s3cret-token"))


def test_an_idle_talk_ends_with_the_servers_reason() -> None:
    async def main() -> None:
        options = ServerOptions(Limits(sessions=0, idle_s=0.1))
        async with serving(options=options) as place, Client(f"ws://{place}").talk(Start("loopback")) as talk:
            with pytest.raises(Refused, match=r"nothing was heard of you for 0\.1 s"):
                await anext(talk)

    asyncio.run(main())


# ---- load --------------------------------------------------------------------------------------------------------


def test_thirty_two_clients_all_get_all_of_their_sound() -> None:
    async def main() -> None:
        async with serving(rows=32) as place:
            result = await measure(LoadOptions(f"ws://{place}", clients=32, seconds=0.2))
            assert result.failed == {}
            assert 0 <= result.c50 <= result.c100 <= 1
            assert result.first_audio_p50_ms > 0
            assert result.server_mib is not None
            await until_free(place)

    asyncio.run(main())


def test_clients_that_are_refused_are_counted() -> None:
    async def main() -> None:
        async with serving(rows=1) as place, Client(f"ws://{place}").talk(Start("loopback")):
            options = LoadOptions(f"ws://{place}", clients=2, seconds=0.1)
            result = await measure(options, patience_s=0.0)
            assert list(result.failed.values()) == [2]
            assert "all 1 rows are taken" in next(iter(result.failed))

    asyncio.run(main())


def test_a_player_starts_with_a_reserve_and_so_again_when_it_ran_dry() -> None:
    player = Player(reserve_ms=40)
    assert (player.played_ms(9.0), player.buffered_ms(9.0)) == (0, 0)
    player.add(10.0, 0, 40)
    assert player.played_ms(10.03) == 0
    player.add(10.04, 40, 80)
    assert player.played_ms(10.06) == pytest.approx(20)
    assert player.buffered_ms(10.06) == pytest.approx(60)
    assert player.played_ms(11.0) == pytest.approx(80)
    player.add(11.0, 80, 120)
    assert player.underruns == 1
    assert player.played_ms(11.03) == pytest.approx(70, abs=10.1)
    assert player.played_ms(11.06) == pytest.approx(100)
