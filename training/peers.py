"""Codecs that people use today, run by their own programs from Debian packages, on the same clips.

opus-tools, codec2, speex, and for AMR-WB libvo-amrwbenc0 with ffmpeg. A peer whose programs are not there is left out, and
says so. Bits are those of the codec's own frames, as many as the clip lasts; the file around them is counted beside.
"""

import ctypes
import ctypes.util
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from .recordings import Pcm, Recording
from .store import Carried, Size, digest

TAIL_S = 0.25
"""Silence behind every clip, so that a codec's delay cuts nothing off."""
TIMEOUT_S = 120
OPUS_FRAME_MS = 40
AMR_RATE_HZ, AMR_FRAME, AMR_MAGIC = 16_000, 320, b"#!AMR-WB\n"
AMR_FRAME_BYTES, AMR_FRAME_BITS = 18, 132  # in a file a byte for the table of contents, then the bits, filled up
CODEC2_FRAMES = {"3200": (20, 64), "2400": (20, 48), "1200": (40, 48), "700C": (40, 28)}
"""ms and bits of a frame, by mode; in a file each frame begins with a byte."""


class PeerError(Exception):
    """A peer's program failed."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A codec at one setting."""

    name: str
    family: str
    rate_hz: int
    "Of the sound it is given, and gives."
    suffix: str
    package: str
    programs: tuple[str, ...]
    encode: Callable[[Path, Path], None]
    "(sound, compressed)"
    decode: Callable[[Path, Path], None]
    "(compressed, sound)"
    frame_ms: int
    frame_bits: Callable[[bytes], list[int]]
    "Of every frame in a compressed file, without what the file adds."
    raw: bool = False
    "Takes and gives headerless samples, not WAV."
    setting: str = ""

    @property
    def key(self) -> str:
        """Of its programs as installed, and its setting."""
        stamps = [Path(path).stat() for program in self.programs if (path := _found(program))]
        return digest("peer 2", self.name, self.setting, *(f"{stamp.st_size} {stamp.st_mtime_ns}" for stamp in stamps))

    def missing(self) -> str | None:
        """What to do before it can run; None: nothing."""
        absent = [program for program in self.programs if not _found(program)]
        return f"not installed ({', '.join(absent)}); apt-get install {self.package}" if absent else None

    def carry(self, recording: Recording) -> Carried:
        """A clip through the codec, as late as it comes. Raises PeerError."""
        pcm = np.pad(recording.at(self.rate_hz), (0, round(TAIL_S * self.rate_hz)))
        form: dict[str, Any] = {"format": "RAW", "subtype": "PCM_16"} if self.raw else {"subtype": "PCM_16"}
        with tempfile.TemporaryDirectory() as folder:
            said, heard = (Path(folder) / f"{word}.{'raw' if self.raw else 'wav'}" for word in ("said", "heard"))
            compressed = Path(folder) / f"compressed{self.suffix}"
            soundfile.write(said, pcm, self.rate_hz, **form)
            self.encode(said, compressed)
            self.decode(compressed, heard)
            shape: dict[str, Any] = {"samplerate": self.rate_hz, "channels": 1, **form} if self.raw else {}
            decoded, rate_hz = soundfile.read(heard, dtype="float32", **shape)
            file = compressed.read_bytes()
        if not len(decoded) or not file:
            raise PeerError(f"{self.name} gave nothing for {recording.name}")
        n_frames = math.ceil(1000 * recording.seconds / self.frame_ms)  # the clip's own; the tail is no speech
        n_bits = sum(self.frame_bits(file)[:n_frames])
        size = Size(n_frames * self.frame_ms / 1000, math.ceil(n_bits / 8), 0, len(file))
        return Carried(decoded, rate_hz, size, file, self.suffix)


def opus(kbit: int) -> Peer:
    """Opus (RFC 6716) at its best for speech: full effort, frames of 40 ms, and the rate that its name says.

    Its variable rate, the default, keeps to a rate over music and speech of all kinds; on clean speech it falls short of it.
    """
    rate = f"--bitrate {kbit} --hard-cbr --framesize {OPUS_FRAME_MS}"
    options = f"--quiet {rate} --comp 10 --speech --padding 0 --discard-comments"

    def encode(said: Path, compressed: Path) -> None:
        _run("opusenc", *options.split(), said, compressed)

    def decode(compressed: Path, heard: Path) -> None:
        _run("opusdec", "--quiet", "--rate", 24_000, compressed, heard)

    return Peer(
        f"opus-{kbit}",
        "opus",
        24_000,
        ".ogg",
        "opus-tools",
        ("opusenc", "opusdec"),
        encode,
        decode,
        OPUS_FRAME_MS,
        ogg_frame_bits,
        setting=options,
    )


def codec2(mode: str) -> Peer:
    """Codec2 (Rowe, 2010), a vocoder for radio, 8 kHz."""
    frame_ms, bits = CODEC2_FRAMES[mode]
    return Peer(
        f"codec2-{mode}",
        "codec2",
        8000,
        ".bit",
        "codec2",
        ("c2enc", "c2dec"),
        lambda said, compressed: _run("c2enc", mode, said, compressed),
        lambda compressed, heard: _run("c2dec", mode, compressed, heard),
        frame_ms,
        lambda file: [bits] * (len(file) // -(-bits // 8)),
        raw=True,
    )


def speex(quality: int) -> Peer:
    """Speex, wideband, at a low quality."""
    return Peer(
        f"speex-wb-{quality}",
        "speex",
        16_000,
        ".spx",
        "speex",
        ("speexenc", "speexdec"),
        lambda said, compressed: _run("speexenc", "-w", "--quality", quality, "--comp", 10, said, compressed),
        lambda compressed, heard: _run("speexdec", compressed, heard),
        20,
        ogg_frame_bits,
        setting="--comp 10",
    )


def amr_wb() -> Peer:
    """AMR-WB (3GPP TS 26.190) at 6.6 kbit/s, its lowest mode, through VisualOn's library; ffmpeg decodes."""
    return Peer(
        "amr-wb-6.6",
        "amr-wb",
        AMR_RATE_HZ,
        ".amr",
        "libvo-amrwbenc0 ffmpeg",
        ("libvo-amrwbenc.so.0", "ffmpeg"),
        _encode_amr_wb,
        lambda compressed, heard: _run("ffmpeg", "-v", "error", "-i", compressed, heard),
        1000 * AMR_FRAME // AMR_RATE_HZ,
        lambda file: [AMR_FRAME_BITS] * ((len(file) - len(AMR_MAGIC)) // AMR_FRAME_BYTES),
    )


def ogg_frame_bits(file: bytes) -> list[int]:
    """Bits of every packet in an Ogg file (RFC 3533) but the first two, which are headers. Pages are not counted.

    Raises:
        PeerError: not an Ogg file.
    """
    sizes, at, size = [], 0, 0
    while at < len(file):
        if file[at : at + 4] != b"OggS":
            raise PeerError(f"no Ogg page at byte {at}")
        n_segments = file[at + 26]
        lacing = file[at + 27 : at + 27 + n_segments]
        for segment in lacing:
            size += segment
            if segment < 255:
                sizes.append(size)
                size = 0
        at += 27 + n_segments + sum(lacing)
    return [8 * size for size in sizes[2:]]


def _found(program: str) -> str | None:
    if ".so" not in program:
        return shutil.which(program)
    folders = ("/usr/lib", *map(str, Path("/usr/lib").glob("*-linux-gnu*")), "/usr/local/lib")
    return next((path for folder in folders if Path(path := f"{folder}/{program}").exists()), None)


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    try:
        subprocess.run(words, check=True, capture_output=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise PeerError(f"{words[0]} failed: {said[-1] if said else error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{words[0]} failed: {error}") from error


def _encode_amr_wb(said: Path, compressed: Path) -> None:
    """Frames of 20 ms through ``E_IF_encode`` (``enc_if.h`` of vo-amrwbenc), mode 0, in the file format of RFC 4867."""
    library = ctypes.CDLL(_found("libvo-amrwbenc.so.0"))
    library.E_IF_init.restype = ctypes.c_void_p
    library.E_IF_encode.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
    library.E_IF_exit.argtypes = [ctypes.c_void_p]
    pcm, _ = soundfile.read(said, dtype="int16")
    pcm = np.pad(pcm, (0, -len(pcm) % AMR_FRAME))
    state, frame = library.E_IF_init(), ctypes.create_string_buffer(64)
    file = AMR_MAGIC
    for piece in pcm.reshape(-1, AMR_FRAME):
        n_bytes = library.E_IF_encode(state, 0, piece.tobytes(), frame, 0)
        file += frame.raw[:n_bytes]
    library.E_IF_exit(state)
    compressed.write_bytes(file)


class Original:
    """What nothing was done to: the best that any metric can say of these clips."""

    name = "original"
    key = digest("original 1")

    def carry(self, recording: Recording) -> Carried:
        """The clip itself."""
        pcm: Pcm = recording.pcm
        return Carried(pcm, recording.rate_hz, Size(recording.seconds, 0, 0, 0), b"", "")


PEERS = {
    peer.name: peer
    for peer in (
        opus(6),
        opus(9),
        opus(12),
        amr_wb(),
        *(codec2(mode) for mode in ("3200", "2400", "1200", "700C")),
        speex(1),
        speex(3),
    )
}
