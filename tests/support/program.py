"""The program ``sottovoce`` in a process of its own, installed or not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_START = f"""
import importlib.util, sys, types
if importlib.util.find_spec("sottovoce") is None:
    sottovoce = types.ModuleType("sottovoce")
    sottovoce.__path__ = [{str(_ROOT)!r}]
    sys.modules["sottovoce"] = sottovoce
from sottovoce.clients.cli import main
sys.exit(main())
"""


def command(*arguments: object) -> list[str]:
    """What to give to ``subprocess``."""
    return [sys.executable, "-c", _START, *map(str, arguments)]


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end, output captured."""
    return subprocess.run(command(*arguments), capture_output=True, timeout=120, check=False, **options)
