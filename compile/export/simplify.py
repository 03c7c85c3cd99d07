"""Simplify a graph that torch has exported: fold constants, and merge nodes that undo or repeat each other.

This is what ``torch.onnx.export(optimize=True)`` does, but only with the rules that apply to the graphs of Florence-2.
One of the other rules (two slices become a split) lists all nodes for every node: its time grows with their square.
"""

from __future__ import annotations

from onnxscript import ir, optimizer
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

_ROUNDS = 2
_RULES = (
    *rules.mul_by_1_rule.commute(),
    rules.collapse_slice_rule,
    rules.materialize_reshape_shape_rule,
    rules.reshape_reshape_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.squeeze_reshape_1d_rule,
)


def simplify(model: ir.Model) -> None:
    """Simplify a graph in place."""
    passes = ir.passes.common
    passes.InlinePass()(model)
    for _ in range(_ROUNDS):
        optimizer.fold_constants(model, onnx_shape_inference=True)
        RewritePass(_RULES)(model)
        passes.RemoveUnusedNodesPass()(model)
    _tidy(model)


def _tidy(model: ir.Model) -> None:
    """Turn constants into initializers, and keep one of nodes and initializers that are equal."""
    passes = ir.passes.common
    cleaning = ir.passes.Sequential(
        passes.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
        passes.RemoveUnusedOpsetsPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.OutputFixPass(),
        passes.NameFixPass(),
    )
    cleaning(model)
