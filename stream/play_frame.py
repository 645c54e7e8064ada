"""What a receiver of a room gives the speaker for every frame's time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .comfort_noise import ComfortNoise


@dataclass(frozen=True, slots=True, eq=False)
class PlayFrame:
    """What to play for one code frame's time."""

    kind: Literal["codes", "silence"]
    "``codes``: decode them. ``silence``: nobody speaks, or the line is dead: comfort noise, no engine is needed."
    codes: NDArray[np.int16]
    "[books] of the model, -1 where absent; all -1 in silence."
    attenuation_db: float
    "How far to fade it: 0 for what was received, `conceal.SILENT_DB` in silence."
    concealed: bool
    "Made up in place of a frame that is missing."
    repaired: bool
    "Only the coarsest book is known, from a later packet's redundancy."
    discontinuity: bool
    "The first codes after silence: start the models from their initial state."
    background: ComfortNoise | None
    "The newest description of the background, if one has come."
