"""The memory that a compilation needs, told and checked before the weights are turned into fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.errors import CompileError
from f2edge.machine import memory_mib

if TYPE_CHECKING:
    from collections.abc import Callable

_MIB = 2**20
_GB = 1e9
_WORTH_TELLING = 2 * _GB
"""From this need on the user is told; smaller models fit every machine that compiles."""
_LIBRARIES = {True: 1.0 * _GB, False: 0.7 * _GB}
"""Bytes that do not depend on the weights, for INT8 and for other precisions: libraries, and tensors of one picture."""
_COPIES = 2.25
"""How often the weights are in memory in fp32 at the peak: in the reference model, and in what is made of them.
docs/compile.md has the measurements behind these numbers."""
_PIECE = 1.7 * _GB
"""The most bytes that quantizing one piece of a graph takes."""
_PIECE_COPIES = 10
"""The same for small models, as a multiple of their weights in fp32."""


def needed_memory(parameters: int, *, int8: bool) -> float:
    """Return the peak memory of a compilation in bytes.

    It hardly depends on the number of pictures to calibrate on, or on the target.

    Args:
        parameters: the number of weights.
        int8: whether graphs are quantized.
    """
    weights = 4 * parameters
    piece = min(_PIECE, _PIECE_COPIES * weights) if int8 else 0
    return _LIBRARIES[int8] + _COPIES * weights + piece


def check_memory(parameters: int, *, int8: bool, notice: Callable[[str], None]) -> None:
    """Tell how much memory a compilation needs, and stop it if this process may not take so much.

    Args:
        parameters: the number of weights.
        int8: whether graphs are quantized.
        notice: called with one line, unless the model is small.

    Raises:
        CompileError: the machine, or the limit of the container, has less.
    """
    needed, available = needed_memory(parameters, int8=int8), memory_mib()
    task = f"compiling {parameters / 1e6:,.0f} million weights{' to INT8' if int8 else ''} needs about"
    there = None if available is None else available * _MIB
    if there is not None and there < needed:
        raise CompileError(
            f"{task} {needed / _GB:.1f} GB of memory, and this process may take {there / _GB:.1f} GB: "
            f"use a machine or a container with more{_less(parameters, int8=int8, there=there)}"
        )
    if needed >= _WORTH_TELLING:
        has = "" if there is None else f"; this process may take {there / _GB:.1f} GB"
        notice(f"{task} {needed / _GB:.1f} GB of memory{has}")


def _less(parameters: int, *, int8: bool, there: float) -> str:
    """Return what else the user can do."""
    other = needed_memory(parameters, int8=False)
    return f", or `precision` fp16, which needs {other / _GB:.1f} GB" if int8 and other <= there else ""
