"""Quantize one ONNX graph after training, with NNCF."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
from functools import partial
from typing import TYPE_CHECKING

import onnx

from f2edge.bundle.writing import whole_file
from f2edge.errors import CompileError, MissingExtraError
from f2edge.machine.telemetry import without_telemetry
from f2edge.quantize.blocks import PRODUCTS, block_of, keep_float
from f2edge.quantize.pieces import PIECE_BYTES, Cutter, extract, infer_types, join
from f2edge.quantize.policy import POLICIES
from f2edge.quantize.relay import Relay
from f2edge.quantize.tables import look_up_in_int8
from f2edge.runtimes.onnxruntime.loading import load_graph

try:
    with without_telemetry():
        import nncf
    from nncf.common.quantization.structs import QuantizationScheme
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
        QuantizationParameters,
    )
except ImportError as error:
    raise MissingExtraError("nncf", "int8") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from f2edge.calibration.recorder import Inputs, Records
    from f2edge.quantize.pieces import Piece
    from f2edge.quantize.policy import Kind, Policy, WeightFormat

_GROUP_SIZE = 64
"""Weights that share one INT4 scale: the width of an attention head, which divides the width of every layer."""
_BLOCKS_OPSET = 21
"""The first opset whose DequantizeLinear takes blocks; below it NNCF writes an operator of ONNX Runtime."""


def quantize(
    component: str,
    source: Path,
    records: Records | None,
    directory: Path,
    *,
    weights: WeightFormat = "int8",
    progress: Callable[[int, int], None] = lambda _done, _count: None,
    limit: int = PIECE_BYTES,
) -> onnx.ModelProto:
    """Quantize the graph of a component by its policy.

    Activations are symmetric and per tensor: the parser of TensorRT refuses non-zero zero points, and NNCF would take
    the rows of a channels-last map for its channels.

    Args:
        component: the component, which names the policy.
        source: the file of the float graph.
        records: samples of the inputs of the graph; without them only weights are quantized.
        directory: where pieces of the graph and their inputs are kept until the end.  After an interruption the same
            call goes on with what is there.
        weights: the format of the weights, if the policy quantizes weights only.
        progress: called with the number of pieces that are done, and of all.
        limit: the size of the pieces in bytes, see :func:`f2edge.quantize.pieces.Cutter.pieces`.

    Raises:
        CompileError: NNCF cannot quantize the graph.
    """
    policy = POLICIES[component]
    with _quiet():
        try:
            if policy.activations and records:
                return _activations(source, policy, Relay(records, component, directory), progress, limit)
            model = onnx.load(source)
            quantized = _linear_weights(model, policy) if policy.activations else _weights(model, weights)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CompileError(f"NNCF cannot quantize the {component} graph: {reason}") from error
    look_up_in_int8(quantized.graph)
    return quantized


def _activations(
    source: Path, policy: Policy, relay: Relay, progress: Callable[[int, int], None], limit: int
) -> onnx.ModelProto:
    """Quantize a graph piece by piece; the float pieces turn the inputs of each into those of the next."""
    model = onnx.shape_inference.infer_shapes(onnx.load(source, load_external_data=False))
    floats = {node.name for node in model.graph.node if _kinds(node, model.graph).intersection(policy.float_kinds)}
    types = infer_types(model, relay.load(relay.samples(0)[0]))
    pieces = Cutter(model.graph, types, floats).pieces(limit)
    files = [relay.directory / f"{number:03}.onnx" for number in range(len(pieces))]
    for number, (piece, file) in enumerate(zip(pieces, files, strict=True)):
        progress(number, len(pieces))
        part = partial(extract, model, piece, source.parent)
        if not file.is_file():
            _write(_quantized_piece(part, piece, policy, floats, relay, number), file)
        if number + 1 < len(pieces) and not files[number + 1].is_file():
            later = {name for other in pieces[number + 1 :] for name in other.inputs}
            relay.advance(number, load_graph(part().SerializeToString()), later)
        gc.collect()  # NNCF's graphs refer to themselves
    return join(model, map(onnx.load, files))


def _write(model: onnx.ModelProto, path: Path) -> None:
    with whole_file(path) as file:
        file.write_bytes(model.SerializeToString())


def _quantized_piece(
    part: Callable[[], onnx.ModelProto],
    piece: Piece,
    policy: Policy,
    floats: Collection[str],
    relay: Relay,
    number: int,
) -> onnx.ModelProto:
    products = [node for node in piece.nodes if node.op_type in PRODUCTS and node.name not in floats]
    if all(block_of(node.name) in policy.float_blocks for node in products):
        return part()

    def load(path: Path) -> Inputs:
        inputs = relay.load(path)
        return {name: inputs[name] for name in piece.inputs}

    samples = relay.samples(number)
    advanced = AdvancedQuantizationParameters(
        activations_quantization_params=QuantizationParameters(mode=QuantizationScheme.SYMMETRIC, per_channel=False)
    )
    # The fix halves the range of a graph's first quantized layer, and each piece has a first one.
    advanced.overflow_fix = OverflowFix.DISABLE
    advanced.smooth_quant_alphas.matmul = policy.smooth_quant
    quantized = nncf.quantize(
        part(),  # which NNCF may change
        nncf.Dataset(samples, load),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
        ignored_scope=nncf.IgnoredScope(names=sorted(floats), types=list(policy.float_types), validate=False),
        advanced_parameters=advanced,
    )
    return keep_float(quantized, part(), policy.float_blocks)  # SmoothQuant scales what is in an ignored scope, too


def _kinds(node: onnx.NodeProto, graph: onnx.GraphProto) -> set[Kind]:
    """Return the kinds of a matrix product or a convolution, as policies name them."""
    constants = {tensor.name for tensor in graph.initializer}
    if node.op_type == "MatMul" and not constants.intersection(node.input):
        return {"attention"}
    if node.op_type != "Conv":
        return set()
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    stem = node.input[0] in {value.name for value in graph.input}
    return {kind for kind, applies in (("depthwise", groups > 1), ("stem", stem)) if applies}  # type: ignore[misc]


def _weights(model: onnx.ModelProto, weights: WeightFormat) -> onnx.ModelProto:
    if weights == "int8":
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)  # type: ignore[no-any-return]
    model.opset_import[0].version = max(model.opset_import[0].version, _BLOCKS_OPSET)
    mode = nncf.CompressWeightsMode.INT4_SYM
    rest = nncf.BackupMode.INT8_SYM  # tables and head
    return nncf.compress_weights(model, mode=mode, group_size=_GROUP_SIZE, backup_mode=rest)  # type: ignore[no-any-return]


def _linear_weights(model: onnx.ModelProto, policy: Policy) -> onnx.ModelProto:
    """Quantize the weights of linear layers, whose activations engines can round as they come.

    Convolutions stay float: engines would widen their weights again.
    """
    floats = [node.name for node in model.graph.node if block_of(node.name) in policy.float_blocks]
    scope = nncf.IgnoredScope(names=floats, types=["Conv", *policy.float_types], validate=False)
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=scope)  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence NNCF, which writes tables and progress bars to stdout, where results belong."""
    logger = logging.getLogger("nncf")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
