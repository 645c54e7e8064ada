"""Pictures of single clips: waveform and log-mel of the original and of what every system made of it, one above the other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sottovoce.models.config import MelConfig
from sottovoce.models.mel import LogMel
from sottovoce.models.streaming import whole

from .metrics import RATE_HZ
from .recordings import Pcm

SHOWN_S = 4.0  # of a clip: longer, and no consonant can be seen
HOP = 160  # 10 ms
SPAN = 7.0  # of log-mel below the loudest of the original, in natural-log units: 61 dB


def spread(n_clips: int, n: int) -> list[int]:
    """Which clips to draw: ``n`` of them, or all, evenly through the folder."""
    return sorted({round(i) for i in np.linspace(0, n_clips - 1, min(n, n_clips))})


def clip_picture(name: str, sounds: Sequence[tuple[str, Pcm]], path: Path) -> None:
    """Draw the first seconds of ``sounds``: (label, samples at RATE_HZ), the original first, whose scales hold for all.

    Raises:
        ImportError: matplotlib is not there.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    pieces = [(label, pcm[: int(SHOWN_S * RATE_HZ)]) for label, pcm in sounds]
    mels = [log_mel(pcm) for _, pcm in pieces]
    top, peak = float(mels[0].max()), float(np.abs(pieces[0][1]).max()) or 1.0
    seconds = len(pieces[0][1]) / RATE_HZ
    size = (11, 1.5 * len(pieces) + 0.5)
    figure, axes = pyplot.subplots(len(pieces), 2, figsize=size, squeeze=False, sharex=True, layout="constrained")
    for (label, pcm), mel, (left, right) in zip(pieces, mels, axes, strict=True):
        left.plot(np.arange(len(pcm)) / RATE_HZ, pcm, linewidth=0.4, color="0.2")
        left.set_ylim(-1.1 * peak, 1.1 * peak)
        left.set_yticks([])
        left.set_ylabel(label, fontsize=8)
        extent = (0, mel.shape[1] * HOP / RATE_HZ, 0, RATE_HZ / 2000)
        right.imshow(mel, origin="lower", aspect="auto", vmin=top - SPAN, vmax=top, extent=extent, cmap="magma")
        right.set_yticks([])
    axes[0, 0].set_xlim(0, seconds)
    for axis in axes[-1]:
        axis.set_xlabel("s")
    figure.suptitle(name, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def log_mel(pcm: Pcm) -> np.ndarray:
    """Log-mel [M, T] in step with the samples: frame i lies at ``i * 10`` ms."""
    front_end = LogMel(MelConfig(rate_hz=RATE_HZ, hop=HOP, n_mels=80))
    late = front_end.delay
    padded = torch.from_numpy(np.pad(pcm, (0, late + -(len(pcm) + late) % HOP)))[None]
    mel: np.ndarray = whole(front_end, padded)[0, :, late // HOP :].numpy()
    return mel
