"""``sottovoce keygen`` and ``sottovoce budget`` from outside."""

import json
import sys
from pathlib import Path

import pytest

from sottovoce.clients.room_keys import VARIABLE, room_key
from sottovoce.stream.errors import RoomKeyError, UsageError
from sottovoce.stream.room_key import RoomKey
from support.program import refused, run


def test_a_key_is_made_for_its_owner_alone_and_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "room.key"
    assert run("keygen", file).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    key = room_key(file)
    assert key is not None
    assert key.to_text() == file.read_text().strip()


def test_a_key_can_be_printed_and_is_another_every_time() -> None:
    texts = {run("keygen").stdout.decode() for _ in range(2)}
    assert len(texts) == 2
    for text in texts:
        assert RoomKey.from_text(text).to_text() == text.strip()


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "room.key"
    file.write_text("precious")
    refused(run("keygen", file), 14, "there already")
    assert file.read_text() == "precious"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    refused(run("keygen", tmp_path / "link"), 14, "there already")


def test_a_key_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    refused(run("keygen", tmp_path / "no" / "room.key"), 14, "folder does not exist")
    refused(run("keygen", ""), 2, "empty")


def test_the_key_comes_from_the_file_else_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert room_key(None) is None
    monkeypatch.setenv(VARIABLE, RoomKey(bytes(32)).to_text())
    found = room_key(None)
    assert found is not None
    assert found.to_text() == RoomKey(bytes(32)).to_text()
    file = tmp_path / "key"
    file.write_text(RoomKey(bytes(range(32))).to_text())
    file.chmod(0o600)
    found = room_key(file)
    assert found is not None
    assert found.to_text() == RoomKey(bytes(range(32))).to_text()
    monkeypatch.setenv(VARIABLE, "secret")
    with pytest.raises(RoomKeyError, match="no room key"):
        room_key(None)


@pytest.mark.parametrize("content", [b"", b"secret", b"\xff\xfe\0", b"sottovoce-room-" + b"A" * 48, bytes(100_000)])
def test_what_is_no_key_is_told_with_its_file_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(RoomKeyError, match="no room key") as caught:
        room_key(file)
    assert str(file) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_key_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "none"):
        with pytest.raises(RoomKeyError, match="could not be read"):
            room_key(file)


def test_a_key_that_others_may_read_is_remarked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    file.write_text(RoomKey(bytes(32)).to_text())
    file.chmod(0o644)
    room_key(file)
    assert "chmod 600" in capsys.readouterr().err


def test_without_the_library_there_is_one_line_of_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sottovoce.stream.room_key", None)
    (tmp_path / "key").write_text(RoomKey(bytes(32)).to_text())
    with pytest.raises(UsageError, match="pip install"):
        room_key(tmp_path / "key")


def test_the_budget_prints_every_layer_of_both_ways_of_every_profile() -> None:
    result = run("budget")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.decode().splitlines()
    heads = next(line for line in lines if line.startswith("profile")).split()
    assert heads == [*"profile way codes again head seal mqtt ws tls tcp ip all per s voice acks".split()]  # noqa: SIM905
    rows = [line.split() for line in lines if " up " in line or line.split()[:1] == ["down"]]
    rows = [row for row in rows if len(row) > 12 and row[-1].isdigit()]
    assert len(rows) == 8
    totals = [line.split() for line in lines if len(line.split()) == 8 and line.split()[-1].isdigit()]
    assert [row[0] for row in totals] == ["live", "normal", "thrifty", "radio"]
    for row in rows:
        *layers, packet, per_s, voice, _ = (float(cell) for cell in row if cell[0].isdigit())
        assert sum(layers) == packet
        assert 8 * packet * per_s == pytest.approx(voice, rel=0.01)


def test_the_budget_as_json_says_the_same_and_options_change_it() -> None:
    def one(*arguments: str) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = json.loads(
            run("budget", "--profile", "normal", "--json", *arguments).stdout
        )
        return found

    plain = one()
    assert plain["up"]["packet_bytes"] == sum(plain["up"]["bytes"].values())  # type: ignore[attr-defined]
    assert one("--link", "mqtts")["up"]["packet_bytes"] == plain["up"]["packet_bytes"] + 22
    assert one("--key")["up"]["packet_bytes"] == plain["up"]["packet_bytes"] + 11
    assert one("--ipv6")["up"]["packet_bytes"] == plain["up"]["packet_bytes"] + 20
    assert one("--redundancy", "0")["up"]["packet_bytes"] == plain["up"]["packet_bytes"] - 8
    assert one("--books", "2")["up"]["packet_bytes"] == plain["up"]["packet_bytes"] - 15
    assert one("--room", "kitchens")["down"]["packet_bytes"] == plain["down"]["packet_bytes"] + 4
    assert one("--frames-per-packet", "12")["delay_ms"] == 480


def test_all_links_can_be_asked_for() -> None:
    result = run("budget", "--link", "all", "--profile", "radio", "--json")
    assert [json.loads(line)["link"]["name"] for line in result.stdout.splitlines()] == [
        "mqtt",
        "mqtts",
        "mqtt3",
        "mqtts3",
        "ws",
        "wss",
    ]


@pytest.mark.parametrize(
    "arguments",
    [("--profile", "loud"), ("--link", "pigeon"), ("--books", "9"), ("--books", "0"), ("--preset", "micro", "--books", "3"),
     ("--frames-per-packet", "256"), ("--redundancy", "8"), ("--redundancy", "-1"), ("--room", "a/b"), ("--name", "")],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(arguments: tuple[str, ...]) -> None:
    refused(run("budget", *arguments), 2)
