"""Our codec as a listener gets it: packets really written, some of them lost, the gaps concealed by the product's own code.

The one file of this folder that imports ``stream``: what it measures is what that folder sends. Whole clips pass through the
models at once, which the streaming law makes the same as frame by frame; a test holds it against the real pipeline.
"""

import io
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sottovoce.models.codec import Codec
from sottovoce.models.streaming import whole
from sottovoce.stream.batch_engine import describe
from sottovoce.stream.codefile import CodeParser, CodeWriter
from sottovoce.stream.conceal import Conceal, Missing, ReceivedFrame
from sottovoce.stream.loss import GilbertLoss
from sottovoce.stream.packer import Dial, Packer
from sottovoce.stream.packet import shape, unpack
from sottovoce.stream.stages import fade

from .recordings import Pcm, Recording
from .store import Carried, Size, digest

FILE_FRAMES_PER_PACKET = 25
"""As ``sottovoce encode`` writes by default; a live wire carries one frame a packet."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How packets travel."""

    loss: float = 0.0
    "Share of packets lost, in bursts."
    seed: int = 0

    def seed_of(self, name: str) -> int:
        """Other losses for every clip ``name``, the same in every run."""
        return zlib.crc32(f"{self.seed} {name}".encode())

    def of(self, name: str) -> GilbertLoss:
        """The losses that a clip meets."""
        return GilbertLoss(self.loss, seed=self.seed_of(name))


class Encoder:
    """Clips to codes, each once however many books are then sent of it."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.descriptor = describe(codec.preset, codec.model_hash, codec.delay)
        self._codes: dict[str, NDArray[np.int16]] = {}

    def mel(self, recording: Recording) -> Tensor:
        """Log-mel [1, M, T] of a clip, followed by silence until all of it has passed the codec's delay."""
        pcm = torch.from_numpy(recording.at(self.codec.preset.rate_hz))
        n, delay = len(pcm), self.codec.delay
        padding = delay + -(n + delay) % self.codec.preset.frame_samples
        return whole(self.codec.mel, F.pad(pcm[None], (0, padding)))

    @torch.no_grad()
    def codes(self, recording: Recording) -> NDArray[np.int16]:
        """[frames, books], all books."""
        if recording.name not in self._codes:
            codes = whole(self.codec.encoder, self.mel(recording))
            self._codes[recording.name] = codes[0].numpy().astype(np.int16)
        return self._codes[recording.name]


class Ours:
    """A codec, a number of books, and a wire."""

    def __init__(self, encoder: Encoder, vocoder: str, books: int, wire: Wire | None = None) -> None:
        """``vocoder`` is how the codec's vocoder is called in the table."""
        self.encoder, self.codec, self.descriptor = encoder, encoder.codec, encoder.descriptor
        self.vocoder, self.books, self.wire = vocoder, books, wire or Wire()
        lossy = f"-loss{100 * self.wire.loss:g}" if self.wire.loss else ""
        self.name = f"{self.descriptor.preset}-{books}-{vocoder}{lossy}"
        self.key = digest(
            "ours", self.descriptor.to_json(), _weights(self.codec), _sources(), vocoder, str(books), repr(self.wire)
        )

    @torch.no_grad()
    def carry(self, recording: Recording) -> Carried:
        """A clip through encoder, packets, the wire, concealment, decoder and vocoder; in line with the original."""
        codes = self.encoder.codes(recording)
        packets = self._packets(codes, 1)
        frames, lost = self._received(packets, self.wire.of(recording.name))
        pcm = self._heard(frames)
        n_samples = len(recording.at(self.descriptor.rate_hz))
        file = self._file(codes, n_samples)
        payload_bits = len(codes) * self.books * self.descriptor.bits_per_code
        size = Size(
            seconds=len(codes) / self.descriptor.frame_rate_hz,
            payload_bytes=-(-payload_bits // 8),
            packet_bytes=sum(map(len, packets)),
            file_bytes=len(file),
            frames=len(codes),
            lost_frames=lost,
        )
        delay = self.descriptor.delay_samples
        return Carried(pcm[delay : delay + n_samples], self.descriptor.rate_hz, size, file, ".sv")

    def _packets(self, codes: NDArray[np.int16], frames_per_packet: int) -> list[bytes]:
        packer = Packer(self.descriptor, Dial(self.descriptor.books, self.books), frames_per_packet)
        return [*packer.push(codes), packer.finish()]

    def _file(self, codes: NDArray[np.int16], n_samples: int) -> bytes:
        file = io.BytesIO()
        writer = CodeWriter(file, self.descriptor)
        for packet in self._packets(codes, FILE_FRAMES_PER_PACKET):
            writer.append(packet)
        writer.finish(n_samples)
        return file.getvalue()

    def _received(self, packets: list[bytes], loss: GilbertLoss) -> tuple[list[ReceivedFrame], int]:
        """What the receiver makes of ``packets`` that cross a wire with ``loss``, and how many frames that lost."""
        conceal = Conceal(self.descriptor.books, self.descriptor.frame_ms)
        frames, lost = [], 0
        for packet in packets:
            if loss.lost():
                n_frames, _ = shape(packet)
                lost += n_frames
                frames += conceal.missing(Missing(n_frames))
            else:
                frames += conceal.receive(unpack(packet, self.descriptor.bits_per_code))
        return frames + conceal.finish(), lost

    def _heard(self, frames: list[ReceivedFrame]) -> Pcm:
        codes = torch.from_numpy(np.stack([frame.codes for frame in frames]).astype(np.int64))
        mel = whole(self.codec.decoder, codes[None])
        steps = np.split(mel[0].numpy().T, len(frames))  # each [mels_per_frame, M]
        faded_db = 0.0
        for i, frame in enumerate(frames):
            if frame.attenuation_db > 0:
                steps[i] = fade(steps[i], faded_db, frame.attenuation_db)
            faded_db = frame.attenuation_db
        pcm: Pcm = whole(self.codec.vocoder, torch.from_numpy(np.concatenate(steps).T.copy())[None])[0].numpy()
        return pcm


class CopySynthesis:
    """The vocoder alone: sound made from the original's own mel. Nothing is sent."""

    def __init__(self, encoder: Encoder, vocoder: str) -> None:
        self.encoder = encoder
        self.name = f"{encoder.descriptor.preset}-mel-{vocoder}"
        self.key = digest("copy", encoder.descriptor.to_json(), _weights(encoder.codec), _sources(), vocoder)

    @torch.no_grad()
    def carry(self, recording: Recording) -> Carried:
        """A clip through front end and vocoder, in line with the original."""
        mel = self.encoder.mel(recording)
        rate_hz, delay = self.encoder.descriptor.rate_hz, self.encoder.descriptor.delay_samples
        pcm: Pcm = whole(self.encoder.codec.vocoder, mel)[0].numpy()
        n_samples = len(recording.at(rate_hz))
        return Carried(pcm[delay : delay + n_samples], rate_hz, Size(recording.seconds, 0, 0, 0), b"", "")


def perplexities(code_files: list[bytes]) -> list[float]:
    """Effective codes of every book that the ``.sv`` files carry: the exponential of the entropy, 1 ... book size."""
    parsers = [CodeParser() for _ in code_files]
    packets = [p for parser, file in zip(parsers, code_files, strict=True) for p in parser.feed(file)]
    descriptor = parsers[0].descriptor
    assert descriptor is not None
    codes = np.concatenate([unpack(packet, descriptor.bits_per_code).codes for packet in packets])
    counts = [np.bincount(book, minlength=descriptor.book_size) for book in codes.T]
    shares = [count[count > 0] / len(codes) for count in counts]
    return [float(np.exp(-(share * np.log(share)).sum())) for share in shares]


def _weights(codec: Codec) -> str:
    """A hash of what the vocoder plays with; the codec's own is in the descriptor."""
    assert isinstance(codec.vocoder, nn.Module)
    tensors = sorted(codec.vocoder.state_dict().items())
    parts = [part for key, value in tensors for part in (key, value.cpu().numpy().tobytes())]
    return digest(type(codec.vocoder).__name__, repr(codec.preset), *parts)


@cache
def _sources() -> str:
    """A hash of the code that sound passes through: clips that older code decoded are decoded again."""
    return digest(*(part for file in _source_files() for part in (file.name, file.read_bytes())))


def _source_files() -> list[Traversable]:
    folders = (files(f"sottovoce.{folder}") for folder in ("models", "stream"))
    passed = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".py")]
    return [*sorted(passed, key=str), files("sottovoce.training") / "ours.py"]
