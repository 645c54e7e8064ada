"""Spoil what the codec hears, never what it is to say: noise, rooms, narrow bands and wrong levels on the input alone.

The target stays clean and in line: every change here keeps the time of its row. Speed changes both sides and is therefore
an option of ``data.Speech``. What step N draws depends on the seed and N alone, so that a resumed run draws the same.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from .layouts import audio_files

ROOMS = "rir"  # folder, anywhere below the noise folder, with impulse responses
DRAWS = 1  # keeps what is drawn here apart from the draws of ``Speech``, which begin with the same seed and step
LONGEST_NOISE_S = 30.0
LONGEST_ROOM_S = 2.0
QUIET = 1e-3  # rms; a row below is taken to be this loud, so that silence does not get silence for noise

Sound = NDArray[np.float32]


class AugmentError(ValueError):
    """The noise folder lacks what the configuration asks for."""


@dataclass(frozen=True)
class AugmentConfig:
    """How many rows get what (shares, 0 to 1), and how much of it (low, high: drawn evenly)."""

    noise_share: float = 0.3
    snr_db: tuple[float, float] = (5.0, 30.0)
    "Speech above noise, over the row's own mean power."
    room_share: float = 0.2
    band_share: float = 0.1
    highpass_hz: tuple[float, float] = (40.0, 300.0)
    lowpass_hz: tuple[float, float] = (3_400.0, 8_000.0)
    level_share: float = 0.0
    "Off: ``Speech`` varies the level of both sides. Above zero the codec learns to even levels out."
    level_db: tuple[float, float] = (-10.0, 6.0)
    seed: int = 0


class Augment:
    """Noise and rooms in memory, and what a step draws from them."""

    def __init__(self, config: AugmentConfig, noise_folder: Path | None, rate_hz: int) -> None:
        """``noise_folder``: recordings of noise anywhere below it, impulse responses in folders named ``rir``.

        Raises:
            AugmentError: a share is not in [0, 1], or the folder has no noise or no rooms where ``config`` asks for them.
        """
        self.config, self.rate_hz = config, rate_hz
        for name in ("noise_share", "room_share", "band_share", "level_share"):
            if not 0 <= getattr(config, name) <= 1:
                raise AugmentError(f"{name} {getattr(config, name)}: 0 to 1")
        paths = audio_files(noise_folder) if noise_folder else []
        rooms = {path for path in paths if noise_folder and ROOMS in path.relative_to(noise_folder).parts}
        self.noises = [_read(path, rate_hz, LONGEST_NOISE_S) for path in paths if path not in rooms]
        self.rooms = [_room(_read(path, rate_hz, LONGEST_ROOM_S)) for path in paths if path in rooms]
        if config.noise_share and not self.noises:
            raise AugmentError(f"{noise_folder}: no recordings of noise; name another folder, or set noise_share to 0")
        if config.room_share and not self.rooms:
            raise AugmentError(
                f"{noise_folder}: no impulse responses in a folder {ROOMS!r}; add some, or set room_share to 0"
            )

    def input(self, pcm: Tensor, step: int) -> Tensor:
        """What the codec hears in step ``step``: pcm [B, T] float32 in [-1, 1], on the device of the clean ``pcm`` [B, T]."""
        clean = pcm.detach().cpu().numpy()
        rows = [self._row(row, self._random(step, i)) for i, row in enumerate(clean)]
        return torch.from_numpy(np.stack(rows).clip(-1, 1).astype(np.float32)).to(pcm.device)

    def _random(self, step: int, row: int) -> np.random.Generator:
        """Chance of one row. No number after the seed may be zero at the end: numpy draws the same without it."""
        return np.random.default_rng((self.config.seed, DRAWS, step % 2**32, row + 1))

    def _row(self, row: Sound, random: np.random.Generator) -> Sound:
        """Room, then noise, then the line, in the order in which they happen to a voice."""
        config = self.config
        if random.random() < config.room_share:
            row = in_room(row, self.rooms[random.integers(len(self.rooms))])
        if random.random() < config.noise_share:
            noise = self._stretch(len(row), random)
            row = row + noise * noise_gain(row, noise, random.uniform(*config.snr_db))
        if random.random() < config.band_share:
            row = in_band(row, self.rate_hz, random.uniform(*config.highpass_hz), random.uniform(*config.lowpass_hz))
        if random.random() < config.level_share:
            row = row * np.float32(10 ** (random.uniform(*config.level_db) / 20))
        return row

    def _stretch(self, n_samples: int, random: np.random.Generator) -> Sound:
        """Some noise from a random place on, repeated where it is too short."""
        noise = self.noises[random.integers(len(self.noises))]
        start = int(random.integers(len(noise)))
        return np.resize(np.roll(noise, -start), n_samples)


def in_room(row: Sound, room: Sound) -> Sound:
    """``row`` [T] as heard in a room, as loud as before; the direct sound arrives at once, so nothing moves."""
    n = 1 << (len(row) + len(room) - 2).bit_length()  # room for both, and fast
    wet = np.fft.irfft(np.fft.rfft(row, n) * np.fft.rfft(room, n), n)[: len(row)]
    return (wet * (_rms(row) / max(_rms(wet), 1e-9))).astype(np.float32)


def noise_gain(row: Sound, noise: Sound, snr_db: float) -> np.float32:
    """What brings ``noise`` to ``snr_db`` below ``row``."""
    return np.float32(max(_rms(row), QUIET) / max(_rms(noise), 1e-9) * 10 ** (-snr_db / 20))


def in_band(row: Sound, rate_hz: int, low_hz: float, high_hz: float) -> Sound:
    """``row`` [T] without what lies below ``low_hz`` and above ``high_hz``: zero phase, slopes of a third of an octave."""
    n = 1 << (2 * len(row) - 1).bit_length()  # fast, and what rings over the end does not come in at the start
    hz = np.fft.rfftfreq(n, 1 / rate_hz)
    octaves_in = np.minimum(np.log2(np.maximum(hz, 1) / low_hz), np.log2(high_hz / np.maximum(hz, 1)))
    gain = 0.5 - 0.5 * np.cos(np.pi * np.clip(1 + 3 * octaves_in, 0, 1))
    return np.fft.irfft(np.fft.rfft(row, n) * gain, n)[: len(row)].astype(np.float32)


def _read(path: Path, rate_hz: int, longest_s: float) -> Sound:
    try:
        with soundfile.SoundFile(path) as file:
            audio = file.read(int(longest_s * file.samplerate), dtype="float32", always_2d=True)
            own_rate_hz = file.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AugmentError(f"{path}: cannot be read ({error}); repair or remove it") from None
    mono: Sound = soxr.resample(audio.mean(1), own_rate_hz, rate_hz)
    if not len(mono) or not np.isfinite(mono).all() or _rms(mono) < 1e-6:
        raise AugmentError(f"{path}: silent, or not finite; repair or remove it")
    return mono


def _room(response: Sound) -> Sound:
    """From the direct sound on: what a recording has before it would move the speech."""
    return response[int(np.abs(response).argmax()) :]


def _rms(x: NDArray[np.floating[Any]]) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
