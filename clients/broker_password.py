"""amqtt's way to ask a client for a password: one for all, whatever the user is called."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session


class PasswordPlugin(BaseAuthPlugin):  # type: ignore[misc]  # amqtt tells no types
    """Lets in who has it."""

    async def authenticate(self, *, session: Session) -> bool:
        """Whether this client may come in."""
        wanted: str = self._get_config_option("password", "")
        return hmac.compare_digest((session.password or "").encode(), wanted.encode())

    @dataclass
    class Config:
        """What `broker.py` gives it."""

        password: str = field(default="", repr=False)
