"""Headless Chromium over the DevTools protocol: pages to press keys on, and what passes through their sockets.

Debian's ``chromium`` is enough; its microphone is a wav file, its loudspeaker a clock.
"""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-sync",
    "--disable-dev-shm-usage", "--log-level=3",
    "--host-resolver-rules=MAP insecure.test 127.0.0.1",
)  # fmt: skip
_KEYS = {"Escape": 27, "Enter": 13, " ": 32}
PATIENCE_S = 60.0


@contextmanager
def launched(folder: Path, microphone: Path | None = None, *more_flags: str) -> Iterator[str]:
    """A browser with a profile in ``folder`` and the wav file ``microphone``, again and again; None: it has none.

    Yields where to talk to it.
    """
    assert CHROMIUM is not None
    flags = [*_FLAGS, *more_flags, f"--user-data-dir={folder}"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    if microphone is not None:
        flags += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}"]
    process = subprocess.Popen([CHROMIUM, *flags, "about:blank"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    draining = threading.Thread(target=process.stderr.read, daemon=True)
    try:
        told = []
        for line in process.stderr:
            told.append(line)
            if line.startswith("DevTools listening on "):
                break
        else:
            draining.start()
            raise AssertionError("chromium did not start:\n" + "".join(told))
        draining.start()  # nothing may wait for its complaints
        yield line.split()[-1]
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        draining.join(10)
        process.stderr.close()


class Page:
    """One tab.

    Attributes:
        said: what its WebSockets sent to the server, in order; str or bytes.
        heard: what they received.
        faults: uncaught errors of its scripts, and what the console calls an error.
        session: of the protocol; empty: the browser itself is spoken to.
        loaded: set once the page is there.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.said: list[str | bytes] = []
        self.heard: list[str | bytes] = []
        self.faults: list[str] = []
        self.session = ""
        self.loaded = asyncio.Event()
        self._socket = socket
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked = 0

    async def read(self) -> None:
        """Take what the browser says, until it is gone."""
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                answer = self._answers.pop(message["id"])
                if not answer.done():
                    answer.set_result(message)
            else:
                self._happened(message["method"], message["params"])

    def _happened(self, method: str, told: dict[str, Any]) -> None:
        match method:
            case "Page.loadEventFired":
                self.loaded.set()
            case "Network.webSocketFrameSent" | "Network.webSocketFrameReceived":
                frame = told["response"]
                data = base64.b64decode(frame["payloadData"]) if frame["opcode"] == 2 else frame["payloadData"]
                (self.said if method.endswith("Sent") else self.heard).append(data)
            case "Runtime.exceptionThrown":
                details = told["exceptionDetails"]
                self.faults.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert", "warning"):
                self.faults.append(" ".join(str(each.get("value", each.get("description"))) for each in told["args"]))
            case "Log.entryAdded" if (
                told["entry"]["level"] == "error"
            ):  # what breaks the security policy is among these
                self.faults.append(told["entry"]["text"])

    async def ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        """A command of the protocol, and its result."""
        self._asked += 1
        answer = self._answers[self._asked] = asyncio.get_running_loop().create_future()
        message = {"id": self._asked, "method": method, "params": arguments}
        if self.session:
            message["sessionId"] = self.session
        await self._socket.send(json.dumps(message))
        told = await asyncio.wait_for(answer, PATIENCE_S)
        assert "error" not in told, f"{method}: {told['error']}"
        result: dict[str, Any] = told["result"]
        return result

    async def evaluate(self, expression: str) -> Any:
        """What an expression of JavaScript is, or becomes."""
        told = await self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, condition: str) -> Any:
        """Wait until an expression is true; it is tried again with every picture."""
        look = f"new Promise(r => {{ const f = () => {{ const v = {condition}; v ? r(v) : setTimeout(f, 20) }}; f() }})"
        try:
            return await self.evaluate(look)
        except TimeoutError:
            status = await self.evaluate("document.querySelector('#status')?.textContent")
            raise AssertionError(f"in vain: {condition}; the page says {status!r}; faults {self.faults}") from None

    async def text(self, selector: str) -> str:
        """What an element says."""
        return str(await self.evaluate(f"document.querySelector({selector!r}).textContent.trim()"))

    async def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element, as a person does."""
        place = f"document.querySelector({selector!r})"
        await self.evaluate(f"{place}.scrollIntoView({{block: 'center'}})")
        box = await self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({place}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def press(self, key: str) -> None:
        """Press a key."""
        code = _KEYS.get(key, ord(key.upper()) if key.isalnum() and len(key) == 1 else 0)
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        await self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, text=text)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def write(self, text: str) -> None:
        """Type a text, key by key."""
        for key in text:
            await self.press(key)

    async def turn(self, selector: str, value: object) -> None:
        """Drag a dial to a value."""
        dial = f"document.querySelector({selector!r})"
        await self.evaluate(
            f"({dial}.value = {json.dumps(str(value))}, {dial}.dispatchEvent(new Event('input', {{bubbles: true}})))"
        )

    async def screenshot(self, path: Path, full: bool = True) -> None:
        """A picture of it."""
        told = await self.ask("Page.captureScreenshot", captureBeyondViewport=full)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(told["data"]))


@asynccontextmanager
async def opened(
    browser: str, url: str, *, microphone: str = "granted", downloads: Path | None = None, first: str = ""
) -> AsyncIterator[Page]:
    """``url`` in a tab that shares nothing with others.

    Args:
        browser: where to talk to it.
        url: of the page.
        microphone: granted, denied, or ``prompt``: nobody answers.
        downloads: where it puts what it saves.
        first: a script that runs before the page's own.
    """
    async with connect(browser, max_size=None, compression=None) as socket:
        page = Page(socket)
        reading = asyncio.create_task(page.read())
        context = (await page.ask("Target.createBrowserContext"))["browserContextId"]
        try:
            setting = {"permission": {"name": "microphone"}, "setting": microphone, "browserContextId": context}
            await page.ask("Browser.setPermission", **setting)
            if downloads is not None:
                where = {"behavior": "allow", "downloadPath": str(downloads), "browserContextId": context}
                await page.ask("Browser.setDownloadBehavior", **where)
            target = (await page.ask("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
            page.session = (await page.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                await page.ask(f"{domain}.enable")
            await page.ask("Page.addScriptToEvaluateOnNewDocument", source=first)
            page.loaded.clear()
            await page.ask("Page.navigate", url=url)
            await asyncio.wait_for(page.loaded.wait(), PATIENCE_S)
            yield page
        finally:
            page.session = ""
            with suppress(Exception):
                await page.ask("Target.disposeBrowserContext", browserContextId=context)
            reading.cancel()
            with suppress(asyncio.CancelledError, ConnectionClosed):
                await reading
