"""The program ``sottovoce`` in a process of its own, installed or not."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_FIND = f"""
import importlib.util, sys, types
if importlib.util.find_spec("sottovoce") is None:
    sottovoce = types.ModuleType("sottovoce")
    sottovoce.__path__ = [{str(_ROOT)!r}]
    sys.modules["sottovoce"] = sottovoce
"""
_START = "from sottovoce.clients.cli import main; sys.exit(main())"


def command(*arguments: object) -> list[str]:
    """What to give to ``subprocess``."""
    return script(_START, *arguments)


def script(text: str, *arguments: object) -> list[str]:
    """The same for a few lines of Python that use it; ``sys`` is imported."""
    return [sys.executable, "-c", _FIND + text, *map(str, arguments)]


def interruptible() -> None:
    """As ``preexec_fn``: the program hears what ends it, even where we were started with that ignored (``&``, ``nohup``)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end, output captured."""
    return subprocess.run(command(*arguments), capture_output=True, timeout=120, check=False, **options)


def refused(result: subprocess.CompletedProcess[bytes], code: int, *words: str) -> None:
    """It failed with one clear line."""
    text = result.stderr.decode()
    assert result.returncode == code, text
    assert text.startswith("sottovoce: ")
    assert text.count("\n") == 1, text
    for word in words:
        assert word in text
