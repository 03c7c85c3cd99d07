"""Run a backbone bundle with ONNX Runtime, which takes pictures of any size into one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.bundle.manifest import BACKBONE
from f2edge.errors import DeviceError, MissingExtraError
from f2edge.machine import default_threads, has_vnni
from f2edge.runtimes.onnxruntime.runtime import check_placed

try:
    from f2edge.runtimes.onnxruntime import cuda
    from f2edge.runtimes.onnxruntime.graph import HOST, first_line
    from f2edge.runtimes.onnxruntime.loading import CPU, open_graph, options_for
except ImportError as error:
    raise MissingExtraError("onnxruntime", "onnx") from error

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray
    from f2edge.bundle.manifest import Bundle
    from f2edge.placement import Placement
    from f2edge.runtimes.onnxruntime.graph import Graph

_TOWER = "vision"
"""A backbone has the options of the tower of a bundle that answers."""


def open_backbone(bundle: Bundle, placement: Placement) -> OnnxBackbone:
    """Load a backbone bundle on the CPU, or on an NVIDIA GPU.

    Raises:
        DeviceError: the device is not here or does not run it, or ONNX Runtime cannot load the graph.
    """
    device, threads = placement.vision, placement.threads or default_threads()
    check_placed(device, BACKBONE, bundle)
    if cuda.is_gpu(device):
        cuda.load_libraries()
    options = options_for(_TOWER, threads, unsigned_weights=not has_vnni())
    try:
        graph = open_graph(bundle.file(BACKBONE), options, device)
    except DeviceError:
        raise
    except Exception as error:
        raise DeviceError(f"ONNX Runtime cannot load the graph in {bundle.path}: {first_line(error)}") from error
    return OnnxBackbone(graph, device, threads if device == CPU else None)


class OnnxBackbone:
    """The contract of :class:`f2edge.engine.BackboneRuntime` over a session of ONNX Runtime.

    Args:
        graph: the loaded graph.
        device: where it runs.
        threads: the number of CPU threads that it computes with; None on a GPU.
    """

    def __init__(self, graph: Graph, device: str, threads: int | None) -> None:
        self.device = device
        self.threads = threads
        self._graph = graph

    def maps(self, pixel_values: FloatArray) -> dict[str, FloatArray]:
        """Compute the maps of pixels (1, 3, H, W)."""
        outputs = self._graph.run({"pixel_values": self._graph.memory.value(pixel_values)}, HOST)
        return {name: value.numpy() for name, value in outputs.items()}
