"""The programs of a call in a room, each in its network namespace: a real mosquitto, and whatever peers there are."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .link import LinkError, Namespace

PORT, TLS_PORT = 1883, 8883
_START_S = 60.0
"""What a peer has to build its models, on a machine that does other things as well."""


class Broker:
    """mosquitto, which may die and rise."""

    def __init__(self, host: Namespace, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        """``tls``: certificate and key, both PEM; then it takes nothing else."""
        self._host = host
        self._tls = tls
        self._configuration = folder / f"{host.name}.conf"
        self._running: Program | None = None

    def __enter__(self) -> Broker:
        lines = ["allow_anonymous true", "set_tcp_nodelay true"]
        if self._tls is None:
            lines.insert(0, f"listener {PORT} 0.0.0.0")
        else:
            certificate, key = self._tls
            lines[:0] = [f"listener {TLS_PORT} 0.0.0.0", f"certfile {certificate}", f"keyfile {key}"]
        self._configuration.write_text("\n".join(lines) + "\n")
        self.start()
        return self

    def start(self) -> None:
        """Raises LinkError."""
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if program is None:
            raise LinkError("mosquitto is not installed")
        self._running = Program(self._host.command(program, "-v", "-c", str(self._configuration)))
        self._running.wait_for("mosquitto version .* running")

    def kill(self) -> None:
        """Without a word to anybody."""
        assert self._running is not None
        self._running.kill()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._configuration.unlink()


class Program:
    """A child whose words are read as they come, so that it never waits for us to read them."""

    def __init__(self, command: Sequence[str]) -> None:
        self._name = shlex.join(command)[:200]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.seen_s = 0.0
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str) -> None:
        """Until a line matches; ``seen_s`` is when. Raises LinkError: the program ended without it, or takes too long."""
        with self._changed:
            seen = self._changed.wait_for(
                lambda: any(re.search(pattern, line) for line in self._lines) or not self._reader.is_alive(), _START_S
            )
            if not seen or not any(re.search(pattern, line) for line in self._lines):
                raise LinkError(f"{self._name} does not begin: {''.join(self._lines[-3:]).strip()}")
            self.seen_s = time.monotonic()

    def finish(self, within_s: float | None = None) -> None:
        """Until it ends by itself. Raises LinkError: it failed, or takes longer."""
        try:
            status = self._child.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise LinkError(f"{self._name} does not end") from error
        if status:
            raise LinkError(f"a peer failed: {''.join(self._lines[-3:]).strip()}")

    def leave(self) -> None:
        """Asked to. Raises LinkError: it does not end."""
        self._child.terminate()
        try:
            self._child.wait(_START_S)
        except subprocess.TimeoutExpired as error:
            raise LinkError("a peer does not end") from error

    def kill(self) -> None:
        """It ends at once."""
        self._child.kill()
        self._child.wait()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()
