"""Steps as CUDA graphs: some four hundred small operations become one launch."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_WARM_UP = 3  # cuBLAS and cuFFT choose kernels and take workspaces in the first calls, which no graph may hold


class CudaRecorder:
    """Makes the records of `fixed_step.Record` on one device.

    All graphs share one pool of memory: they run one after the other on one stream, and the answer of each is fetched before
    the next begins.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()
        self._aside = torch.cuda.Stream(device)  # one for all: cuBLAS has a workspace for each
        gc.collect()  # graphs of an engine that nobody has any more hold memory of the device

    def __call__(self, step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Runs ``step`` a few times, captures it, and gives its replay and its answer."""
        aside = self._aside
        aside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                step()
        torch.cuda.current_stream(self._device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": what other threads do on the device meanwhile (an engine is one thread's) does not break it.
        with (
            _no_collection(),
            torch.cuda.graph(graph, pool=self._pool, stream=aside, capture_error_mode="thread_local"),
        ):
            answer = step()
        return graph.replay, answer


@contextmanager
def _no_collection() -> Iterator[None]:
    """The collector may find graphs of another engine, and no graph may be destroyed while one is captured."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
