"""``sottovoce load --mode speak``: what it sees of a server that speaks, of one that cannot, and of one of its own."""

import asyncio
import functools
import json
import math

import pytest

from sottovoce.clients import load
from sottovoce.clients.cli import main
from sottovoce.clients.load import RESERVE_MS, as_json, check_all_served
from sottovoce.clients.load_speak import Listened, Percentiles, SpeakLoad, lines, measure
from sottovoce.clients.own_server import own_server
from sottovoce.clients.server_metrics import parse
from sottovoce.stream.errors import ConnectionFailed, ServeError
from sottovoce.stream.first_audio import PARTS
from support import program
from support.program import refused
from support.served import START, served
from support.serving import get, health, serving
from support.speaking import speaking

SENTENCES = ("It has left.", "Nobody saw it go.")


def test_every_listener_hears_its_sentence_and_the_wait_is_told_in_parts() -> None:
    async def main() -> None:
        async with speaking(rows=3) as place:
            options = SpeakLoad(f"ws://{place}", clients=3, seconds=1.5)
            result = await measure(options, sentences=SENTENCES)
            assert result.failed == {}
            assert result.sentences >= 3
            assert result.sound_s > 0.2 * result.sentences
            assert result.cold is None
            assert 0 < result.first_audio.p50_ms <= result.first_audio.p95_ms <= result.first_audio.p99_ms
            assert list(result.parts) == list(PARTS)
            assert all(part.p50_ms >= 0 for part in result.parts.values())
            # what happens at the server is within what the client waited for, but for the two clocks' grain
            assert sum(result.parts[name].p50_ms for name in ("talker", "decode")) <= result.first_audio.p99_ms + 1
            assert (
                result.parts["network"].p50_ms < RESERVE_MS
            )  # it waits neither for the player nor for the next credit
            assert result.leading_silence.p50_ms >= 0
            assert 0 <= result.c50 <= result.c100 <= 1
            assert result.real_time_factor is not None
            assert result.real_time_factor > 0
            assert result.server_mib is not None
            assert (await health(place))["rows_taken"] == 0
            assert 'sottovoce_sessions_open{mode="speak"} 0.0' in (await get(place, "/metrics"))[1]
            told = json.loads(as_json(result))
            assert told["first_audio"]["p50_ms"] == result.first_audio.p50_ms
            assert lines(result)[0].startswith("listeners         3 for 1.5 s, 0 failed; ")
            check_all_served(3, result.failed)

    asyncio.run(main())


def test_a_server_that_cannot_speak_or_has_no_room_is_told_by_reason() -> None:
    async def main() -> None:
        async with serving() as place:
            result = await measure(SpeakLoad(f"ws://{place}", clients=2, seconds=0.1))
            ((reason, n),) = result.failed.items()
            assert "cannot speak" in reason
            assert (n, result.sentences) == (2, 0)
            assert math.isnan(result.first_audio.p50_ms)
            assert json.loads(as_json(result))["first_audio"]["p50_ms"] is None
            with pytest.raises(
                ConnectionFailed, match=r"^2 of 2 clients failed: 2 x the server refuses: .*cannot speak"
            ):
                check_all_served(2, result.failed)
        async with speaking(rows=1) as place:
            options = SpeakLoad(f"ws://{place}", clients=2, seconds=0.1, voice="nobody")
            assert list((await measure(options)).failed) == ["the server refuses: start.voice must be one of ann, joe"]
        with pytest.raises(ConnectionFailed, match="is the server running"):
            await measure(SpeakLoad(f"ws://{place}", clients=1, seconds=0.1))

    asyncio.run(main())


def test_a_server_of_its_own_is_timed_from_its_start() -> None:
    async def main() -> None:
        command = program.script(START)
        async with own_server(("--preset", "echo", "--rows", "3"), command) as server:
            assert server.ready_s > server.began_s
            assert await health(server.url.removeprefix("ws://")) == {"status": "ok", "rows": 3, "rows_taken": 0}
        with pytest.raises(ServeError, match=r"^there is no preset 'nonsense'"):
            async with own_server(("--preset", "nonsense"), command):
                pass

    asyncio.run(main())


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_sessions_that_failed_are_an_exit_code_and_a_line_beside_what_was_seen(
    more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load, "measure", functools.partial(load.measure, patience_s=0.1))
    with served("--rows", "1") as (_, place):
        url = place.replace("http", "ws")
        assert main(["load", url, "--clients", "3", "--seconds", "1.5", *more]) == ConnectionFailed.exit_code
        told = capsys.readouterr()
        assert told.err == "sottovoce: 2 of 3 clients failed: 2 x the server refuses: all 1 rows are taken; try again\n"
        assert (json.loads(told.out)["failed"].popitem()[1] == 2) if more else (", 2 failed\n" in told.out)
        speak = ("--mode", "speak", "--clients", "2", "--seconds", "0.1")
        assert main(["load", url, *speak, *more]) == ConnectionFailed.exit_code
        told = capsys.readouterr()
        assert told.err.startswith("sottovoce: 2 of 2 clients failed: 2 x the server refuses: ")
        assert told.err.count("\n") == 1
        assert (json.loads(told.out)["first_audio"]["p50_ms"] is None) if more else (", 2 failed;" in told.out)


def test_options_that_do_not_go_together_are_one_line() -> None:
    refused(program.run("load"), 2, "--mode speak", "URL")
    refused(program.run("load", "ws://127.0.0.1:9", "--voice", "ann"), 2, "--voice")
    refused(program.run("load", "--mode", "speak", "--weights", "nowhere"), 10, "nowhere")


def test_percentiles_of_nothing_are_no_numbers() -> None:
    assert math.isnan(Percentiles.of([]).p99_ms)
    assert Percentiles.of([1.0, 2.0, 3.0]).p50_ms == 2.0
    assert Listened().wait_ms is None
    assert Listened(asked_s=1.0, first_audio_s=1.08).wait_ms == pytest.approx(80)


def test_metrics_are_read_as_prometheus_writes_them() -> None:
    text = """\
# HELP process_resident_memory_bytes Resident memory size in bytes.
process_resident_memory_bytes 1.048576e+06
process_cpu_seconds_total 2.5
sottovoce_step_seconds_count{kind="talk"} 10.0
sottovoce_step_seconds_sum{kind="talk"} 0.5
sottovoce_step_seconds_sum{kind="vocode"} 0.25
a line that is none
"""
    found = parse(text)
    assert (found.memory_mib, found.cpu_s, found.engine_s) == (1.0, 2.5, 0.75)
    assert parse("").memory_mib is None
