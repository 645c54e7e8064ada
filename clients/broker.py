"""``sottovoce broker``: amqtt's MQTT broker in this process, for those who have none. MQTT 3.1.1; a few rooms, not a city."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.stream.errors import ServeError, UsageError

from .interrupts import run
from .pipes import say
from .room_address import PASSWORD_VARIABLE
from .serve import is_local

PORT = 1883
_CONNECTIONS = 256


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What a person asks of a broker."""

    host: str = "127.0.0.1"
    port: int = PORT
    no_auth: bool = False
    certificate: Path | None = None
    key: Path | None = None


def serve(options: BrokerOptions) -> None:
    """Serve until a signal ends it.

    Raises:
        UsageError: the options contradict each other, or would let strangers in unasked.
        ServeError: amqtt is not installed, the port is taken, or the certificate cannot be used.
    """
    password = os.environ.get(PASSWORD_VARIABLE) or None
    if password is not None and options.no_auth:
        raise UsageError(f"--no-auth contradicts the password in {PASSWORD_VARIABLE}")
    if password is None and not options.no_auth and not is_local(options.host):
        raise UsageError(
            f"anybody who reaches {options.host} could use this broker: set a password in {PASSWORD_VARIABLE}, or say --no-auth"
        )
    if (options.certificate is None) != (options.key is None):
        raise UsageError("--cert and --key go together")
    run(_serve(options, password))


async def _serve(options: BrokerOptions, password: str | None) -> None:
    try:
        from amqtt.broker import Broker
        from amqtt.errors import AMQTTError, BrokerError
    except ModuleNotFoundError as error:
        raise ServeError(f"{error.name} must be installed for a broker: pip install 'sottovoce[peer]'") from error
    for name in ("amqtt", "asyncio", "transitions"):  # what clients do wrong is theirs, and tracebacks are nobody's
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        broker = Broker(config(options, password))
        await broker.start()
    except (AMQTTError, BrokerError, OSError, ValueError) as error:
        cause = error.__cause__ or error
        reason = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
        raise ServeError(f"cannot serve on {options.host} port {options.port}: {reason}") from error
    scheme = "mqtt" if options.certificate is None else "mqtts"
    host = f"[{options.host}]" if ":" in options.host else options.host
    say(f"a broker is at {scheme}://{host}:{options.port}; Ctrl-C ends it")
    try:
        await asyncio.Event().wait()
    finally:
        await broker.shutdown()


def config(options: BrokerOptions, password: str | None) -> dict[str, Any]:
    """What amqtt calls a configuration."""
    listener: dict[str, Any] = {
        "type": "tcp",
        "bind": f"{options.host}:{options.port}",
        "max_connections": _CONNECTIONS,
    }
    if options.certificate is not None and options.key is not None:
        listener |= {"ssl": True, "certfile": str(options.certificate), "keyfile": str(options.key)}
    plugin: dict[str, Any] = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    if password is not None:
        plugin = {"sottovoce.clients.broker_password.PasswordPlugin": {"password": password}}
    return {"listeners": {"default": listener}, "plugins": plugin}
