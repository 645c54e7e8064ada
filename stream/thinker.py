"""Who writes the text that is spoken: an interface, and one that asks a language model.

`ChatThinker` speaks the protocol of OpenAI's chat completions, as most servers do (llama.cpp, Ollama, vLLM, LM Studio): one
POST, answered by server-sent events until ``[DONE]``.
https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2

from .errors import ThinkerError, UsageError

KEY = "SOTTOVOCE_CHAT_KEY"
"""The variable with the key of the server."""
OPENAI_KEY = "OPENAI_API_KEY"
"""The same for OpenAI's own; nobody else is given it."""
CONNECT_S = 10.0
SILENT_S = 60.0
"""How long it may say nothing, while it thinks too."""
_A_KEY = re.compile("[!-~]+")
_MOST_ERROR_BYTES = 1 << 16
_MOST_ERROR_CHARS = 300


class Thinker(Protocol):
    """A source of text."""

    def answer(self, question: str) -> AsyncIterator[str]:
        """Pieces of the answer while it is written, cut anywhere. Closing the iterator stops the writing.

        Raises ThinkerError: there is no answer, or no more of it.
        """
        ...


class ChatThinker:
    """A chat endpoint."""

    def __init__(
        self,
        url: str,
        model: str,
        system: str | None = None,
        *,
        environment: Mapping[str, str] = os.environ,
        connect_s: float = CONNECT_S,
        silent_s: float = SILENT_S,
    ) -> None:
        """
        Args:
            url: as http://localhost:11434/v1, with or without /chat/completions.
            model: its name there.
            system: what it shall be like.
            environment: where the key is, if there is one.
            connect_s, silent_s: how long to wait for it.

        Raises:
            UsageError: ``url`` is none, or has a password in it; the key is none, or would go over the network for all to read.
        """
        try:
            parts = urlsplit(url)
            host = httpx2.URL(url).host and parts.port != 0 and parts.hostname
        except (ValueError, httpx2.InvalidURL):
            parts, host = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError(f"--chat is like http://localhost:11434/v1, not {url!r}")
        if parts.username or parts.password:
            raise UsageError(f"a key does not belong into a URL; set {KEY}")
        path = parts.path.rstrip("/")
        if not path.endswith("/chat/completions"):
            path = (path or "/v1") + "/chat/completions"
        self._url = parts._replace(path=path, fragment="").geturl()
        self._place = parts.netloc
        self._model, self._system = _whole(model), system
        key = environment.get(KEY) or (environment.get(OPENAI_KEY) if host == "api.openai.com" else None)
        if key and not _A_KEY.fullmatch(key):
            raise UsageError(f"what {KEY} holds is no key: it has a space in it, or a letter that no key has")
        if key and parts.scheme != "https" and not _is_here(host):
            raise UsageError(f"a key goes over https only, or to this machine: --chat https://..., or unset {KEY}")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._may_use_proxy = not key or parts.scheme == "https"  # a proxy would read it
        self._timeout = httpx2.Timeout(silent_s, connect=connect_s)
        self._silent_s = silent_s

    async def answer(self, question: str) -> AsyncIterator[str]:
        """As `Thinker.answer`."""
        said = {"system": self._system, "user": question}
        body = {
            "model": self._model,
            "messages": [{"role": role, "content": _whole(text)} for role, text in said.items() if text],
            "stream": True,
        }
        try:
            client = httpx2.AsyncClient(timeout=self._timeout, headers=self._headers, trust_env=self._may_use_proxy)
        except (ValueError, ImportError) as error:
            raise UsageError(f"the proxy that the environment names cannot be used: {error}") from error
        try:
            async with (
                client,
                client.sse(self._url, method="POST", json=body) as source,
            ):
                if source.response.status_code != 200:
                    raise ThinkerError(await self._refusal(source.response))
                finished = False
                async with aclosing(source.__aiter__()) as events:  # type: ignore[type-var]  # it is a generator
                    async for event in events:
                        if event.data == "[DONE]":
                            return
                        text, ends = self._read(event.data)
                        finished = finished or ends
                        if text:
                            yield text
                if not finished:
                    raise ThinkerError(f"{self._place} broke off in the middle of its answer")
        except httpx2.HTTPError as error:
            raise ThinkerError(self._failure(error)) from error
        except httpx2.InvalidURL as error:
            raise UsageError(f"--chat {self._url}: {error}") from error

    def _read(self, data: str) -> tuple[str, bool]:
        """The text in an event, and whether the answer ends with it. Raises ThinkerError."""
        try:
            found: Any = json.loads(data)
            if isinstance(found, dict) and found.get("error"):
                raise ThinkerError(f"{self._place} failed: {_said(found)}")
            choice: Any = next((one for one in found["choices"] if one.get("index", 0) == 0), {})  # none: usage
            text = (choice.get("delta") or {}).get("content") or ""  # role, tools and thoughts are not spoken
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ThinkerError(f"{self._place} does not speak the protocol of chat completions") from error
        return text, bool(choice.get("finish_reason"))

    async def _refusal(self, response: httpx2.Response) -> str:
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _MOST_ERROR_BYTES:
                break
        try:
            said = _said(json.loads(body))
        except (ValueError, RecursionError):
            said = ""
        status, place = response.status_code, self._place
        if status in (401, 403):
            what = f"{place} refuses the key; set {KEY}" if self._headers else f"{place} wants a key; set {KEY}"
        elif status == 404:
            what = f"{place} knows no such address or model; check --chat and --model"
        elif status == 429:
            after = response.headers.get("retry-after", "")
            what = f"{place} has too much to do, or no credit is left; try again" + (
                f" in {after} s" if after.isdecimal() else " later"
            )
        elif status >= 500:
            what = f"{place} failed with status {status}; try again later"
        else:
            what = f"{place} answers with status {status}"
        return f"{what} ({said})" if said else what

    def _failure(self, error: httpx2.HTTPError) -> str:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return f"the certificate of {self._place} cannot be trusted ({error})"
        if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
            return f"{self._place} cannot be reached; is it running?"
        if isinstance(error, httpx2.TimeoutException):
            return f"{self._place} has said nothing for {self._silent_s:g} s"
        if isinstance(error, httpx2.SSEError):
            return f"{self._place} does not stream; is --chat the address of a chat endpoint?"
        return f"the line to {self._place} broke: {error or type(error).__name__}"


def _is_here(host: str) -> bool:
    """Whether ``host`` is this machine, whatever a name server says."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _whole(text: str) -> str:
    """Without what is no character: bytes of a command line that are not UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _said(found: Any) -> str:
    """What a server says of its failure, in one line."""
    error = found.get("error", found) if isinstance(found, dict) else found
    message = (error.get("message") or error.get("detail")) if isinstance(error, dict) else error
    return " ".join(str(message or "").split())[:_MOST_ERROR_CHARS]
