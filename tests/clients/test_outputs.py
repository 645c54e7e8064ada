"""What is written: sound and bytes, into files that are there whole or not at all, and into pipes."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sottovoce.clients.atomic import replacing
from sottovoce.clients.audio_out import audio_output, check_output
from sottovoce.clients.pipes import Output, output
from sottovoce.clients.wav import header
from sottovoce.stream.errors import AudioFileError, CodeFileError
from sottovoce.stream.frames import Pcm

RATE_HZ = 24_000


def noise(n_samples: int) -> Pcm:
    return np.random.default_rng(0).normal(0, 0.1, n_samples).astype(np.float32)


def write(path: Path, sound: Pcm) -> None:
    with audio_output(str(path), RATE_HZ) as sink:
        for at in range(0, len(sound), 960):
            asyncio.run(sink.write(sound[at : at + 960]))


@contextmanager
def small_files(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond that, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="no limits on the size of files here")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_what_is_written_can_be_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write(path, noise(2 * RATE_HZ))
    found, rate_hz = soundfile.read(path)
    assert abs(len(found) / rate_hz - 2) < 0.1
    assert np.abs(found).max() > 0.2
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_a_disk_that_fills_leaves_the_old_file_even_just_before_the_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write(path, noise(RATE_HZ))
    size = path.stat().st_size
    path.write_text("old")
    for missing in (1, 100, 1000, size // 2):
        with small_files(size - missing), pytest.raises(AudioFileError, match="could not be written: files of that"):
            write(path, noise(RATE_HZ))
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == [path.name]


def test_an_unfinished_file_leaves_nothing_and_the_old_one_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("old")

    def interrupted() -> None:
        with audio_output(str(path), RATE_HZ) as sink:
            asyncio.run(sink.write(noise(100)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("failure", [AssertionError("elsewhere"), OSError(5, "elsewhere")])
def test_what_goes_wrong_elsewhere_is_not_blamed_on_the_output(tmp_path: Path, suffix: str, failure: Exception) -> None:
    with pytest.raises(type(failure), match="elsewhere"), audio_output(str(tmp_path / f"a.{suffix}"), RATE_HZ):
        raise failure
    assert not os.listdir(tmp_path)


def test_where_nothing_can_be_written_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in [
        (tmp_path / "none" / "a.wav", "its folder does not exist"),
        (tmp_path / "file" / "a.wav", "its folder is not a folder"),
        (tmp_path / ("a" * 300 + ".wav"), "its name is too long"),
        (tmp_path, "it is a folder"),
    ]:
        check_output(str(path))
        with pytest.raises(AudioFileError, match=reason), audio_output(str(path), RATE_HZ):
            pass
    with pytest.raises(AudioFileError, match="names no format"), audio_output(str(tmp_path / "a.xyz"), RATE_HZ):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_named() -> None:
    with pytest.raises(AudioFileError, match="the disk is full"), audio_output("/dev/full", RATE_HZ):
        pass


def test_a_new_file_gets_the_permissions_that_the_user_wants_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    new, old, plain = tmp_path / "new", tmp_path / "old", tmp_path / "plain"
    plain.touch()
    old.touch()
    old.chmod(0o600)
    for path in (new, old):
        with replacing(path, AudioFileError) as name:
            assert name.stat().st_mode & 0o077 == (0 if path == old else plain.stat().st_mode & 0o077)
    assert new.stat().st_mode == plain.stat().st_mode
    assert old.stat().st_mode & 0o777 == 0o600
    old.chmod(0o640)
    with replacing(old, AudioFileError):
        pass
    assert old.stat().st_mode & 0o777 == 0o640


def test_what_a_link_points_to_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    link = tmp_path / "link.wav"
    link.symlink_to(folder / "a.wav")
    write(link, noise(100))
    assert link.is_symlink()
    assert os.listdir(folder) == ["a.wav"]
    assert soundfile.info(link).frames == 100


def test_a_name_may_be_as_long_as_the_file_system_lets_it(tmp_path: Path) -> None:
    path = tmp_path / ("я" * 125 + ".wav")  # 254 bytes
    write(path, noise(100))
    assert soundfile.info(path).frames == 100


def test_where_several_write_to_one_file_nobody_goes_back(tmp_path: Path) -> None:
    """As with ``>>``; otherwise the beginning, wherever that is, is written again."""
    for mode, expected in (("ab", b"before12345"), ("r+b", b"before**345")):
        path = tmp_path / mode
        path.write_bytes(b"before")
        with path.open(mode, buffering=0) as file:
            file.seek(0, os.SEEK_END)
            sink = Output(file, "a", CodeFileError)  # type: ignore[arg-type]
            asyncio.run(sink.write(b"12345"))
            sink.replace_beginning(b"**")
        assert path.read_bytes() == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_stuck_reader_stops_nobody_else(tmp_path: Path) -> None:
    """The pipe is full for good; whoever writes can be cancelled, and others have their turn meanwhile."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    async def write_and_cancel(sink: Output) -> int:
        turns = 0
        writing = asyncio.create_task(sink.write(bytes(1 << 22)))
        while turns < 5000:
            await asyncio.sleep(0)
            turns += 1
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        return turns

    with output(str(fifo), CodeFileError) as sink:
        assert asyncio.run(write_and_cancel(sink)) == 5000
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            asyncio.run(sink.write(bytes(10)))


def test_a_wav_says_how_long_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(1000))
    assert (tmp_path / "a.wav").read_bytes()[:44] == header(RATE_HZ, 1000)
