"""Parts of a server of a few lines each: the page's files, how much a client may say, who counts a row, who is still there."""

import asyncio
import functools
import json
from pathlib import Path

import pytest
import uvicorn
from starlette.websockets import WebSocketDisconnect

from sottovoce.stream import messages
from sottovoce.stream.allowance import Allowance
from sottovoce.stream.client_messages import Ping
from sottovoce.stream.engine import EchoEngine
from sottovoce.stream.errors import EngineStopped, NoSlot, ProtocolError, UsageError
from sottovoce.stream.loop import EngineLoop
from sottovoce.stream.metrics import Metrics
from sottovoce.stream.server import ServerOptions
from sottovoce.stream.server_messages import Limits, Pong
from sottovoce.stream.speakers import counted_row
from support.serving import get, open_socket, serving

# ---- the page ------------------------------------------------------------------------------------------------------


def test_what_is_hidden_is_not_served(tmp_path: Path) -> None:
    for name in ("index.html", "app.js", ".env", ".git/config", "parts/.hidden.js", "parts/seen.js", "package.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path.parent / "outside.txt").write_text("outside")

    async def main() -> None:
        async with serving(options=ServerOptions(web=tmp_path)) as place:
            for seen, name in (("/", "index.html"), ("/app.js", "app.js"), ("/parts/seen.js", "parts/seen.js")):
                assert await get(place, seen) == (200, name)
            hidden = (
                "/.env",
                "/.git/config",
                "/.git/",
                "/.git",
                "/parts/.hidden.js",
                "/parts/../.env",
                "/package.json",
            )
            coded = ("/%2eenv", "/parts/%2e%2e/%2eenv", "/%2e%2e/outside.txt", "/..%2foutside.txt", "/%5c.env")
            for path in hidden + coded:
                status, body = await get(place, path)
                assert status == 404, path
                assert body not in (".env", ".git/config", "parts/.hidden.js", "package.json", "outside")

    asyncio.run(main())


# ---- how much a client may say -------------------------------------------------------------------------------------


def test_two_seconds_worth_may_come_at_once_and_then_as_much_as_was_agreed() -> None:
    allowance = Allowance(10.0, now_s=100.0)
    assert [allowance.wait_s(100.0) for _ in range(20)] == [0.0] * 20
    assert allowance.wait_s(100.0) == pytest.approx(0.1)
    assert allowance.wait_s(100.0) == pytest.approx(0.2)
    assert allowance.wait_s(100.2) == pytest.approx(0.1)  # who has waited owes no more than that
    assert allowance.wait_s(100.5) == 0.0


def test_what_was_not_said_is_not_saved_up() -> None:
    allowance = Allowance(10.0, now_s=0.0)
    waits = [allowance.wait_s(1e6) for _ in range(25)]
    assert waits[:20] == [0.0] * 20
    assert waits[20:] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_who_waits_as_told_says_just_what_was_agreed() -> None:
    allowance, now_s = Allowance(50.0, 0.0), 0.0
    for _ in range(1100):
        now_s += allowance.wait_s(now_s)
    assert now_s == pytest.approx((1100 - 100) / 50, rel=0.01)


# ---- who counts a row ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "end"),
        (ProtocolError("bad_message", "no"), "bad_message"),
        (UsageError("no"), "bad_message"),
        (TimeoutError(), "gone"),
        (WebSocketDisconnect(1006), "gone"),
        (asyncio.CancelledError(), "gone"),
        (EngineStopped("out of memory"), "internal"),
        (ZeroDivisionError(), "internal"),
    ],
)
def test_a_row_is_counted_while_it_is_taken_and_then_by_its_end(error: BaseException | None, reason: str) -> None:
    async def main() -> None:
        async with EngineLoop(EchoEngine(1)) as loop:
            metrics = Metrics(loop)

            def use() -> None:
                with counted_row(loop, metrics, "speech"):
                    assert 'sottovoce_sessions_open{mode="speech"} 1.0' in metrics.text().decode()
                    if error is not None:
                        raise error

            if error is None:
                use()
            else:
                with pytest.raises(type(error)):
                    use()
            text = metrics.text().decode()
            assert loop.rows_taken == 0
            assert 'sottovoce_sessions_open{mode="speech"} 0.0' in text
            ended = [line for line in text.splitlines() if line.startswith("sottovoce_sessions_total{")]
            assert ended == [f'sottovoce_sessions_total{{mode="speech",reason="{reason}"}} 1.0']

    asyncio.run(main())


def test_a_row_that_is_not_there_is_not_counted() -> None:
    async def main() -> None:
        async with EngineLoop(EchoEngine(1)) as loop:
            metrics = Metrics(loop)
            with loop.open(), pytest.raises(NoSlot), counted_row(loop, metrics, "speech"):
                pass
            assert "speech" not in metrics.text().decode()

    asyncio.run(main())


# ---- who is still there --------------------------------------------------------------------------------------------


def test_whose_answers_we_have_not_read_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says more than it may: the server reads no more for a while, so not its pongs either, and must not miss them."""
    config = functools.partial(uvicorn.Config, ws_ping_interval=0.1, ws_ping_timeout=0.1)
    monkeypatch.setattr(uvicorn, "Config", config)

    async def main() -> None:
        limits = Limits(sessions=0, messages_per_s=100.0)
        async with serving(options=ServerOptions(limits)) as place, await open_socket(place) as client:
            for t in range(300):
                await client.send(messages.encode(Ping(float(t))))
            heard = 0
            async for message in client:
                heard += isinstance(messages.from_server(str(message)), Pong)
                if heard == 300:
                    break
            assert json.loads(str(message))["t"] == 299

    asyncio.run(main())
