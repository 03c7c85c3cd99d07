"""``f2edge compile``."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from f2edge.bundle.writing import MANIFEST
from f2edge.cli.completion import complete_path
from f2edge.cli.failure import with_options
from f2edge.cli.options import PATH, POSITIVE, budget_callback, json_option, levels_callback, lora_callback
from f2edge.cli.output import print_fields, print_json, print_note, progress_bar
from f2edge.cli.tables import component_size, print_components, print_quantization, print_verified, total_size
from f2edge.errors import CompileError, MissingExtraError
from f2edge.targets import TARGETS, get_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.bundle.manifest import Bundle, Graph
    from f2edge.targets import PrecisionOption

_PACKAGES = ("torch", "onnx", "onnxscript", "safetensors", "huggingface_hub")
DEFAULT_BUDGET = 0.01
_TERMINATED = 128 + signal.SIGTERM


@click.command("compile")
@click.argument("checkpoint", shell_complete=complete_path)
@click.option("-o", "--output", metavar="BUNDLE", required=True, type=PATH, help="Directory of the new bundle.")
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    default="cpu",
    show_default=True,
    help="Device to compile for; f2edge targets lists all.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16", "int8", "auto"]),
    help="Precision of all components; by default that of the target. bf16 is for CPUs that compute in it; "
    "auto searches for the fastest mix.",
)
@click.option(
    "--calibration",
    metavar="DIR",
    type=PATH,
    help="Folder of pictures to calibrate INT8 on, or a data set as for eval; cpu and onnx do without.",
)
@click.option(
    "--decoder-weights",
    type=click.Choice(["int8", "int4"]),
    default="int8",
    show_default=True,
    help="Format of the decoder's weights in an INT8 bundle.",
)
@click.option(
    "--budget",
    metavar="PERCENT",
    callback=budget_callback,
    help="With --precision auto: the largest loss of any task metric to accept; 1% by default.",
)
@click.option("--report", is_flag=True, help="Measure and show what each block costs in INT8.")
@click.option(
    "--stages", metavar="DIR", type=PATH, help="Keep finished stages here, and reuse those whose inputs are the same."
)
@click.option(
    "--image-size",
    metavar="N",
    type=POSITIVE,
    help="Side of the square input in pixels; by default that of the checkpoint.",
)
@click.option(
    "--max-new-tokens",
    metavar="N",
    type=POSITIVE,
    help="Length of the longest answer; by default that of the checkpoint.",
)
@click.option(
    "--num-beams", metavar="N", type=POSITIVE, help="Largest number of beams, for targets of fixed shapes (npu)."
)
@click.option(
    "--compute-capability",
    "compute_capabilities",
    metavar="N",
    type=POSITIVE,
    multiple=True,
    help="Compute capability of a GPU that an rtx engine runs on, 86 for 8.6; may be repeated. By default all.",
)
@click.option(
    "--lora",
    metavar="DIR[:WEIGHT]",
    multiple=True,
    callback=lora_callback,
    shell_complete=complete_path,
    help="LoRA adapter to merge into the weights, as peft saves it, and the factor of its changes; may be repeated.",
)
@click.option(
    "--graph",
    type=click.Choice(["answers", "backbone"]),
    default="answers",
    show_default=True,
    help="What the bundle gives: answers, or the feature maps of the vision tower for a detector of yours.",
)
@click.option(
    "--levels",
    metavar="N,N",
    callback=levels_callback,
    help="With --graph backbone: the stages whose maps are wanted, such as 2,3,4; by default all.",
)
@click.option("--revision", metavar="R", help="Branch, tag or commit of a hub id; by default its main branch.")
@click.option("--force", is_flag=True, help="Replace a bundle that is there already.")
@json_option
def command(
    *,
    checkpoint: str,
    output: Path,
    target: str,
    precision: str | None,
    calibration: Path | None,
    decoder_weights: str,
    budget: float | None,
    report: bool,
    stages: Path | None,
    image_size: int | None,
    max_new_tokens: int | None,
    num_beams: int | None,
    compute_capabilities: tuple[int, ...],
    lora: list[tuple[Path, float]],
    graph: Graph,
    levels: tuple[int, ...],
    revision: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compile CHECKPOINT, a directory or a hub id, into a bundle."""
    _check_checkpoint(checkpoint)
    chosen, wanted = get_target(target), _quantized(precision)
    if budget is not None and precision != "auto":
        raise CompileError("`budget` goes with `precision` auto")
    destination = Path(os.path.abspath(output))  # noqa: PTH100 - resolve() would follow a link, which is refused
    _check_packages(wanted, target)
    with _clean_exit():
        from f2edge.compile.build import build, steps_of
        from f2edge.compile.options import Listener, Lora, Options

        options = Options(
            target=chosen,
            precision=wanted,
            image_size=image_size,
            max_new_tokens=max_new_tokens,
            calibration=calibration,
            decoder_weights=decoder_weights,  # type: ignore[arg-type]
            compute_capabilities=compute_capabilities,
            stages=stages,
            num_beams=num_beams,
            budget=(DEFAULT_BUDGET if budget is None else budget) if precision == "auto" else None,
            report=report,
            revision=revision,
            lora=tuple(Lora(*adapter) for adapter in lora),
            graph=graph,
            levels=levels,
        )
        with progress_bar(len(steps_of(options))) as bar:
            listener = Listener(bar, detail=bar.detail, notice=_print_notice)
            bundle = build(checkpoint, destination, options, force=force, listener=listener)
    _print_json(bundle) if as_json else _print(bundle)


def _check_checkpoint(checkpoint: str) -> None:
    if (Path(checkpoint) / MANIFEST).is_file():
        raise CompileError(f"{checkpoint} is a bundle, compiled already; compile the checkpoint that it was made from")


def _quantized(precision: str | None) -> PrecisionOption | None:
    """Return the precision to quantize to: auto mixes INT8 with float blocks."""
    return "int8" if precision == "auto" else precision  # type: ignore[return-value]


def _check_packages(precision: PrecisionOption | None, target: str) -> None:
    """If a package of the build side is missing, name the extra to install before any work is done."""
    wanted = dict.fromkeys(_PACKAGES, "compile") | ({"nncf": "int8"} if precision == "int8" else {})
    wanted |= {"tensorrt_rtx": "rtx"} if target == "rtx" else {}
    for package, extra in wanted.items():
        if find_spec(package) is None:
            raise MissingExtraError(package, extra)


def _print_notice(text: str) -> None:
    print_note(with_options(text, command))


@contextmanager
def _clean_exit() -> Iterator[None]:
    """Let SIGTERM unwind the stack once, so that no unfinished files are left behind."""

    def leave(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        sys.exit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(bundle: Bundle) -> None:
    print_fields([("bundle", str(bundle.path)), ("size", total_size(bundle))])
    click.echo()
    print_components(bundle)
    click.echo()
    if bundle.verified:
        print_verified(bundle.verified)
    print_quantization(bundle.quantization)


def _print_json(bundle: Bundle) -> None:
    manifest: dict[str, Any] = bundle.to_json()
    components = {
        name: {"precision": component.precision, "size_bytes": component_size(bundle, name)}
        for name, component in bundle.components.items()
    }
    print_json(
        {
            "path": str(bundle.path),
            "size_bytes": bundle.size_bytes,
            "recipe": manifest["recipe"],
            "components": components,
            "verified": manifest["verified"],
            "quantization": manifest["quantization"],
        }
    )
