"""A language model is asked over real HTTP, by a server that behaves, and by one that does not."""

import asyncio
import socket
from contextlib import aclosing

import pytest

from sottovoce.stream.errors import SottovoceError, ThinkerError, UsageError
from sottovoce.stream.thinker import KEY, OPENAI_KEY, ChatThinker
from support.fake_chat import DONE, STREAM, Answer, Line, chatting, delta, event

TEXT = "Twenty-one, and a caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{GRINNING FACE}."


def ask(answer: Answer, key: str | None = None, silent_s: float = 20.0) -> list[str]:
    """The pieces of an answer."""

    async def main() -> list[str]:
        async with chatting(answer) as url:
            thinker = ChatThinker(url, "m", environment={KEY: key} if key else {}, silent_s=silent_s)
            return [piece async for piece in thinker.answer("why?")]

    return asyncio.run(main())


def test_the_answer_comes_while_it_is_written() -> None:
    """The second piece is written when the first was heard."""
    heard = asyncio.Event()
    lines: list[Line] = []

    async def answer(line: Line) -> None:
        lines.append(line)
        await line.begin()
        await line.send(
            event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}), delta("One, ")
        )
        await heard.wait()
        await line.send(delta("two."), delta(None, finish="stop"), DONE)
        await line.end()

    async def main() -> None:
        async with chatting(answer) as url:
            thinker = ChatThinker(url + "/", "some-model", "be brief", environment={KEY: "sk-1"})
            pieces = []
            async for piece in thinker.answer("why?\udcff"):
                pieces.append(piece)
                heard.set()
            assert pieces == ["One, ", "two."]

    asyncio.run(main())
    (line,) = lines
    assert line.path == "/v1/chat/completions"
    assert line.headers["authorization"] == "Bearer sk-1"
    assert line.headers["accept"] == "text/event-stream"
    assert line.body == {
        "model": "some-model",
        "stream": True,
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why??"}],
    }


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_however_the_bytes_are_cut(size: int) -> None:
    """With what servers put between: comments, CRLF, other choices, usage, thoughts, keep-alives."""
    other = [
        b": ping\r\n\r\n", delta("not this", index=1), event({"choices": [], "usage": {"total_tokens": 3}}),
        event({"choices": [{"delta": {"reasoning_content": "hm", "content": None}}]}), event({"choices": [{"delta": None}]}),
    ]  # fmt: skip
    said = [delta(char).replace(b"\n\n", b"\r\n\r\n") for char in TEXT]
    raw = b"".join([*other, *said, delta(None, finish="stop"), DONE, delta("beyond the end")])

    async def answer(line: Line) -> None:
        await line.begin()
        await line.send(*(raw[i : i + size] for i in range(0, len(raw), size)))
        await line.end()

    assert "".join(ask(answer)) == TEXT


def test_an_answer_may_end_without_the_last_word() -> None:
    async def answer(line: Line) -> None:
        await line.begin()
        await line.send(delta("All of it."), delta(None, finish="length"))
        await line.end()

    assert ask(answer) == ["All of it."]


@pytest.mark.parametrize(
    ("status", "key", "body", "words"),
    [
        (401, None, b'{"error": {"message": "no key"}}', f"wants a key; set {KEY} (no key)"),
        (401, "sk-1", b'{"error": {"message": "bad\\nkey"}}', f"refuses the key; set {KEY} (bad key)"),
        (404, None, b'{"error": "model \'m\' not found"}', "check --chat and --model (model 'm' not found)"),
        (429, None, b"slow down", "try again in 7 s"),
        (422, None, b'{"detail": "no messages"}', "answers with status 422 (no messages)"),
        (500, None, b"<html>", "failed with status 500; try again later"),
        (503, None, b"[" * 70_000, "failed with status 503"),
        (302, None, b"", "answers with status 302"),
    ],
)
def test_a_refusal_is_told_in_one_line(status: int, key: str | None, body: bytes, words: str) -> None:
    async def answer(line: Line) -> None:
        await line.begin(status, "application/json", Retry_After="7")
        await line.send(body or b" ")
        await line.end()

    with pytest.raises(ThinkerError) as told:
        ask(answer, key)
    assert str(told.value).startswith("127.0.0.1:")
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    assert "sk-1" not in str(told.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"data: hello\n\n", "does not speak the protocol"),
        (b"data: [1]\n\n", "does not speak the protocol"),
        (b"data: " + b"[" * 50_000 + b"\n\n", "does not speak the protocol"),
        (event({"choices": [{"delta": {"content": 7}}]}), "does not speak the protocol"),
        (event({"choices": None}), "does not speak the protocol"),
        (event({"error": {"message": "out of memory", "code": 500}}), "failed: out of memory"),
        (b"", "broke off in the middle of its answer"),
    ],
)
def test_what_goes_wrong_on_the_way_is_told_after_what_was_said(data: bytes, words: str) -> None:
    async def answer(line: Line) -> None:
        await line.begin()
        await line.send(delta("Well, "), *([data] if data else []))
        await line.end()

    pieces = []

    async def main() -> None:
        async with chatting(answer) as url:
            async for piece in ChatThinker(url, "m", environment={}).answer("why?"):
                pieces.append(piece)

    with pytest.raises(ThinkerError, match=words):
        asyncio.run(main())
    assert pieces == ["Well, "]


def test_a_line_that_breaks_is_told() -> None:
    async def answer(line: Line) -> None:
        await line.begin()
        await line.send(delta("Well, "))  # and gone, in the middle of the chunks

    with pytest.raises(ThinkerError, match=r"the line to 127\.0\.0\.1:[0-9]+ broke: "):
        ask(answer)


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_a_server_that_does_not_stream_is_told_apart(kind: str) -> None:
    async def answer(line: Line) -> None:
        await line.begin(kind=kind)
        await line.send(b'{"choices": []}')
        await line.end()

    with pytest.raises(ThinkerError, match="does not stream"):
        ask(answer)


def test_who_says_nothing_is_not_waited_for_for_ever() -> None:
    async def answer(line: Line) -> None:
        await line.begin()
        await line.until_left()

    with pytest.raises(ThinkerError, match=r"has said nothing for 0\.05 s"):
        ask(answer, silent_s=0.05)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async def main() -> None:
        async for _ in ChatThinker(f"http://127.0.0.1:{port}", "m", environment={}).answer("why?"):
            pass

    with pytest.raises(ThinkerError, match=f"127.0.0.1:{port} cannot be reached; is it running"):
        asyncio.run(main())


@pytest.mark.parametrize("cancelled", [False, True])
def test_who_stops_listening_hangs_up(cancelled: bool) -> None:
    """The server sees the line closed in the middle of its answer, whether the iterator is closed or its task cancelled."""
    left = asyncio.Event()

    async def answer(line: Line) -> None:
        await line.begin()
        await line.send(delta("One, "))
        await line.until_left()
        left.set()

    async def main() -> None:
        async with chatting(answer) as url:
            heard = asyncio.Event()

            async def listen() -> None:
                async with aclosing(ChatThinker(url, "m", environment={}).answer("why?")) as pieces:  # type: ignore[type-var]
                    async for _ in pieces:
                        heard.set()
                        if not cancelled:
                            return

            task = asyncio.create_task(listen())
            await heard.wait()
            if cancelled:
                task.cancel()
            await asyncio.wait([task])
            await left.wait()

    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:11434",
        "ftp://a/v1",
        "http://",
        "http://:80/v1",
        "http://[::1/v1",
        "http://a:99999/",
        "http://\udcff/v1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--chat is like http://localhost:11434/v1"):
        ChatThinker(url, "m", environment={})


def test_keys_stay_where_they_belong() -> None:
    with pytest.raises(UsageError, match=f"a key does not belong into a URL; set {KEY}"):
        ChatThinker("http://me:sk-1@localhost/v1", "m", environment={})
    for bad in ("sk 1", "sk-1\n", "sk-\N{LATIN SMALL LETTER E WITH ACUTE}"):
        with pytest.raises(UsageError) as told:
            ChatThinker("http://localhost/v1", "m", environment={KEY: bad})
        assert bad not in str(told.value)
    keys = {OPENAI_KEY: "sk-openai"}
    assert ChatThinker("https://api.openai.com/v1", "m", environment=keys)._headers
    assert not ChatThinker("https://example.org/v1", "m", environment=keys)._headers


@pytest.mark.parametrize(
    "url",
    ["http://example.org/v1", "http://192.168.1.5:8000/v1", "http://localhost.example.org/v1", "http://0.0.0.0/v1"],
)
def test_a_key_goes_nowhere_in_the_clear(url: str) -> None:
    with pytest.raises(UsageError, match="a key goes over https only, or to this machine") as told:
        ChatThinker(url, "m", environment={KEY: "sk-1"})
    assert "sk-1" not in str(told.value)
    ChatThinker(url, "m", environment={})
    ChatThinker(url.replace("http", "https"), "m", environment={KEY: "sk-1"})
    with pytest.raises(UsageError, match="over https only"):
        ChatThinker("http://api.openai.com/v1", "m", environment={OPENAI_KEY: "sk-1"})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.0.1", "[::1]"])
def test_a_key_goes_to_this_machine(host: str) -> None:
    assert ChatThinker(f"http://{host}:1/v1", "m", environment={KEY: "sk-1"})._headers


def test_a_key_for_this_machine_goes_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def answer(line: Line) -> None:
        await line.begin()
        await line.send(delta("Yes."), DONE)
        await line.end()

    assert ask(answer, "sk-1") == ["Yes."]
    with pytest.raises(ThinkerError, match="cannot be reached"):
        ask(answer)  # without one the proxy is asked


def test_a_proxy_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://x")

    async def main() -> None:
        async for _ in ChatThinker("http://localhost:1/v1", "m", environment={}).answer("why?"):
            pass

    with pytest.raises(SottovoceError, match="proxy"):
        asyncio.run(main())


def test_the_type_of_a_stream_may_have_parameters() -> None:
    async def answer(line: Line) -> None:
        await line.begin(kind=STREAM.split(";")[0])
        await line.send(delta("Yes."), DONE)
        await line.end()

    assert ask(answer) == ["Yes."]
