"""The contenders: label, the class that opens each, and the artefacts that it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artefacts import Cache
    from measuring import Contender
    from workload import Workload

PRECISIONS = ("fp32", "fp16", "int8")
_INPUTS = ("photographs", "checkpoint")


@dataclass(frozen=True)
class Entry:
    """One contender.

    Args:
        label: its name in tables and charts.
        opens: the class that opens it, as "module:class".
        artefacts: artefacts in the cache that it needs; they are made before any process is started.
        options: further keyword arguments of the class.
    """

    label: str
    opens: str
    artefacts: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def open(self, workload: Workload, cache: Cache) -> Contender:
        """Open the contender; its module, and with it its engine, is imported only here."""
        module, name = self.opens.split(":")
        contender: Contender = getattr(import_module(module), name)(workload, cache, **self.options)
        return contender


def _torch(label: str, dtype: str, *, compiled: bool = False) -> Entry:
    options = {"dtype": dtype, "compiled": compiled}
    return Entry(f"transformers, torch {label}", "transformers_model:TransformersModel", _INPUTS, options)


def _bundle(label: str, bundle: str) -> Entry:
    return Entry(label, "f2edge_bundle:Bundle", (*_INPUTS, bundle), {"bundle": bundle})


ENTRIES = {
    "limits": Entry("the machine's limits", "machine_limits:MachineLimits"),
    "torch-fp32": _torch("fp32", "float32"),
    "torch-bf16": _torch("bf16", "bfloat16"),
    "torch-compile": _torch("bf16, torch.compile", "bfloat16", compiled=True),
    "notebook": Entry("OpenVINO notebook's way", "notebook_way:NotebookWay", (*_INPUTS, "notebook")),
    "onnxruntime-fp32": _bundle("ONNX Runtime fp32", "onnx-fp32"),
    "onnxruntime-fp16": _bundle("ONNX Runtime fp16", "onnx-fp16"),
    "onnxruntime-int8": _bundle("ONNX Runtime INT8", "onnx-int8"),
    "onnxruntime-uncalibrated": _bundle("ONNX Runtime INT8, uncalibrated", "onnx-uncalibrated"),
    "ctranslate2": Entry("CTranslate2 INT8 (decoder)", "ctranslate2_decoder:CTranslate2Decoder", ("ctranslate2",)),
    "f2edge-fp32": _bundle("f2edge fp32", "cpu-fp32"),
    "f2edge-fp16": _bundle("f2edge fp16", "cpu-fp16"),
    "f2edge-bf16": _bundle("f2edge bf16", "cpu-bf16"),
    "f2edge-int8": _bundle("f2edge INT8", "cpu-int8"),
    "f2edge-uncalibrated": _bundle("f2edge INT8, uncalibrated", "cpu-uncalibrated"),
    "process": Entry(
        "f2edge INT8, a new process",
        "fresh_process:FreshProcess",
        ("photographs", "cpu-int8"),
        {"bundle": "cpu-int8"},
    ),
}
"""Contenders of ``make bench`` by name, in the order of their turns."""

GROWING = {
    f"growing-{precision}": Entry(
        f"f2edge {precision}", "growing:Growing", (*_INPUTS, f"cpu-{precision}"), {"bundle": f"cpu-{precision}"}
    )
    for precision in PRECISIONS
}
"""Contenders of ``make bench-curves`` for tokens, beams, prompts and images."""


def scaled(bundle: str) -> Entry:
    """Return the contender that times a caption of one bundle, for curves over image size and threads."""
    return Entry(bundle, "growing:Scaled", (*_INPUTS, bundle), {"bundle": bundle})


def embedded(what: str) -> Entry:
    """Return the contender of ``embed.py`` for "torch", "BUNDLE@batches" or "BUNDLE@turns"."""
    if what == "torch":
        return Entry("transformers, torch fp32", "embedding:BatchedGenerate", _INPUTS, {"dtype": "float32"})
    bundle, kind = what.split("@")
    opens = {"batches": "embedding:Batches", "turns": "embedding:Turns"}[kind]
    return Entry(f"{bundle}, {kind}", opens, (*_INPUTS, bundle), {"bundle": bundle})


def entry(name: str) -> Entry:
    """Return a contender by name.

    Args:
        name: a key of :data:`ENTRIES` or :data:`GROWING`; "embedded-" and what :func:`embedded` takes; or
            "scaled-BUNDLE", optionally followed by "@" and a suffix that tells several contenders with the same bundle
            apart.
    """
    if name.startswith("embedded-"):
        return embedded(name.removeprefix("embedded-"))
    if name.startswith("scaled-"):
        return scaled(name.removeprefix("scaled-").split("@")[0])
    return {**ENTRIES, **GROWING}[name]
