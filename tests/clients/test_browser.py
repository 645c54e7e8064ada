"""The page in a real browser: what is heard there is what the server sent, sample by sample; and it says what fails.

Chromium's microphone is a wav file and its loudspeaker a clock; what was heard is what the page saves.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from sottovoce.clients.engines import EngineOptions, make_engine
from sottovoce.clients.serve import WEB
from sottovoce.stream.engine import EchoEngine, Engine, Work
from sottovoce.stream.guard import Rules
from sottovoce.stream.server import ServerOptions
from sottovoce.stream.wire import Kind, unpack
from support.browser import CHROMIUM, Page, launched, opened
from support.heard import walk
from support.scripted import HELLO, RATE_HZ, Peer, scripted
from support.serving import serving
from support.speaking import speaking
from support.utterance import utterance

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PATIENCE_S = 60.0
READY = "document.body.dataset.state === 'off' && !document.querySelector('#key').disabled"
FADE_S = 0.005
LEAST_SKIP_MS = 2.5
"""Of what the page leaves out at once, to catch up."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("chromium")
    # a floor that is never silent: every place in the sound is like no other
    soundfile.write(folder / "voice.wav", utterance(4.0, 1, 48_000, floor=0.02), 48_000, "PCM_16")
    with launched(folder / "profile", folder / "voice.wav") as browser:
        yield browser


class Marked(EchoEngine):
    """Echo, with a little noise in it: what it makes is like itself nowhere."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self._random = np.random.default_rng(7)

    def step(self, work: Sequence[Work]) -> list[NDArray[Any]]:
        answers = super().step(work)
        for piece, answer in zip(work, answers, strict=True):
            if piece.kind == "vocode":
                answer += self._random.uniform(-0.01, 0.01, answer.shape).astype(np.float32)
        return answers


def sound_card(rate_hz: int) -> str:
    """A script: the sound card has this rate, so that nothing is resampled where it is the codec's."""
    return (
        "const Real = AudioContext;"
        f"window.AudioContext = class extends Real {{ constructor(o) {{ super({{ ...o, sampleRate: {rate_hz} }}) }} }};"
    )


@asynccontextmanager
async def visited(
    browser: str, options: ServerOptions, engine: Engine | None = None, **how: Any
) -> AsyncIterator[Page]:
    """The page of a server, ready; nothing may go wrong in it until it is left."""
    async with serving(2, options, engine) as place, opened(browser, f"http://{place}/", **how) as page:
        await page.until(READY)
        yield page
        assert page.faults == []


async def saved(page: Page, folder: Path) -> tuple[NDArray[np.int16], int]:
    """What was heard, as the page saves it; and its sample rate."""
    await page.click("#save")
    deadline = time.monotonic() + PATIENCE_S
    while not (files := await asyncio.to_thread(lambda: [*folder.glob("*.wav")])):
        assert time.monotonic() < deadline, "nothing was saved"
        await asyncio.sleep(0.02)
    return soundfile.read(files[0], dtype="int16")


def sent(page: Page) -> tuple[NDArray[np.int16], int]:
    """The sound that the browser got, and how many pieces of it were missing in between."""
    parts, missing, expected = [], 0, 0
    for message in page.heard:
        media = unpack(message) if isinstance(message, bytes) else None
        if media is not None and media.kind == Kind.PCM:
            missing += media.time != expected
            expected = media.time + media.count
            parts.append(np.frombuffer(media.payload, "<i2"))
    return np.concatenate(parts), missing


def heard_the_end(page: Page) -> bool:
    return any(isinstance(message, str) and json.loads(message)["type"] == "end" for message in page.heard)


def said(page: Page, type_: str) -> list[dict[str, Any]]:
    """Control messages that the page sent."""
    texts = (json.loads(message) for message in page.said if isinstance(message, str))
    return [each for each in texts if each["type"] == type_]


def bits_per_s(engine: Engine, books: int) -> float:
    codec = engine.descriptor
    return books * int(np.ceil(np.log2(codec.book_size))) * codec.rate_hz / codec.frame_samples


async def number(page: Page, name: str) -> float:
    """One of the readout's."""
    terms = "[...document.querySelectorAll('#numbers dt')]"
    text = await page.evaluate(f"{terms}.find(e => e.textContent === {name!r}).nextElementSibling.textContent")
    return float(str(text).split()[0].rstrip("×"))


def colours(canvas: str) -> str:
    """How many different ones are on a canvas."""
    return (
        f"(c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size)"
        f"(document.querySelector('{canvas}'))"
    )


@pytest.mark.parametrize("preset", ["echo", "base"])
def test_ones_own_voice_is_heard_as_the_server_sent_it(browser: str, tmp_path: Path, preset: str) -> None:
    async def main() -> None:
        engine = Marked(2) if preset == "echo" else make_engine(EngineOptions("base"), 2)
        card = sound_card(engine.descriptor.rate_hz)
        async with visited(browser, ServerOptions(web=WEB), engine, first=card, downloads=tmp_path) as page:
            await page.click("#headphones")
            await page.press("Escape")  # nothing to interrupt
            await page.evaluate("document.activeElement.blur()")
            await page.press(" ")
            await page.until("document.body.dataset.state === 'live'")
            await page.press("3")
            await page.turn("#loss", 20)
            await page.turn("#loss", 0)
            await page.until("parseFloat(document.querySelector('#numbers > :last-child dd').textContent) >= 2")
            for canvas in ("#mel-in", "#codes", "#mel-out"):
                await page.until(f"{colours(canvas)} > 4")
            assert await page.text("#books-value") == f"{bits_per_s(engine, 3):g} bit/s · 3 books"
            assert [each["books"] for each in said(page, "update") if "books" in each] == [3]
            assert [each["loss"] for each in said(page, "update") if "loss" in each] == [0.2, 0]
            await page.press(" ")
            await page.until("document.body.dataset.state === 'off'")
            heard, rate_hz = await saved(page, tmp_path)
            assert rate_hz == engine.descriptor.rate_hz
            came, missing = sent(page)
            underruns, skipped_ms = await number(page, "Ran dry"), await number(page, "Skipped")
            print(f"{len(came) / rate_hz:.2f} s, {missing} missing, {underruns} underruns, {skipped_ms} ms skipped")
            breaks = walk(heard, came)
            if not heard_the_end(page):  # the server was so slow that the page hung up: what was late is not heard
                breaks.pop()
            assert breaks[0].left_out == 0, "the first sample is heard"
            assert len(breaks) - 1 <= underruns + missing + skipped_ms / LEAST_SKIP_MS
            assert [each for each in breaks if each.left_out > 0.03 * rate_hz] == []
            assert np.abs(came).max() > 1000
            assert said(page, "end")
            captured = [unpack(each) for each in page.said if isinstance(each, bytes)]
            assert sum(each.count for each in captured if each) >= rate_hz

    asyncio.run(main())


def test_a_text_is_spoken_word_by_word_at_any_rate_of_the_sound_card(browser: str, tmp_path: Path) -> None:
    t = np.arange(int(1.5 * RATE_HZ)) / RATE_HZ
    tones = [0.2 * np.sin(2 * np.pi * hz * (t + 0.002 * np.sin(9 * t))) for hz in (180, 700, 2500)]
    pcm = np.rint(32767 * np.sum(tones, axis=0)).astype("<i2")
    times = [("One", 0, 400), ("two,", 400, 900), ("three.", 900, 1400)]
    peers = []

    async def speak(peer: Peer) -> None:
        peers.append(peer)
        await peer.until("text.end")
        await peer.say("segment.start", generation=0, segment=0, start_ms=0, text="One two, three.")
        words = [{"text": text, "start_ms": start, "end_ms": end} for text, start, end in times]
        await peer.say("words", generation=0, segment=0, words=words)
        await peer.sound(pcm, last=True)
        await peer.say("segment.end", generation=0, segment=0, end_ms=1500)

    async def main() -> None:
        options = ServerOptions(web=WEB, routes=(scripted(speak, modes=["loopback", "speak"], voices=["ada", "bert"]),))
        async with visited(browser, options, downloads=tmp_path, first=sound_card(44_100)) as page:
            await page.click("#modes label:nth-of-type(2)")
            await page.until("!document.querySelector('#speak').hidden && document.querySelector('#figure-in').hidden")
            await page.click("#key")
            assert await page.text("#status") == "Write something first."
            await page.evaluate("document.querySelector('#voice').value = 'bert'")
            await page.evaluate(
                "window.lit = []; new MutationObserver(() => {"
                "  const now = document.querySelector('#words .now')?.textContent;"
                "  if (now && lit.at(-1) !== now) lit.push(now);"
                "}).observe(document.querySelector('#words'), { subtree: true, attributes: true })"
            )
            await page.click("#while-typing")
            await page.click("#text")
            await page.write("One two")
            await page.until("document.body.dataset.state === 'live'")
            await page.write(", three.")
            assert not await page.evaluate("document.querySelector('#text').value.includes('\\n')")
            await page.press("Enter")
            await page.until("document.querySelectorAll('#words .spoken').length === 3")
            await page.until("document.body.dataset.state === 'off' && !document.body.hasAttribute('data-busy')")
            assert await page.evaluate("lit") == ["One", "two,", "three."]
            (peer,) = peers
            wishes = {"mode": "speak", "voice": "bert", "words": True, "live": False}
            assert wishes.items() <= peer.start.items()
            pieces = [each["text"] for each in peer.told if each["type"] == "text"]
            assert "".join(pieces) == "One two, three."
            assert pieces[-1] == "three."
            assert all(piece.endswith(" ") for piece in pieces[:-1])
            heard, rate_hz = await saved(page, tmp_path)
            assert rate_hz == 44_100
            assert await number(page, "Ran dry") == 0
            np.testing.assert_allclose(*same_times(heard / 32768, rate_hz, pcm / 32768), rtol=0, atol=1e-4)

    asyncio.run(main())


ROOM: int = HELLO["limits"]["text_chars"]


def test_a_long_text_comes_whole_as_there_is_room_for_it(browser: str) -> None:
    text = "".join(f"Sentence number {i} is said, \N{SLIGHTLY SMILING FACE} and then the next. " for i in range(560))
    assert len(text) > 25_000
    told: list[str] = []

    async def speak(peer: Peer) -> None:
        waiting, segment = "", 0
        while sum(map(len, told)) < len(text):
            told.append((await peer.until("text"))["text"])
            waiting += told[-1]
            assert len(waiting) <= ROOM
            if len(waiting) > ROOM // 4:
                await peer.say("segment.start", generation=0, segment=segment, start_ms=0, text=waiting.strip())
                waiting, segment = "", segment + 1
        await peer.until("text.end")
        await peer.until("end")

    async def main() -> None:
        options = ServerOptions(web=WEB, routes=(scripted(speak, modes=["speak"]),))
        async with visited(browser, options) as page:
            await page.click("#text")
            await page.ask("Input.insertText", text=text)  # as it is pasted
            await page.press("Enter")
            await page.until("document.body.dataset.state === 'live'")
            await page.until(READY)
        assert "".join(told) == text

    asyncio.run(main())


def test_a_text_is_interrupted_with_all_that_was_still_to_be_given(browser: str) -> None:
    told: list[dict[str, Any]] = []

    async def speak(peer: Peer) -> None:
        await peer.until("cancel")
        await peer.say("cancelled", generation=1, generated_ms=0, sent_ms=0, played_ms=0, heard="")
        await peer.until("end")
        told.extend(peer.told)

    async def main() -> None:
        options = ServerOptions(web=WEB, routes=(scripted(speak, modes=["speak"]),))
        async with visited(browser, options) as page:
            await page.evaluate(f"document.querySelector('#text').value = 'Word. '.repeat({ROOM})")
            await page.click("#key")
            await page.until("!document.querySelector('#cancel').disabled")
            await page.press("Escape")
            await page.until(READY)
        kinds = [each["type"] for each in told if each["type"] not in ("credit", "ping")]
        assert kinds == [*["text"] * 3, "cancel", "text.end", "end"]

    asyncio.run(main())


def test_a_text_that_is_too_long_is_told_and_not_cut(browser: str) -> None:
    status = "document.querySelector('#status').textContent"

    async def main() -> None:
        options = ServerOptions(web=WEB, routes=(scripted(lambda peer: peer.until("end"), modes=["speak"]),))
        async with visited(browser, options) as page:
            await page.click("#text")
            await page.ask("Input.insertText", text="Too long. " * 10_001)
            assert await page.evaluate("document.querySelector('#text').value.length") == 100_010
            await page.until(f"{status}.includes('100,010 characters') && {status}.includes('shorten it by 10.')")
            await page.press("Enter")
            await page.click("#key")
            assert await page.evaluate("document.body.dataset.state") == "refused"
            assert said(page, "text") == []
            await page.click("#text")
            await page.evaluate("document.querySelector('#text').setSelectionRange(0, 20)")
            await page.ask("Input.insertText", text="Shorter. ")
            await page.until(READY)
            await page.press("Enter")
            await page.until("document.body.dataset.state === 'live'")

    asyncio.run(main())


def test_that_the_first_sound_came_is_told_at_once(browser: str) -> None:
    told = []

    async def speak(peer: Peer) -> None:
        await peer.until("end")
        await peer.say("segment.start", generation=0, segment=0, start_ms=0, text="One.")
        await peer.sound(np.full(RATE_HZ // 2, 1000, "<i2"), last=True)
        while not (credit := await peer.until("credit"))["buffered_ms"]:
            pass
        told.append((credit["played_ms"], credit["buffered_ms"]))

    async def main() -> None:
        options = ServerOptions(web=WEB, routes=(scripted(speak, modes=["speak"]),))
        async with visited(browser, options) as page:
            await page.evaluate("document.querySelector('#text').value = 'One.'")
            await page.click("#key")
            await page.until("document.body.dataset.state === 'live'")
            await page.until(READY)
        assert told == [(0, 500)], "nothing of it was played yet"

    asyncio.run(main())


def test_in_each_mode_only_what_means_something_there_is_shown(browser: str) -> None:
    async def shown(page: Page) -> set[str]:
        return set(await page.evaluate("[...document.querySelectorAll('#numbers dt')].map((name) => name.textContent)"))

    async def main() -> None:
        async with speaking(options=ServerOptions(web=WEB)) as place, opened(browser, f"http://{place}/") as page:
            await page.until(READY)
            codec = json.loads(str(page.heard[0]))["codec"]
            assert await page.text("#most-books") == str(codec["books"])
            everywhere, wire = {"Buffer", "Reserve", "Ran dry", "Heard"}, {"Packets lost", "Dropped late", "Skipped"}
            assert await shown(page) > everywhere | wire
            assert not await page.evaluate("document.querySelector('#mute-hint').hidden")
            await page.click("#key")
            await page.until("document.querySelector('#wire').textContent.endsWith('bit/s with headers')")
            await page.click("#key")
            await page.until(READY)

            await page.click("#modes label:nth-of-type(2)")
            assert await shown(page) == everywhere
            assert await page.evaluate("document.querySelector('#mute-hint').hidden")
            await page.evaluate("document.querySelector('#text').value = 'and so on and on and on and on '.repeat(9)")
            await page.click("#key")
            await page.until("document.querySelector('#wire').textContent")
            bits = codec["books"] * int(np.log2(codec["book_size"]))
            assert await page.text("#wire") == f"{1000 * bits / codec['frame_ms']:g} bit/s"
            assert await shown(page) == everywhere
            await page.click("#key")
            await page.until(READY)
            assert page.faults == []

    asyncio.run(main())


def same_times(heard: NDArray[Any], rate_hz: int, pcm: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What was heard, and what was sent at the same times, which are found where the two differ least."""
    parts = 64
    fine = np.fft.irfft(np.fft.rfft(pcm), parts * len(pcm)) * parts  # band-limited: it can be read between its samples
    places = np.arange(len(fine))
    begin = int(np.argmax(np.abs(heard) > 0.01))
    middle = heard[begin + rate_hz // 4 : begin + rate_hz]
    steps = np.arange(len(middle)) * parts * RATE_HZ / rate_hz

    def sent_at(lag: float) -> NDArray[Any]:
        return np.interp(steps + lag, places, fine)

    near = parts * RATE_HZ // 4
    lags = range(near - 500 * parts, near + 500 * parts, parts // 4)
    lag = float(min(lags, key=lambda lag: np.abs(fine[np.rint(steps[::97] + lag).astype(int)] - middle[::97]).max()))
    for _ in range(5):  # Gauss-Newton: a grid of lags would be as coarse as what the tolerance must tell
        slope = sent_at(lag + 0.5) - sent_at(lag - 0.5)
        lag += slope @ (middle - sent_at(lag)) / (slope @ slope)
    return middle, sent_at(lag)


def test_after_a_cancel_nothing_of_the_old_is_heard_however_long_the_server_goes_on_with_it(
    browser: str, tmp_path: Path
) -> None:
    noise = np.random.default_rng(5).integers(-8000, 8000, 11 * RATE_HZ).astype("<i2")
    old, stale, new = noise[: 8 * RATE_HZ], noise[8 * RATE_HZ : 9 * RATE_HZ], noise[10 * RATE_HZ :]

    async def speak(peer: Peer) -> None:
        await peer.say("segment.start", generation=0, segment=0, start_ms=0, text="old")
        await peer.sound(old[: len(old) // 2])
        await peer.sound(old[len(old) // 2 :], time=len(old) // 2)
        told = await peer.until("cancel")
        assert told["generation"] == 0
        await peer.sound(stale, time=len(old))  # it was on its way
        heard = "what was heard"
        await peer.say(
            "cancelled", generation=1, generated_ms=2000, sent_ms=2000, played_ms=told["played_ms"], heard=heard
        )
        await peer.sound(stale, time=len(old) + len(stale))  # no server may do that
        await peer.sound(new, generation=1, last=True)

    async def main() -> None:
        options = ServerOptions(web=WEB, routes=(scripted(speak, modes=["speak"]),))
        async with visited(browser, options, downloads=tmp_path, first=sound_card(RATE_HZ)) as page:
            await page.evaluate("document.querySelector('#text').value = 'Say something long.'")
            await page.click("#key")
            await page.until("document.querySelector('#meter-out .meter-number').textContent.endsWith('dBFS')")
            await page.evaluate(
                "(window.shown = [], new MutationObserver(() => shown.push(document.querySelector('#status').textContent))"
                ".observe(document.querySelector('#status'), {childList: true, characterData: true, subtree: true}))"
            )
            await page.press("Escape")
            await page.until("shown.some((line) => line.includes('what was heard'))")  # until the new sound plays
            await page.until("document.body.dataset.state === 'off' && !document.body.hasAttribute('data-busy')")
            heard, _ = await saved(page, tmp_path)
            before = walk(heard, old)
            assert len(before) == 2, "it breaks off once"
            cut = len(heard) - before[-1].heard  # the first sample that is not the next of the old sound
            assert before[-1].left_out > 0
            silence = cut + int(FADE_S * RATE_HZ)
            start = silence + int(np.argmax(heard[silence:] != 0))
            np.testing.assert_array_equal(heard[silence:start], 0)
            np.testing.assert_array_equal(heard[start : start + len(new)], new)
            assert not heard[start + len(new) + int(FADE_S * RATE_HZ) :].any()
            assert np.abs(np.diff(heard[cut - 1 : silence].astype(int))).max() < 16_000

    asyncio.run(main())


def test_it_says_why_there_is_no_microphone(browser: str, tmp_path: Path) -> None:
    async def main() -> None:
        options = ServerOptions(web=WEB)
        async with visited(browser, options, microphone="denied") as page:
            await page.click("#key")
            await page.until("document.body.dataset.state === 'refused'")
            assert "Allow it for this page" in await page.text("#status")
            assert await page.text("#key-label") == "Talk"
        with launched(tmp_path / "deaf") as deaf:
            async with visited(deaf, options) as page:
                await page.click("#key")
                await page.until("document.body.dataset.state === 'refused'")
                assert "No microphone was found" in await page.text("#status")
                await page.click("input[name=source][value=file]")  # as it says
                await page.click("#key")
                assert await page.text("#status") == "Choose a sound file first."

    asyncio.run(main())


def test_over_plain_http_it_says_so_and_asks_for_the_servers_token(browser: str) -> None:
    async def main() -> None:
        options = ServerOptions(web=WEB, rules=Rules(token="s3cret-token"))
        async with serving(2, options) as place:
            port = place.rpartition(":")[2]
            async with opened(browser, f"http://insecure.test:{port}/") as page:
                await page.until("!document.querySelector('#gate').hidden")
                assert await page.evaluate("document.querySelector('#key').disabled")
                await page.write("wrong-token")
                await page.press("Enter")
                await page.until("document.querySelector('#gate-line').textContent.includes('not the server')")
                await page.write("s3cret-token")
                await page.press("Enter")
                await page.until("document.querySelector('#gate').hidden && !document.querySelector('#key').disabled")
                assert "plain http" in await page.text("#status")
                await page.click("#key")
                status = await page.text("#status")
                assert "plain http from insecure.test" in status
                assert "https" in status
                assert page.faults == []
                assert not any("token" in str(message) for message in page.said)

    asyncio.run(main())


def test_a_full_server_is_asked_again_until_there_is_room(browser: str) -> None:
    async def answer(peer: Peer) -> None:
        await peer.until("end")

    async def main() -> None:
        options = ServerOptions(web=WEB, routes=(scripted(answer, refusals=2),))
        async with visited(browser, options) as page:
            await page.evaluate(
                "window.lines = []; new MutationObserver(() => lines.push(document.querySelector('#status').textContent))"
                ".observe(document.querySelector('#status'), { childList: true })"
            )
            await page.click("#key")
            await page.until("document.body.dataset.state === 'live'")
            refused = [line for line in await page.evaluate("lines") if "all rows are taken" in line]
            assert len(refused) == 2
            assert all("Next attempt in" in line for line in refused)
            await page.click("#key")
            await page.until(READY)

    asyncio.run(main())
