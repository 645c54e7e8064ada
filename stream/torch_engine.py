"""The engine made of torch modules, on the processor or on a GPU; what its talker does there is in ``torch_talk.py``.

The states of all rows stay on the device, packed (``models/resident.py``). On a GPU a step is a CUDA graph for the smallest
bucket of rows that holds it, and for a chunk of 1, 2 or 4 frames where codes become sound; on the processor the same function
runs for exactly the rows there are, and as a captured trace where that is one row and one such chunk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.models.capture import Step, capture
from sottovoce.models.checkpoint import load_codec
from sottovoce.models.codec import Codec
from sottovoce.models.cuda_graph import CudaRecorder
from sottovoce.models.fixed_step import CHUNKS, FixedSteps, Record, chunks
from sottovoce.models.griffin_lim import StreamingGriffinLim
from sottovoce.models.lowered import lower
from sottovoce.models.resident import Resident
from sottovoce.models.streaming import State, Streaming
from sottovoce.models.weight_file import WEIGHTS, CheckpointError

from .admission import HEARD
from .batch_engine import BatchEngine, describe
from .engine import KINDS, Kind
from .errors import UsageError, WeightsError
from .torch_talk import TorchTalk

TorchDtype = Literal["float32", "float16", "bfloat16"]


class TorchEngine(BatchEngine):
    """One codec for ``rows`` streams."""

    def __init__(
        self,
        preset: str = "base",
        rows: int = 1,
        threads: int = 1,
        vocoder: Literal["neural", "griffin-lim"] | None = None,
        weights: Path | None = None,
        device: str = "cpu",
        dtype: TorchDtype = "float32",
        *,
        codec: Codec | None = None,
        record: Record | None = None,
    ) -> None:
        """Loads the weights and takes every step once, so that the first frame is as quick as the others.

        Args:
            preset: which codec.
            rows: how many streams at once.
            threads: of torch, for the whole process; one is best for single frames.
            vocoder: None takes the neural one where its weights are there.
            weights: folder of the weight files; None: those of the package.
            device: ``cpu``, ``cuda`` or ``cuda:1`` and so on.
            dtype: of decoder and vocoder; the encoder is always float32, so that codes are everywhere the same.
            codec: one that is in memory already, in place of loading ``preset``; it is moved and lowered.
            record: what makes steps of fixed shapes; None: CUDA graphs on a GPU, and no fixed shapes on the processor.

        Raises:
            WeightsError: the weights are missing, unreadable or do not fit.
            UsageError: there is no such device, or it cannot do what is asked for.
        """
        self.device = find_device(device)
        if codec is None:
            try:
                codec = load_codec(preset, WEIGHTS if weights is None else weights, vocoder)
            except CheckpointError as error:
                raise WeightsError(f"cannot load the weights of {preset}: {error}") from error
        on_gpu = self.device.type != "cpu"
        if isinstance(codec.vocoder, StreamingGriffinLim) and (on_gpu or dtype != "float32"):
            raise UsageError("Griffin-Lim runs on the processor in float32 alone: leave out --device and --dtype")
        torch.set_num_threads(threads)
        super().__init__(describe(codec.preset, codec.model_hash, codec.delay), rows)
        if dtype != "float32":
            lower(codec, getattr(torch, dtype))
        self._preset, self._record = codec.preset, record
        if on_gpu and record is None:
            self._record = CudaRecorder(self.device)
        models: dict[Kind, Streaming] = {
            "mel": codec.mel,
            "encode": codec.encoder,
            "decode": codec.decoder,
            "vocode": codec.vocoder,
        }
        for module in (codec.mel, codec.net, codec.vocoder):
            if isinstance(module, torch.nn.Module):
                module.to(self.device)
        with torch.inference_mode():
            self._residents = {kind: Resident(_Facing(kind, model), rows) for kind, model in models.items()}
            self._captured: dict[tuple[Kind, tuple[int, ...]], Step] = {}
            self._fixed: dict[Kind, FixedSteps] = {}
            self._warm_up()

    @property
    def device_name(self) -> str:
        """As its maker calls it; ``cpu`` for the processor."""
        return "cpu" if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)

    @property
    def row_bytes(self) -> int:
        """What a stream keeps between two steps."""
        return sum(resident.row_bytes for resident in self._residents.values())

    def make_talker(self, path: Path) -> TorchTalk:
        """The talker of a weight file for this codec, on the same device and with as many rows.

        Raises:
            CheckpointError: its weights are missing, unreadable or do not fit.
        """
        return TorchTalk.load(path, self._preset, self._descriptor.model_hash, self.rows, self.device, self._record)

    @torch.inference_mode()
    def _run(self, kind: Kind, rows: list[int], data: NDArray[Any]) -> NDArray[Any]:
        if kind in self._fixed:
            steps, length = self._fixed[kind], self._frame_length(kind)
            answers: list[NDArray[Any]] = []
            at = 0
            n_frames = data.shape[1] // length
            for n in chunks(n_frames) if kind in HEARD else [1] * n_frames:  # frame by frame no cut changes a code
                answers.append(steps(rows, data[:, at : at + n * length], n))
                at += n * length
            return answers[0] if len(answers) == 1 else np.concatenate(answers, axis=1)
        resident, x, index = self._residents[kind], torch.from_numpy(data), torch.tensor(rows)
        step: Step = self._captured.get((kind, data.shape), resident.pure)
        answer, following = step(x, tuple(part.index_select(0, index) for part in resident.states))
        resident.put(index, following)
        result: NDArray[Any] = answer.numpy()
        return result

    def _frame(self, kind: Kind, n: int) -> Tensor:
        """Silence of ``n`` frames of one row, as ``kind`` takes it."""
        width = {"mel": (), "decode": (self._descriptor.books,)}.get(kind, (self._descriptor.n_mels,))
        dtype = torch.int16 if kind == "decode" else torch.float32
        return torch.zeros(1, n * self._frame_length(kind), *width, dtype=dtype, device=self.device)

    @torch.inference_mode()
    def _reset(self, row: int, kind: Kind) -> None:
        self._residents[kind].reset(row)

    def _warm_up(self) -> None:
        """The first call of a model allocates and chooses kernels; nobody should wait for that.

        Live sound comes frame by frame; what is spoken is made sound a few frames at a time. On the processor it captures the
        steps that almost every call is: one row, one such chunk.
        """
        for kind in reversed(KINDS):  # the largest first: they share their memory
            resident = self._residents[kind]
            frames = CHUNKS if kind in HEARD else (1,)
            if self._record is not None:
                self._fixed[kind] = FixedSteps(resident, lambda n, kind=kind: self._frame(kind, n), self._record)  # type: ignore[misc]
                self._fixed[kind].warm_up(frames)
                continue
            nobody = torch.tensor([resident.nobody])
            for n in frames:
                x = self._frame(kind, n)
                resident.step(x, nobody)
                states = tuple(part.index_select(0, nobody) for part in resident.states)
                self._captured[kind, tuple(x.shape)] = capture(resident.pure, x, states)


class _Facing:
    """A model as the engine calls it: time is axis 1, codes are int16."""

    def __init__(self, kind: Kind, inner: Streaming) -> None:
        self._kind, self._inner = kind, inner

    @property
    def delay(self) -> int:
        return self._inner.delay

    def initial_state(self, batch: int) -> State:
        return self._inner.initial_state(batch)

    def __call__(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self._kind == "decode":
            x = x.long()
        elif self._kind != "mel":
            x = x.transpose(1, 2).contiguous()  # [R, M, t]
        y, state = self._inner(x, state)
        if self._kind in ("mel", "decode"):
            y = y.transpose(1, 2)  # [R, t, M]
        elif self._kind == "encode":
            y = y.to(torch.int16)
        return y.contiguous(), state


def find_device(name: str) -> torch.device:
    """The device ``name``. Raises UsageError: there is none of that name here."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"there is no device {name!r}; choose cpu, cuda or cuda:N") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise UsageError(f"there is no device {name!r}; choose cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else f" (torch {torch.__version__} is built without CUDA)"
        raise UsageError(f"--device {name}: there is no CUDA GPU here{built}; leave out --device")
    index, n = device.index or 0, torch.cuda.device_count()
    if index >= n:
        raise UsageError(f"--device {name}: there are {n} GPUs here, counted from 0")
    return torch.device("cuda", index)
