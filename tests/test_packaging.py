"""What is installed: the four folders as one namespace, with their data, and nothing else."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("stream", "models", "clients", "training")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names inside a wheel built from a copy of what git would ship."""
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(out), "."]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(out.glob("*.whl"))) as file:
        return file.namelist()


def test_a_wheel_holds_the_four_folders_and_nothing_else(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sottovoce"}
    assert {name.split("/")[1] for name in wheel if name.startswith("sottovoce/")} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_source_file_is_in_the_wheel(wheel: list[str], folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert f"sottovoce/{path.relative_to(ROOT).as_posix()}" in wheel


def test_the_wheel_can_speak(wheel: list[str]) -> None:
    for name in ("base-codec", "micro-codec"):
        assert f"sottovoce/models/weights/{name}.safetensors" in wheel
    assert "sottovoce/stream/PROTOCOL.md" in wheel


def test_the_wheel_has_the_page_and_nothing_of_its_workshop(wheel: list[str]) -> None:
    shipped = {Path(name).name for name in wheel if name.startswith("sottovoce/clients/web/")}
    workshop = {"package.json", "jsconfig.json", "types.d.ts"}
    assert shipped == {path.name for path in (ROOT / "clients" / "web").iterdir()} - workshop


def test_every_dependency_has_a_lower_bound_and_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"].values()
    for requirement in [*project["dependencies"], *(r for extra in extras for r in extra)]:
        assert ">=" in requirement, requirement
        line = next(line for line in text.splitlines() if f'"{requirement}"' in line)
        assert "#" in line, f"{requirement} has no reason"
