"""Post-training quantization of one ONNX graph."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import TYPE_CHECKING

import onnx

from f2edge.errors import CompileError, MissingExtraError
from f2edge.quantize.policy import POLICIES

try:
    import nncf
    from nncf.common.quantization.structs import QuantizationScheme
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters
except ImportError as error:
    raise MissingExtraError("nncf", "int8") from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from f2edge.calibration.recorder import Records
    from f2edge.quantize.policy import Policy


def quantize(source: Path, destination: Path, records: Records) -> None:
    """Quantize the graph of a component, named by the file's stem, as its policy says.

    Activations are symmetric and per tensor: TensorRT's parser refuses non-zero zero points, and NNCF would take the
    rows of a channels-last map for its channels.

    Args:
        source: the float graph.
        destination: the ``.onnx`` to write, its weights beside it.
        records: samples of the graph's inputs.

    Raises:
        CompileError: NNCF cannot quantize the graph.
    """
    policy = POLICIES[source.stem]
    model = onnx.load(source)
    with _quiet():
        try:
            quantized = _activations(model, policy, records, source.stem) if policy.activations else _weights(model)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CompileError(f"NNCF cannot quantize the {source.stem} graph: {reason}") from error
    onnx.save(
        quantized, destination, save_as_external_data=True, location=f"{destination.name}.data", size_threshold=1024
    )


def _activations(model: onnx.ModelProto, policy: Policy, records: Records, component: str) -> onnx.ModelProto:
    samples = records.samples(component)
    advanced = AdvancedQuantizationParameters(
        activations_quantization_params=QuantizationParameters(mode=QuantizationScheme.SYMMETRIC, per_channel=False)
    )
    advanced.smooth_quant_alphas.matmul = policy.smooth_quant
    return nncf.quantize(  # type: ignore[no-any-return]
        model,
        nncf.Dataset(samples, records.load),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
        ignored_scope=nncf.IgnoredScope(types=list(policy.float_types), validate=False),
        advanced_parameters=advanced,
    )


def _weights(model: onnx.ModelProto) -> onnx.ModelProto:
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNCF writes tables and bars to stdout, where results belong."""
    logger = logging.getLogger("nncf")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
