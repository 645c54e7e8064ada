"""The page's modules, by Node's own test runner: what they are made of lies in ``web/`` beside this file."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
FILES = sorted((Path(__file__).parent / "web").glob("*.test.js"))
LEAST_NODE = 18


def missing() -> str:
    """Why they cannot run here; empty: they can."""
    if NODE is None:
        return "node is not installed"
    version = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return "" if int(version[1:].split(".")[0]) >= LEAST_NODE else f"node is {version}; its test runner needs 18"


REASON = missing()


@pytest.mark.skipif(bool(REASON), reason=REASON or "it is there")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".test.js"))
def test_the_page(path: Path) -> None:
    assert NODE is not None
    result = subprocess.run([NODE, "--test", path], capture_output=True, text=True, timeout=120)
    passed = re.search(r"^\S+ pass (\d+)$", result.stdout, re.MULTILINE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert passed is not None
    assert int(passed[1]) > 0
