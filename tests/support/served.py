"""``sottovoce serve`` in a process of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from . import program

START = """
from sottovoce.clients import engines
engines.PRESETS += ("tiny",)
from sottovoce.clients.cli import main
sys.exit(main())
"""
NO_TOKEN = {name: value for name, value in os.environ.items() if name != "SOTTOVOCE_TOKEN"}


@contextmanager
def served(*arguments: str, codec: str = "echo", **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program, and the address that it told."""
    backend = ("--backend", "echo") if codec == "echo" else ("--preset", codec)
    command = program.script(START, "serve", *backend, "--port", "0", *arguments)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=NO_TOKEN | environment,
        preexec_fn=program.interruptible,
    ) as serving:
        assert serving.stdout is not None
        line = serving.stdout.readline()
        try:
            assert line.startswith(f"sottovoce serves {codec} at http"), line
            yield serving, line.split()[4]
        finally:
            serving.kill()
