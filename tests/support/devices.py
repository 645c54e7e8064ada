"""Where the torch engine is tested: on the processor, in fixed shapes there too, and on a GPU where there is one."""

from dataclasses import dataclass

import pytest
import torch

from sottovoce.models.fixed_step import Record, record_eagerly


@dataclass(frozen=True)
class Place:
    """A device, and how steps are recorded on it."""

    device: str
    record: Record | None = None

    @property
    def given(self) -> dict[str, object]:
        """To an engine."""
        return {"device": self.device, "record": self.record}


needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here"),
]
HERE = Place("cpu")
FIXED = Place("cpu", record_eagerly)
GPU = pytest.param(Place("cuda"), marks=needs_gpu, id="cuda graphs")
GPU_EAGERLY = pytest.param(Place("cuda", record_eagerly), marks=needs_gpu, id="cuda eagerly")
each_place = pytest.mark.parametrize(
    "place", [pytest.param(HERE, id="cpu"), pytest.param(FIXED, id="cpu in fixed shapes"), GPU, GPU_EAGERLY]
)
fixed_places = pytest.mark.parametrize("place", [pytest.param(FIXED, id="cpu in fixed shapes"), GPU])
