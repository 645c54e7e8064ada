"""Text that is written to hold up a server: others are served meanwhile, and who goes leaves nothing behind."""

import asyncio
import json
import time
from contextlib import suppress

import pytest
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from sottovoce.stream import messages
from sottovoce.stream.client_messages import Start
from support.held import held
from support.serving import health, until_free
from support.speaking import speaking

MOST_MS = 25.0
"""Of CPU time in one step."""
SPEAK = "/v1/text-to-speech/ann/stream-input?output_format=pcm_24000"
HOSTILE = ["." * 400 + " ", ".", "Mr. ", "!.", "A. ", "\n", "-", "\N{IDEOGRAPHIC FULL STOP}"]


def flood(place: str, path: str, begin: list[str], message: str, n_messages: int) -> None:
    """In one piece, as fast as the line takes it; then gone without a word."""
    with connect(f"ws://{place}{path}", compression=None, close_timeout=0.1) as client:
        for said in begin:
            client.send(said)
        frame = Frame(Opcode.TEXT, message.encode()).serialize(mask=True)
        client.socket.settimeout(5)
        with suppress(OSError):  # the server may have had enough of it
            client.socket.sendall(frame * n_messages)
        client.socket.close()


@pytest.mark.alone
@pytest.mark.parametrize("native", [False, True])
def test_no_text_holds_the_loop_and_who_goes_frees_the_row(native: bool) -> None:
    begin = [messages.encode(Start("speak"))] if native else []
    path = "/v1/stream" if native else SPEAK

    def said(text: str) -> str:
        return json.dumps({"type": "text", "text": text} if native else {"text": text})

    async def main() -> None:
        async with speaking(rows=2) as place:
            await health(place)
            for text in HOSTILE:
                with held() as seen:
                    gone = asyncio.to_thread(flood, place, path, begin, said(text), 4000)
                    await gone
                    began_s = time.monotonic()
                    await until_free(place)
                    left_s = time.monotonic() - began_s
                print(repr(text), f"{seen.worst_ms:.1f} ms, free after {left_s:.2f} s", seen.by[:150])
                assert seen.worst_ms < MOST_MS, (text, seen.by)
                assert left_s < 5, text

    asyncio.run(main())
