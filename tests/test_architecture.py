"""Who may import whom, how long a file may be, and that every file says what it is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "models": {"models"},
    "stream": {"stream"},
    "clients": {"clients", "stream"},
    "training": {"training", "models", "stream"},  # evaluation measures what the product sends and conceals
}
BRIDGES = {  # from the stream to the models
    f"stream/{name}.py"
    for name in (
        *("batch_engine", "checkup", "onnx_engine", "onnx_files", "onnx_step", "onnx_talk", "talk_engine"),
        *("torch_engine", "torch_talk"),
    )
}
# a backend, and what `bench --vs` measures beside it
TORCH = {"stream/torch_engine.py", "stream/torch_talk.py", "stream/peer_codecs.py"}
WITHOUT_TORCH = {
    f"models/{name}.py"
    for name in (
        *("alignment", "bands", "config", "onnx_attention", "onnx_codec", "onnx_graph", "onnx_layers", "rotary"),
        *(
            "onnx_talker",
            "sampling",
            "spectral",
            "symbols",
            "talker_checks",
            "talker_config",
            "talker_file",
            "weight_file",
        ),
    )
}
HEAVY = {"torch", "safetensors.torch"}
LONGEST = 400

SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in SOURCES]


def imported(path: Path) -> set[str]:
    """Absolute names of everything that a file imports, wherever in the file."""
    folder = path.relative_to(ROOT).parts[0]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(f"sottovoce.{folder}.{node.module or ''}" if node.level else node.module or "")
    return names


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_one_way(name: str) -> None:
    folder = name.split("/")[0]
    allowed = FOLDERS[folder] | ({"models"} if name in BRIDGES else set())
    for module in imported(ROOT / name):
        top = module.split(".")
        if top[0] == "sottovoce":
            assert top[1] in allowed, f"{name} imports {module}"
        assert top[0] not in FOLDERS, f"{name} imports {module}: one module would have two identities"


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if name.startswith(("stream/", "clients/")) and name not in TORCH] + sorted(WITHOUT_TORCH),
)
def test_only_named_files_bring_torch_to_the_runtime(name: str) -> None:
    modules = imported(ROOT / name)
    assert not {module for module in modules if module in HEAVY or module.startswith("torch.")}
    ours = {f"models/{module.split('.')[2]}.py" for module in modules if module.startswith("sottovoce.models.")}
    if name not in TORCH:
        assert ours <= WITHOUT_TORCH, f"{name} imports {ours - WITHOUT_TORCH}"


@pytest.mark.parametrize("name", NAMES)
def test_files_are_short_and_say_what_they_are(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < LONGEST
    assert ast.get_docstring(ast.parse(text)), f"{name} has no docstring"


def test_models_know_no_event_loop_and_no_device() -> None:
    for name in NAMES:
        if name.startswith("models/"):
            assert not imported(ROOT / name) & {"asyncio", "threading", "sounddevice", "soundfile"}, name
