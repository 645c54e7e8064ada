"""``sottovoce serve --cert --key``: the Python client over ``wss://``, and a page over ``https://`` with its microphone.

The certificate is made here, by an authority that nobody knows but who is told of it.
"""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sottovoce.stream import messages, wire
from sottovoce.stream.server_messages import Hello
from sottovoce.stream.wire import Kind
from support import program
from support.browser import CHROMIUM, launched, opened
from support.program import refused
from support.served import NO_TOKEN, served
from support.utterance import utterance

TOKEN = "s3cret-token"
NAME = "voice.test"
"""Of the server, as the page knows it: no name of this machine, so that only https makes the page a secure one."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ca.pem``, ``cert.pem`` and ``key.pem``."""
    folder = tmp_path_factory.mktemp("authority")
    ca = trustme.CA()
    certificate = ca.issue_cert(NAME, "127.0.0.1")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    return folder


@pytest.fixture(scope="module")
def place(authority: Path) -> Iterator[str]:
    """A server's, as ``https://127.0.0.1:12345``."""
    files = ("--cert", str(authority / "cert.pem"), "--key", str(authority / "key.pem"))
    with served(*files, SOTTOVOCE_TOKEN=TOKEN) as (_, url):
        assert url.startswith("https://")
        yield url


def test_a_file_goes_over_wss_with_a_certificate_that_is_trusted_and_with_no_other(
    place: str, authority: Path, tmp_path: Path
) -> None:
    pcm = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", pcm, 16_000)
    files = ("--input", tmp_path / "in.wav", "--output", tmp_path / "far.wav")
    url = place.replace("https", "wss")
    knows = NO_TOKEN | {"SOTTOVOCE_TOKEN": TOKEN, "SSL_CERT_FILE": str(authority / "ca.pem")}
    stranger = {name: value for name, value in knows.items() if name != "SSL_CERT_FILE"}
    refused(program.run("loopback", "--server", url, *files, env=stranger), 11, "certificate cannot be trusted")
    other_name = url.replace("127.0.0.1", "localhost")
    refused(program.run("loopback", "--server", other_name, *files, env=knows), 11, "certificate cannot be trusted")
    assert not (tmp_path / "far.wav").exists()
    result = program.run("loopback", "--server", url, *files, env=knows)
    assert result.returncode == 0, result.stderr
    program.run("loopback", "--backend", "echo", "--input", tmp_path / "in.wav", "--output", tmp_path / "near.wav")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "far.wav")[0], soundfile.read(tmp_path / "near.wav")[0])


def test_the_sub_protocol_carries_the_token_and_is_not_the_one_that_is_chosen(place: str, authority: Path) -> None:
    from websockets.asyncio.client import connect
    from websockets.typing import Subprotocol

    async def main() -> None:
        trust = ssl.create_default_context(cafile=authority / "ca.pem")
        offered = [Subprotocol("sottovoce.v1"), Subprotocol(f"bearer.{TOKEN}")]
        url = place.replace("https", "wss") + "/v1/stream"
        async with connect(url, subprotocols=offered, ssl=trust) as client:
            assert isinstance(messages.from_server(str(await client.recv())), Hello)
            assert client.subprotocol == "sottovoce.v1"

    asyncio.run(main())


def test_plain_http_is_not_answered_where_https_is_spoken(place: str) -> None:
    url = place.replace("https", "ws")
    result = program.run("load", url, "--clients", "1", "--seconds", "1", env=NO_TOKEN)
    refused(result, 11, "is it ws or wss?")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_over_https_from_elsewhere_the_page_hears_a_microphone_and_its_token_is_in_the_handshake(
    place: str, authority: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "voice.wav", utterance(2.0, 1, 48_000, floor=0.02), 48_000, "PCM_16")
    certificate = x509.load_pem_x509_certificate((authority / "cert.pem").read_bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    flags = (
        f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(key).digest()).decode()}",
        f"--host-resolver-rules=MAP {NAME} 127.0.0.1",
    )
    watch = (
        "window.handshakes = []; const Real = WebSocket;"
        "window.WebSocket = class extends Real { constructor(url, names) { super(url, names);"
        " handshakes.push([String(url), names]) } };"
    )
    url = f"https://{NAME}:{place.rpartition(':')[2]}/"

    async def main(browser: str) -> None:
        async with opened(browser, url, first=watch) as page:
            await page.until("!document.querySelector('#gate').hidden")
            assert await page.evaluate("isSecureContext && location.protocol") == "https:"
            await page.write(TOKEN)
            await page.press("Enter")
            await page.until("document.querySelector('#gate').hidden && !document.querySelector('#key').disabled")
            await page.click("#key")
            await page.until("document.body.dataset.state === 'live'")
            await page.until("document.querySelectorAll('#numbers dd').length > 0")
            while not any(media.payload.strip(b"\0") for media in sound(page.heard)):
                await page.evaluate("new Promise(requestAnimationFrame)")
            assert any(media.payload.strip(b"\0") for media in sound(page.said))
            address, names = (await page.evaluate("handshakes"))[-1]
            assert address == url.replace("https", "wss") + "v1/stream"
            assert names == ["sottovoce.v1", f"bearer.{TOKEN}"]
            assert not any(TOKEN in str(message) for message in page.said + page.heard)
            assert TOKEN not in await page.evaluate(
                "JSON.stringify([location.href, document.cookie, {...localStorage}])"
            )
            assert page.faults == []

    with launched(tmp_path / "profile", tmp_path / "voice.wav", *flags) as browser:
        asyncio.run(main(browser))


def sound(messages_: list[str | bytes]) -> list[wire.Media]:
    media = [wire.unpack(message) for message in messages_ if isinstance(message, bytes)]
    return [each for each in media if each is not None and each.kind == Kind.PCM]
