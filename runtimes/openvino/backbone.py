"""Run a backbone bundle with OpenVINO.

A graph that leaves the size of its pictures open is compiled for each size that comes: the kernels of fixed sizes are
those of the vision tower, faster than kernels of open sizes, and free of their faults (docs/traps.md).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from f2edge.bundle.manifest import BACKBONE, sha256
from f2edge.bundle.writing import MANIFEST
from f2edge.errors import MissingExtraError
from f2edge.runtimes.openvino.devices import WEIGHTS, check_device
from f2edge.runtimes.openvino.pages import release_mapped_pages
from f2edge.runtimes.openvino.runtime import translated

try:
    import openvino as ov

    from f2edge.runtimes.openvino.loading import LoadPlan, compile_graphs
except ImportError as error:
    raise MissingExtraError("openvino", "openvino") from error

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray
    from f2edge.bundle.levels import FeatureMaps
    from f2edge.bundle.manifest import Bundle
    from f2edge.placement import Placement

_TOWER = "vision"
"""A backbone is compiled as the tower of a bundle that answers."""
KEPT_SIZES = 2
"""Compiled graphs that stay in memory, those of the sizes that were used last: each has its weights in the layout of
its kernels, 390 MB at base size in fp32."""


def open_backbone(bundle: Bundle, placement: Placement) -> OpenVINOBackbone:
    """Prepare a backbone bundle on a device; the graph of a size is compiled when its first picture comes.

    Raises:
        DeviceError: OpenVINO does not see the device, or cannot compile the graph for it.
    """
    assert bundle.backbone
    check_device(ov.Core(), placement.vision)
    manifest = bundle.path / MANIFEST
    plan = LoadPlan(
        graphs={_TOWER: bundle.file(BACKBONE)},
        placement=placement,
        compute={_TOWER: bundle.components[BACKBONE].compute},
        bundle_hash=sha256(manifest) if manifest.is_file() else None,
    )
    return OpenVINOBackbone(plan, bundle.backbone)


class OpenVINOBackbone:
    """The contract of :class:`f2edge.engine.BackboneRuntime` over models compiled for the sizes that come.

    Args:
        plan: how the graph is compiled.
        maps: what it gives.
    """

    def __init__(self, plan: LoadPlan, maps: FeatureMaps) -> None:
        self.device = plan.placement.vision
        self._plan = plan
        self._maps = maps
        self._requests: OrderedDict[tuple[int, int], ov.InferRequest] = OrderedDict()
        self._turn = Lock()
        if maps.image_size:
            self._request(maps.image_size)

    @property
    def threads(self) -> int | None:
        """Number of threads of the CPU plugin; None on other devices, and before a graph is compiled."""
        with self._turn:
            compiled = [request.get_compiled_model() for request in self._requests.values()]
        try:
            return int(compiled[-1].get_property("INFERENCE_NUM_THREADS")) if compiled else None
        except RuntimeError:
            return None

    @translated()
    def maps(self, pixel_values: FloatArray) -> dict[str, FloatArray]:
        """Compute the maps of pixels (1, 3, H, W), one picture after the other."""
        height, width = pixel_values.shape[2:]
        results = {
            level.name: np.empty((1, level.num_chs, height // level.reduction, width // level.reduction), np.float32)
            for level in self._maps.feature_info
        }
        tensors = {"pixel_values": np.ascontiguousarray(pixel_values), **results}
        with self._turn:
            request = self._request((height, width))
            for name, array in tensors.items():
                request.set_tensor(name, ov.Tensor(array, shared_memory=True))
            request.infer(share_outputs=True)
        return results

    def _request(self, size: tuple[int, int]) -> ov.InferRequest:
        """Return the request for a size, compiled if it is not among the last ones."""
        request = self._requests.pop(size, None) or self._compiled(size)
        self._requests[size] = request
        while len(self._requests) > KEPT_SIZES:
            self._requests.popitem(last=False)
        return request

    def _compiled(self, size: tuple[int, int]) -> ov.InferRequest:
        open_size = None if self._maps.image_size else size
        compiled = compile_graphs(replace(self._plan, image_size=open_size))[_TOWER]
        release_mapped_pages(self._plan.graphs[_TOWER].with_name(WEIGHTS))  # fixed sizes: the weights are laid out
        return compiled.create_infer_request()
