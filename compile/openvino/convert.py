"""Convert ONNX graphs to OpenVINO IR, with the keys and values of the decoder as state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import openvino as ov

from f2edge.compile.openvino.layout import convert
from f2edge.compile.openvino.stateful import make_stateful
from f2edge.errors import CompileError

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.quantize.onnx_files import WeightFile

_INTEGERS = {"i8", "u8", "i4", "u4"}
_FLOAT_READERS = {"Convolution", "GroupConvolution", "Gather", "Add", "MatMul"}
_LARGE = 1024  # elements
_COUNTED = re.compile(r"[A-Z][A-Za-z]*_\d+")
"""Names that OpenVINO makes up, with a number that depends on everything it did before in the process."""


def compile_openvino(
    onnx: Path, destination: Path, weights: WeightFile, *, decoder_layers: int, fp16: bool
) -> list[Path]:
    """Convert one graph to IR.

    Args:
        onnx: the graph; its stem names the component.
        destination: the ``.xml`` to write.
        weights: where its weights go.
        decoder_layers: the number of decoder layers.
        fp16: store the weights in half precision.

    Returns:
        The files written, the ``.xml`` first.

    Raises:
        CompileError: OpenVINO cannot convert the graph, or cannot write it.
    """
    try:
        model = convert(onnx, destination.parent)
        if onnx.stem == "decoder":
            make_stateful(model, decoder_layers)
    except RuntimeError as error:
        raise CompileError(f"OpenVINO cannot convert the {onnx.stem} graph: {_last_line(error)}") from error
    if fp16:
        _store_tables_in_half(model)
    try:
        ov.save_model(model, destination, compress_to_fp16=fp16)
    except RuntimeError as error:
        raise CompileError(
            f"OpenVINO cannot write {destination.name} ({_last_line(error)}); see whether the disk is full"
        ) from error
    ports = {name for port in (*model.inputs, *model.outputs) for name in port.get_names()}
    _move_weights(destination, weights, ports)
    return [destination, weights.path]


def _store_tables_in_half(model: ov.Model) -> None:
    """Store large float constants of a quantized graph in fp16; OpenVINO itself does so for float graphs only.

    Scales stay as they are: other operators read them, or look-ups in a vector.
    """
    operations = model.get_ordered_ops()
    if not any(_is_quantized(node) for node in operations):
        return
    for node in operations:
        readers = {reader.get_node().get_type_name() for reader in node.output(0).get_target_inputs()}
        if node.get_type_name() != "Constant" or (readers == {"Gather"} and len(node.shape) == 1):
            continue
        if readers <= _FLOAT_READERS and _is_large_float(node):
            half = ov.opset13.constant(node.data.astype(np.float16))
            node.output(0).replace(ov.opset13.convert(half, "f32").output(0))


def _is_quantized(node: ov.Node) -> bool:
    """Tell whether a node rounds activations, or holds weights in integers."""
    if node.get_type_name() != "Constant":
        return bool(node.get_type_name() == "FakeQuantize")
    return node.get_element_type().get_type_name() in _INTEGERS and bool(np.prod(node.shape) >= _LARGE)


def _is_large_float(constant: ov.Node) -> bool:
    if constant.get_element_type() != ov.Type.f32 or np.prod(constant.shape) < _LARGE:
        return False
    return bool(np.abs(constant.data).max() <= np.finfo(np.float16).max)


def _move_weights(path: Path, weights: WeightFile, ports: set[str]) -> None:
    """Move the constants into the common file, and rename the layers so that names depend on the graph alone.

    Only inputs and outputs (``ports``) keep the names of their tensors.
    """
    own = path.with_suffix(".bin")
    data, tree = own.read_bytes(), ET.parse(path)  # noqa: S314
    for layer in tree.iter("layer"):
        if _COUNTED.fullmatch(layer.attrib["name"]):
            layer.attrib["name"] = f"{layer.attrib['type']}.{layer.attrib['id']}"
        place = layer.find("data")
        if layer.attrib["type"] == "Const" and place is not None:
            start, size = int(place.attrib["offset"]), int(place.attrib["size"])
            place.attrib["offset"] = str(weights.store(data[start : start + size]))
    for port in tree.iterfind(".//input/port"):  # the outputs that they come from tell type and shape
        port.attrib.pop("precision", None)
        port[:] = []
    for port in tree.iter("port"):
        if not ports.intersection(port.attrib.get("names", "").split(",")):
            port.attrib.pop("names", None)
    for element in tree.iter():  # a third of the file is indentation
        element.text, element.tail = (element.text or "").strip() or None, None
    tree.write(path, encoding="utf-8", xml_declaration=True)
    own.unlink()


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
