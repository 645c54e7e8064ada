"""Building ONNX graphs, one node after the other; the layers are in ``onnx_layers.py``.

A step reads every weight once and does little else: on a processor it is as fast as memory. Hence ``dtype`` "int8", in which
the large matrices take a quarter of the bytes. What is left is dozens of small operations, each of which finds the caches
filled with weights and costs some microseconds whatever it does: a scale or an offset is worked into a neighbour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from .weight_file import CheckpointError

Dtype = Literal["float32", "int8"]
OPSET = 20  # the first with Gelu
IN_PLACE = "in_place"  # key of the model's metadata
EXTRA = "com.microsoft"  # ONNX Runtime's own operators: those of int8
INT8_BLOCK = 32  # weights that share a scale; at 128 what a row says depends on how many step with it
INT8_PRODUCTS = 4  # products of int8 with int8, summed in int32
END = 2**31  # of any axis
IR_VERSION = 10  # readable by runtimes of 2024
NORM_EPSILON = 1e-5  # of torch's LayerNorm


class Weights:
    """Tensors of a file by name, under a prefix."""

    def __init__(
        self, path: Path, tensors: Mapping[str, NDArray[Any]], prefix: str = "", left: set[str] | None = None
    ) -> None:
        self._path, self._tensors, self._prefix = path, tensors, prefix
        self._left = set(tensors) if left is None else left

    def __call__(self, name: str, *shape: int) -> NDArray[np.float32]:
        """The tensor ``name``. Raises CheckpointError: the file lacks it, or it has another shape."""
        name = self._prefix + name
        found = self._tensors.get(name)
        if found is None:
            raise CheckpointError(self._path, f"missing {name}")
        if found.shape != shape:
            raise CheckpointError(self._path, f"wrong shape of {name}: {found.shape}, not {shape}")
        self._left.discard(name)
        return found

    def under(self, prefix: str) -> "Weights":
        """Those of a part."""
        return Weights(self._path, self._tensors, f"{self._prefix}{prefix}.", self._left)

    def check_all_used(self, but: str = "") -> None:
        """Raises CheckpointError: there are more than were asked for, those whose name ends with ``but`` aside."""
        unexpected = sorted(name for name in self._left if not (but and name.endswith(but)))
        if unexpected:
            raise CheckpointError(self._path, f"unexpected {unexpected[:3]}")


class Graph:
    """Nodes, constants, inputs and outputs; every method returns the name of what it added."""

    def __init__(self, name: str, dtype: Dtype = "float32") -> None:
        """``dtype``: of the matrices that `matmul` multiplies with; everything else is float32."""
        self.name, self.dtype = name, dtype
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._named: dict[str, str] = {}
        self._states = 0
        self._in_place: list[str] = []
        self._batch: str | None = None

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One operation with one output."""
        (name,) = self.nodes(operator, *inputs, outputs=1, **attributes)
        return name

    def nodes(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """One operation with several outputs."""
        names = [f"v{len(self._nodes)}" + (f".{i}" if i else "") for i in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def split(self, x: str, parts: int, axis: int) -> list[str]:
        """``x`` in equal parts along ``axis``."""
        return [x] if parts == 1 else self.nodes("Split", x, outputs=parts, axis=axis, num_outputs=parts)

    def slice(self, x: str, first: int, last: int) -> str:
        """``x[:, first:last]``."""
        return self.node("Slice", x, self.integers(first), self.integers(last), self.integers(1))

    def last(self, x: str, n: int) -> str:
        """``x[:, -n:]``."""
        return self.slice(x, -n, END)

    def matmul(self, x: str, matrix: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> str:
        """x [..., K] times ``matrix`` [K, N], plus ``bias`` [N].

        In int8 the weights of a block of a column share a scale, and so do the numbers of a block of a row of ``x``: rows stay
        independent of each other (LLM.int8(), arXiv 2208.07339, has the idea; ONNX Runtime's MatMulNBits the kernel).
        """
        if self._in_int8(matrix):
            return self._matmul_int8(x, matrix, bias)
        y = self.node("MatMul", x, self.constant(matrix))
        return y if bias is None else self.node("Add", y, self.constant(bias))

    def affine(self, x: str, matrix: NDArray[np.float32], plus: NDArray[np.float32] | str) -> str:
        """x [N, K] times ``matrix`` [K, M], plus a bias [M] or a value [N, M], in one operation where there is one."""
        if not self._in_int8(matrix):
            return self.node("Gemm", x, self.constant(matrix), plus if isinstance(plus, str) else self.constant(plus))
        if isinstance(plus, str):
            return self.node("Add", self._matmul_int8(x, matrix), plus)
        return self._matmul_int8(x, matrix, plus)

    def _in_int8(self, matrix: NDArray[np.float32]) -> bool:
        return self.dtype == "int8" and len(matrix) % INT8_BLOCK == 0

    def _matmul_int8(self, x: str, matrix: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> str:
        depth, width = matrix.shape
        whole, scales = _blocks_of_int8(matrix)
        shape = {"K": depth, "N": width, "bits": 8, "block_size": INT8_BLOCK, "accuracy_level": INT8_PRODUCTS}
        y = self.node("MatMulNBits", x, self.constant(whole), self.constant(scales), domain=EXTRA, **shape)
        return y if bias is None else self.node("Add", y, self.constant(bias))

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def index(self, value: int) -> str:
        """One number without an axis: to pick an element and drop the axis it was on."""
        return self.constant(np.array(value, np.int64))

    def input(self, name: str, *shape: int | str, dtype: int = onnx.TensorProto.FLOAT) -> str:
        """An input [B, *shape]; a name in place of a number leaves that length open."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))
        return name

    @property
    def batch(self) -> str:
        """How many rows there are, as integers [1]."""
        if self._batch is None:
            self._batch = self.node("Shape", self._inputs[0].name, start=0, end=1)
        return self._batch

    def output(self, value: str, name: str, *shape: int | str, dtype: int = onnx.TensorProto.FLOAT) -> None:
        """Give out ``value`` [B, *shape], which a node made, as ``name``."""
        if self._named.setdefault(value, name) != name:  # it is given out already
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))

    def state(self, *shape: int, in_place: bool = False) -> "State":
        """A state [B, *shape] that the caller keeps from step to step, zeros at first.

        ``in_place``: one node alone reads it, and can write what follows over it (`IN_PLACE` of the model's metadata has their
        names). A caller may give both the same memory.
        """
        index, self._states = self._states, self._states + 1
        if in_place:
            self._in_place.append(f"past{index}")
        return State(self, self.input(f"past{index}", *shape), f"next{index}", shape)

    def build(self) -> onnx.ModelProto:
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [self._named.get(name, name) for name in names]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._constants)
        domains = {"": OPSET, EXTRA: 1} if self.dtype == "int8" else {"": OPSET}
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        helper.set_model_props(model, {IN_PLACE: " ".join(self._in_place)})
        return model


def _blocks_of_int8(matrix: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Of [K, N]: whole numbers 128 + (-127 ... 127) [N, K / block, block], and what a one of each block is worth."""
    depth, width = matrix.shape
    blocks = matrix.T.reshape(width, depth // INT8_BLOCK, INT8_BLOCK)
    scales = np.abs(blocks).max(-1) / 127
    whole = np.rint(blocks / np.where(scales > 0, scales, 1)[..., None]) + 128
    return whole.astype(np.uint8), scales.astype(np.float32)


@dataclass(frozen=True, slots=True)
class State:
    """One state: its value before the step, and where the value after it goes."""

    graph: Graph
    past: str
    following: str
    shape: tuple[int, ...]

    def becomes(self, value: str) -> None:
        self.graph.output(value, self.following, *self.shape)
