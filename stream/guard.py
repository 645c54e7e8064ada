"""Who may come in: tokens, origins, and how much one address may ask for. ASGI middleware around the whole server.

- A token, where there is one, comes in ``Authorization: Bearer`` or, from ElevenLabs' clients, in ``xi-api-key``; as browsers
  cannot set those for a WebSocket, it may be the sub-protocol ``bearer.TOKEN``. It is compared in constant time. It is never
  looked for in a URL, which ends up in logs.
- A browser says from which page a request comes (``Origin``). Pages that we did not serve are refused, so that a page on the
  web cannot use a server on its reader's machine; nor can it under a name that leads here (DNS rebinding): without a token, our
  own page is only recognised by an address, ``localhost``, or a name on the list.
- An address has so many WebSockets at once, and so many requests a second.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from . import messages
from .clock import Clock, monotonic
from .messages import CLOSE_CODES
from .server_messages import PROTOCOL, Error

TOKEN = re.compile(r"[A-Za-z0-9._~+-]{8,200}")
"""What a token may look like: what fits into a header, and into the name of a sub-protocol."""
_BEARER = "bearer."
_GUARDED = ("/v1/", "/metrics")
_MOST_ADDRESSES = 4096
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "microphone=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What `Guard` enforces."""

    token: str | None = None
    "Whoever does not have it stays outside; None: there is none. Of the form `TOKEN`."
    origins: frozenset[str] = frozenset()
    "Pages that may use us besides our own, such as ``https://example.org``."
    sessions_per_address: int = 64
    "WebSockets that are open at once."
    requests_per_s: float = 16.0
    "In the long run, of one address; at most `burst` at once."
    burst: int = 128


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    code: str
    message: str
    retry_ms: float | None = None


class Guard:
    """Lets in what the rules allow; tells the others why not."""

    def __init__(self, app: ASGIApp, rules: Rules, clock: Clock = monotonic) -> None:
        self._app = app
        self._rules = rules
        self._clock = clock
        self._open: Counter[str] = Counter()  # WebSockets, by address
        self._asked: dict[str, tuple[float, float]] = {}  # by address: requests that it has left, and since when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            app = self._app if refusal is None else _refused(refusal)
            await app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is not None:
            await _turn_away(WebSocket(scope, receive, send), refusal)
            return
        address = _address(scope)
        self._open[address] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def _refusal(self, scope: Scope) -> _Refusal | None:
        """Why a request stays outside; None: it does not."""
        if not scope["path"].startswith(_GUARDED):
            return None
        headers, address = Headers(scope=scope), _address(scope)
        if not self._origin_is_ours(headers):
            return _Refusal(403, "unauthorized", "a page of another site may not use this server")
        if not self._may_ask(address):
            return _Refusal(429, "rate_limited", "too many requests from your address", 1000.0)
        if self._rules.token is not None:
            shown = _shown(scope, headers)
            if not shown:
                return _Refusal(401, "unauthorized", "this server needs its token: Authorization: Bearer TOKEN")
            if not any([hmac.compare_digest(one.encode(), self._rules.token.encode()) for one in shown]):
                return _Refusal(401, "unauthorized", "this is not the token of this server")
        if scope["type"] == "websocket" and self._open[address] >= self._rules.sessions_per_address:
            return _Refusal(429, "rate_limited", "your address has as many sessions open as it may", 5000.0)
        return None

    def _origin_is_ours(self, headers: Headers) -> bool:
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is None or origin in self._rules.origins:
            return True  # without one it is no browser
        try:
            ours = urlsplit(origin).netloc.lower() == host.lower() and host != ""
            return ours and (self._rules.token is not None or _is_plain(urlsplit(origin).hostname or ""))
        except ValueError:
            return False

    def _may_ask(self, address: str) -> bool:
        """Whether one more request fits into what the address has left."""
        rules, now_s = self._rules, self._clock()
        left, since_s = self._asked.pop(address, (float(rules.burst), now_s))
        left = min(left + (now_s - since_s) * rules.requests_per_s, rules.burst)
        self._asked[address] = (left - 1 if left >= 1 else left), now_s  # the newest stands last
        while len(self._asked) > _MOST_ADDRESSES:
            del self._asked[next(iter(self._asked))]
        return left >= 1


def _address(scope: Scope) -> str:
    """Who asks; for IPv6 the network of 64 bits, which is what one subscriber has."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback:
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


def _is_plain(host: str) -> bool:
    """Whether nobody's name server decides where ``host`` leads."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shown(scope: Scope, headers: Headers) -> list[str]:
    """The tokens that a request has, wherever clients put theirs."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    shown = [value.strip()] if scheme.lower() == "bearer" else []
    shown += headers.getlist("xi-api-key")
    shown += [name[len(_BEARER) :] for name in scope.get("subprotocols", ()) if name.startswith(_BEARER)]
    return shown


def _refused(refusal: _Refusal) -> ASGIApp:
    """An answer in the form that OpenAI's clients read."""
    headers = {"www-authenticate": "Bearer"} if refusal.status == 401 else {}
    if refusal.retry_ms is not None:
        headers["retry-after"] = str(-int(-refusal.retry_ms // 1000))
    error = {"message": refusal.message, "type": "invalid_request_error", "param": None, "code": refusal.code}
    return JSONResponse({"error": error}, refusal.status, headers)


async def _turn_away(websocket: WebSocket, refusal: _Refusal) -> None:
    """A browser sees nothing of a handshake that fails, so it is told afterwards; but not a page of somebody else."""
    if refusal.status == 403:
        await websocket.close()
        return
    try:
        await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
        await websocket.send_text(messages.encode(Error(refusal.code, refusal.message, retry_ms=refusal.retry_ms)))
        await websocket.close(CLOSE_CODES[refusal.code])
    # Before the handshake is through Starlette does not turn the one into the other.
    except (OSError, WebSocketDisconnect):
        pass


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sending
