"""x + depthwise convolution(x) as one convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

from f2edge.compile.onnxruntime.residual import fold_residuals
from tests.support.onnx_graphs import kinds, make_model, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

HEIGHT, WIDTH, CHANNELS = 5, 4, 6
RNG = np.random.default_rng(0)


def block(
    *, convolution_first: bool = False, added: str = "x", first: Sequence[int] = (0, 3, 1, 2), **attributes: Any
) -> onnx.ModelProto:
    """Return tokens + their depthwise convolution, in the exporter's nodes.

    Args:
        convolution_first: the order of the terms of the sum.
        added: what is added to the convolution.
        first: the order of (1, height, width, channels) for the convolution.
        attributes: in place of those of the model's convolutions.
    """
    settings = {"group": CHANNELS, "pads": [1, 1, 1, 1], "strides": [1, 1], "dilations": [1, 1]} | attributes
    terms = ["tokens", added] if convolution_first else [added, "tokens"]
    nodes = [
        helper.make_node("Neg", ["x"], ["other"]),
        helper.make_node("Reshape", ["x", "map"], ["m"]),
        helper.make_node("Transpose", ["m"], ["first"], perm=first),
        helper.make_node("Conv", ["first", "kernel", "bias"], ["c"], **settings),
        helper.make_node("Transpose", ["c"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "rows"], ["tokens"]),
        helper.make_node("Add", terms, ["sum"]),
        helper.make_node("Neg", ["sum"], ["y"]),
    ]
    return make_model(
        nodes,
        [HEIGHT * WIDTH, CHANNELS],
        map=np.array([1, HEIGHT, WIDTH, CHANNELS]),
        rows=np.array([-1, CHANNELS]),
        kernel=RNG.standard_normal((CHANNELS, CHANNELS // settings["group"], 3, 3)).astype(np.float32),
        bias=RNG.standard_normal(CHANNELS).astype(np.float32),
    )


@pytest.mark.parametrize("convolution_first", [False, True])
def test_the_sum_is_part_of_the_kernel(convolution_first: bool) -> None:
    """The sum is gone, and the result is the same but for rounding."""
    model, x = block(convolution_first=convolution_first), RNG.standard_normal((HEIGHT * WIDTH, CHANNELS))
    expected = run(model, x.astype(np.float32), plain=True)
    fold_residuals(model)
    assert kinds(model) == {"Reshape": 2, "Transpose": 2, "Conv": 1, "Neg": 1}
    np.testing.assert_allclose(run(model, x.astype(np.float32)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"group": 1}, {"group": 2}, {"added": "other"}, {"pads": [2, 2, 0, 0]}, {"first": (0, 3, 2, 1)}]
)
def test_other_sums_stay(changes: dict[str, Any]) -> None:
    """A kernel for several channels, another term, a map that is shifted or turned: the sum stays."""
    model = block(**changes)
    fold_residuals(model)
    assert kinds(model)["Add"] == 1
