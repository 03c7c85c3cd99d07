"""Limits of this machine, measured through OpenVINO: rates of matrix products in fp32, bf16 and INT8; bandwidth."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from measuring import Contender, Samples, timed

if TYPE_CHECKING:
    from artefacts import Cache
    from workload import Workload

    from f2edge.arrays import FloatArray

_PRODUCTS = 16
_REPEATS = 3
_LARGE = 2**28
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


class MachineLimits(Contender):
    """Rates of large products in GFLOP/s (INT8: GOP/s), with the shapes of the tower's third stage; reading in GB/s."""

    def __init__(self, workload: Workload, _cache: Cache) -> None:
        geometry = workload.geometry
        side = geometry.image_size[0] // 16
        self._shape = (side * side, geometry.vision.embed_dim[2])
        precisions = {name: hint for name, hint in _HINTS.items() if hint == "f32" or _has_bf16()}
        self._products = {
            name: _compiled(_chain(*self._shape, int8=name == "int8"), h) for name, h in precisions.items()
        }
        size = _LARGE if workload.name == "base" else 2**20
        self._memory = np.ones(size // 4, np.float32)
        width = 4096 if workload.name == "base" else 256
        self._gemv = _compiled(_gemv(width, size // 4 // width), "f32")
        self._vector = np.ones((1, width), np.float32)
        self.details = {"kernels": {name: _kernels(model) for name, model in self._products.items()}}

    def warm_up(self) -> None:
        """Measure one round."""
        self.measure()

    def measure(self) -> Samples:
        """Measure each rate three times."""
        rows, width = self._shape
        work = _PRODUCTS * 2 * rows * width * 4 * width
        inputs = np.random.default_rng(0).standard_normal((rows, width)).astype(np.float32)
        samples = {f"gemm_{name}_gflops": _rates(work, model, inputs) for name, model in self._products.items()}
        size = self._memory.nbytes
        samples["read_openvino_gbs"] = _rates(size, self._gemv, self._vector)
        samples["read_numpy_gbs"] = [size / 1e6 / timed(self._sum) for _ in range(_REPEATS)]
        return samples

    def _sum(self) -> None:
        threads = len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(np.sum, np.array_split(self._memory, threads)))


def _rates(work: int, model: Any, inputs: FloatArray) -> list[float]:
    """Return rates in billions of operations, or bytes, per second; ``work`` is the amount of one run."""
    return [work / 1e6 / timed(lambda: model(inputs, share_inputs=True)) for _ in range(_REPEATS)]


def _has_bf16() -> bool:
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _compiled(model: ov.Model, hint: str) -> Any:
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    return ov.Core().compile_model(model, "CPU", options)


def _chain(rows: int, width: int, *, int8: bool) -> ov.Model:
    """Build a chain of products as in feed-forward layers, from C to 4C channels and back, with nothing between."""
    given = ops.parameter([rows, width], ov.Type.f32)
    rng, x = np.random.default_rng(0), given
    for index in range(_PRODUCTS):
        sizes = (4 * width, width) if index % 2 == 0 else (width, 4 * width)
        weights = ops.constant(rng.standard_normal(sizes).astype(np.float32) / sizes[1] ** 0.5)
        if int8:
            x, weights = _fake_quantize(x), _fake_quantize(weights)
        x = ops.matmul(x, weights, transpose_a=False, transpose_b=True)
    return ov.Model([x], [given])


def _fake_quantize(values: ov.Node) -> ov.Node:
    """Quantize symmetrically to 8 bits, which makes the plugin choose INT8 kernels."""
    low, high = ops.constant(np.float32(-4)), ops.constant(np.float32(4 * 127 / 128))
    return ops.fake_quantize(values, low, high, low, high, 256)


def _gemv(width: int, rows: int) -> ov.Model:
    """Build the product of a vector with a matrix that is much larger than the processor's caches."""
    given = ops.parameter([1, width], ov.Type.f32)
    weights = ops.constant(np.full((rows, width), 0.5, np.float32))
    return ov.Model([ops.matmul(given, weights, transpose_a=False, transpose_b=True)], [given])


def _kernels(model: Any) -> list[str]:
    """Return the names of the kernels that compute the products, as evidence of the precision."""
    nodes = model.get_runtime_model().get_ordered_ops()
    info = [node.get_rt_info() for node in nodes]
    products = [i for i in info if i["layerType"].astype(str) in {"FullyConnected", "MatMul"}]
    return sorted({f"{i['primitiveType'].astype(str)} {i['runtimePrecision'].astype(str)}" for i in products})
