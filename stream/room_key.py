"""The key of a room: seals every payload and hides every name, so that a broker learns neither sound nor who speaks.

AES-CCM with a tag of eight bytes (RFC 3610; the choice and the shape of RFC 8613, OSCORE, for links like ours). Each
session of a sender has a salt of its own, and from room key and salt a key of its own, so that its count alone makes every
nonce new. A short seal carries the low 20 bits of the count, as SRTP carries 16 (RFC 3711, 3.3.1): eleven bytes a packet.

What it does not do: it hides neither when somebody speaks nor how much; who has the key can speak in another's name; a
broker can withhold payloads, and can play a whole session that it recorded to somebody who never heard it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections import Counter, deque
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import RoomKeyError
from .replay import ReplayWindow
from .room_transport import RETAINED, Slot

SHORT, LONG = 1, 3
"""Version nibbles: of slots a and c, of the retained slots d and s."""
TAG_BYTES = 8
SHORT_HEAD_BYTES = 3
SALT_BYTES = 16
COUNT_BYTES = 6
LONG_HEAD_BYTES = 1 + SALT_BYTES + COUNT_BYTES
SEAL_BYTES = SHORT_HEAD_BYTES + TAG_BYTES
"""What sealing adds to a payload of slots a and c."""
LONG_SEAL_BYTES = LONG_HEAD_BYTES + TAG_BYTES

_KEY_BYTES = 32
_CHECK_BYTES = 4
_PREFIX = "sottovoce-room-"
_NONCE_BYTES = 13
_SHORT_BITS = 20
_MOST_COUNT = (1 << 8 * COUNT_BYTES) - 1
_LATE_TRIES = 4
"""Guesses at the count of a sender who had talked for long before we came: 93 hours of 80 ms packets."""
_MOST_LEFT = 1024


class RoomKey:
    """256 random bits that everybody in a room has."""

    def __init__(self, key: bytes) -> None:
        """Raises ValueError: not 32 bytes."""
        if len(key) != _KEY_BYTES:
            raise ValueError(f"a room key has {_KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._names = _derive(key, b"", b"names", 32)

    @classmethod
    def generate(cls) -> RoomKey:
        """A new one, from the system's random numbers."""
        return cls(os.urandom(_KEY_BYTES))

    @classmethod
    def from_text(cls, text: str) -> RoomKey:
        """Of what `to_text` wrote; white space around it does not matter.

        Raises:
            RoomKeyError: it is no key, or was mistyped. The message does not repeat it.
        """
        text = text.strip()
        try:
            raw = base64.b64decode(text.removeprefix(_PREFIX).encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        key, check = raw[:_KEY_BYTES], raw[_KEY_BYTES:]
        if not text.startswith(_PREFIX) or len(raw) != _KEY_BYTES + _CHECK_BYTES or check != _check(key):
            raise RoomKeyError("that is no room key, or a character of it is wrong; 'sottovoce keygen' makes one")
        return cls(key)

    def to_text(self) -> str:
        """One line of ASCII, with a check against typing errors."""
        return _PREFIX + base64.urlsafe_b64encode(self._key + _check(self._key)).decode("ascii")

    def room_level(self, room: str) -> str:
        """What stands in topics in place of the room's name: 8 characters, 48 bits."""
        return self._hidden(b"room", room, 6)

    def peer_level(self, room: str, peer: str) -> str:
        """What stands in topics in place of a peer's name: 4 characters, as they are sent with every packet."""
        return self._hidden(b"peer", f"{room}/{peer}", 3)

    def sealer(self, room_level: str, peer_level: str, salt: Callable[[int], bytes] = os.urandom) -> Sealer:
        """For what this peer says in one session, however often its line is mended: the salt is new with every sealer.

        Args:
            room_level, peer_level: as in the topics; a seal holds in no other.
            salt: random bytes, so many as asked for.
        """
        own = salt(SALT_BYTES)
        return Sealer(_Box(self._key, own, room_level, peer_level), own)

    def opener(self, room_level: str, peer_level: str, left: deque[bytes] | None = None) -> Opener:
        """For what comes on another peer's topics; ``left``: salts of sessions that are over, which openers may share."""
        return Opener(lambda salt: _Box(self._key, salt, room_level, peer_level), left)

    def _hidden(self, what: bytes, name: str, n_bytes: int) -> str:
        digest = hmac.digest(self._names, what + b"\0" + name.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:n_bytes]).decode("ascii")


class Sealer:
    """Seals one session's payloads. Its count may not begin again, so a sealer is never copied or stored."""

    def __init__(self, box: _Box, salt: bytes) -> None:
        self._box = box
        self._salt = salt
        self._count = 0

    def seal(self, slot: Slot, payload: bytes) -> bytes:
        """``payload`` for that slot: `SEAL_BYTES` longer in a and c, `LONG_SEAL_BYTES` in d and s. Never seal an empty one."""
        if self._count == _MOST_COUNT:
            raise RoomKeyError("a session has sealed all that it may; connect again")
        count, self._count = self._count, self._count + 1
        return self._sealed(slot, count, payload)

    def _sealed(self, slot: Slot, count: int, payload: bytes) -> bytes:
        if slot in RETAINED:
            head = bytes([LONG << 4]) + self._salt + count.to_bytes(COUNT_BYTES, "little")
        else:
            head = bytes([SHORT << 4 | count >> 16 & 15]) + (count & 0xFFFF).to_bytes(2, "little")
        return head + self._box.seal(slot, count, payload)


class Opener:
    """Opens what one other peer sealed, each payload once.

    A session is learnt from a retained payload, as only those carry the salt. A newer one that is authentic replaces it;
    one that was replaced never comes back.

    Attributes:
        refused: how many payloads were not opened, by reason: ``unsealed`` (no seal of ours), ``malformed``, ``no_session``
            (nothing retained has come yet), ``not_authentic`` (wrong key, wrong slot or altered), ``replayed``.
    """

    def __init__(self, box: Callable[[bytes], _Box], left: deque[bytes] | None = None) -> None:
        self._new_box = box
        self._session: _Session | None = None
        self._left: deque[bytes] = deque(maxlen=_MOST_LEFT) if left is None else left
        self.refused: Counter[str] = Counter()

    @property
    def knows_session(self) -> bool:
        """Whether anything was authentic."""
        return self._session is not None

    def end(self) -> None:
        """The peer is forgotten: what it sealed in this session is never opened again."""
        if self._session is not None:
            self._left.append(self._session.salt)
            self._session = None

    def open(self, slot: Slot, sealed: bytes) -> bytes | None:
        """The payload; None if it is refused, and then nothing of it was looked at."""
        opened = self._long(slot, sealed) if slot in RETAINED else self._short(slot, sealed)
        if isinstance(opened, bytes):
            return opened
        self.refused[opened] += 1
        return None

    def _long(self, slot: Slot, sealed: bytes) -> bytes | str:
        if wrong := _wrong(sealed, LONG, LONG_HEAD_BYTES):
            return wrong
        if sealed[0] & 15:
            return "malformed"
        salt = sealed[1 : 1 + SALT_BYTES]
        count = int.from_bytes(sealed[1 + SALT_BYTES : LONG_HEAD_BYTES], "little")
        if salt in self._left:
            return "replayed"
        session = self._session
        if session is None or session.salt != salt:
            session = _Session(salt, self._new_box(salt))
        payload = session.box.open(slot, count, sealed[LONG_HEAD_BYTES:])
        if payload is None:
            return "not_authentic"
        if count < session.retained.get(slot, 0):  # the same again is what a broker does for every subscription
            return "replayed"
        session.retained[slot] = count
        if session is not self._session:
            if self._session:
                self._left.append(self._session.salt)
            self._session = session
        session.heard(count)
        return payload

    def _short(self, slot: Slot, sealed: bytes) -> bytes | str:
        if wrong := _wrong(sealed, SHORT, SHORT_HEAD_BYTES):
            return wrong
        session = self._session
        if session is None:
            return "no_session"
        low = (sealed[0] & 15) << 16 | int.from_bytes(sealed[1:3], "little")
        for count in session.guesses(low):
            payload = session.box.open(slot, count, sealed[SHORT_HEAD_BYTES:])
            if payload is not None:
                if not session.window.take(count):
                    return "replayed"
                session.heard(count)
                session.late = False
                return payload
        return "not_authentic"


class _Session:
    """What an opener knows of one session of its peer."""

    def __init__(self, salt: bytes, box: _Box) -> None:
        self.salt, self.box = salt, box
        self.retained: dict[Slot, int] = {}
        self.window = ReplayWindow()
        self.late = True
        "Nothing short was opened yet: the sender may be far beyond what its retained payloads say."
        self._highest = 0

    def heard(self, count: int) -> None:
        self._highest = max(self._highest, count)

    def guesses(self, low: int) -> list[int]:
        """Counts whose low bits are ``low``: the nearest to the highest known; of a late joiner others above it, too."""
        circle = 1 << _SHORT_BITS
        ahead = (low - self._highest) % circle
        nearest = self._highest + (ahead if ahead < circle // 2 else ahead - circle)
        return [
            count
            for count in range(nearest, nearest + (_LATE_TRIES if self.late else 1) * circle, circle)
            if count >= 0
        ]


class _Box:
    """The AEAD of one sender's session."""

    def __init__(self, key: bytes, salt: bytes, room_level: str, peer_level: str) -> None:
        derived = _derive(key, salt, b"seal\0" + f"{room_level}/{peer_level}".encode(), _KEY_BYTES + _NONCE_BYTES)
        self._aead = AESCCM(derived[:_KEY_BYTES], TAG_BYTES)
        self._nonce = int.from_bytes(derived[_KEY_BYTES:], "big")

    def seal(self, slot: Slot, count: int, payload: bytes) -> bytes:
        return self._aead.encrypt(self._nonce_of(count), payload, slot.encode())

    def open(self, slot: Slot, count: int, sealed: bytes) -> bytes | None:
        try:
            return self._aead.decrypt(self._nonce_of(count), sealed, slot.encode())
        except InvalidTag:
            return None

    def _nonce_of(self, count: int) -> bytes:
        return (self._nonce ^ count).to_bytes(_NONCE_BYTES, "big")


def _derive(key: bytes, salt: bytes, what: bytes, n_bytes: int) -> bytes:
    return HKDF(SHA256(), n_bytes, salt or None, b"sottovoce room 1 " + what).derive(key)


def _check(key: bytes) -> bytes:
    return hashlib.sha256(_PREFIX.encode() + key).digest()[:_CHECK_BYTES]


def _wrong(sealed: bytes, version: int, head_bytes: int) -> str | None:
    """The reason why this cannot be a seal of that version."""
    if not sealed or sealed[0] >> 4 != version:
        return "unsealed"
    return "malformed" if len(sealed) < head_bytes + TAG_BYTES else None
