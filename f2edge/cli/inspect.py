"""``f2edge inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from f2edge.bundle.manifest import open_bundle
from f2edge.cli.options import bundle_argument, json_option
from f2edge.cli.output import print_fields, print_json, print_table
from f2edge.cli.tables import print_components, print_levels, print_quantization, print_verified, total_size
from f2edge.geometry import STRIDE
from f2edge.lines import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle


@click.command("inspect")
@bundle_argument
@json_option
def command(*, bundle: Path, as_json: bool) -> None:
    """Check the files of BUNDLE and show its contents."""
    opened = open_bundle(bundle)
    if as_json:
        print_json({**opened.to_json(), "size_bytes": opened.size_bytes})
        return
    geometry = _backbone if opened.backbone else _geometry
    print_fields([*_recipe(opened), *geometry(opened), *_rest(opened)])
    click.echo()
    print_components(opened)
    click.echo()
    print_levels(opened.backbone) if opened.backbone else _print_golden(opened)
    if opened.verified:
        click.echo()
        click.echo(one_line(f"verified where it was compiled, on {opened.verified.device}:"))
        print_verified(opened.verified)
    print_quantization(opened.quantization)


def _recipe(bundle: Bundle) -> list[tuple[str, str]]:
    recipe = bundle.recipe
    rounded = "as they come, without calibration" if recipe.calibrated is False else "calibrated on pictures"
    int8 = "int8" in recipe.precision.values()
    return [
        ("bundle", f"{bundle.path}, {total_size(bundle)}"),
        ("checkpoint", recipe.checkpoint),
        *[("adapter", f"{adapter.name}, weight {adapter.weight:g}") for adapter in recipe.adapters],
        ("target", f"{recipe.target}: {recipe.runtime} on {recipe.device}"),
        *([("INT8", f"activations {rounded}")] if int8 else []),
    ]


def _geometry(bundle: Bundle) -> list[tuple[str, str]]:
    sizes = bundle.geometry
    height, width = sizes.image_size
    settings = bundle.generation
    return [
        ("image", f"{height}x{width} pixels, {sizes.num_image_tokens} tokens"),
        _vision(bundle),
        ("text", f"width {sizes.d_model}, {sizes.encoder_layers}+{sizes.decoder_layers} layers"),
        ("vocabulary", f"{sizes.vocab_size} tokens"),
        ("limits", f"prompt {sizes.max_prompt_tokens} tokens, answer {sizes.decoder_positions} tokens"),
        ("defaults", f"{settings.num_beams} beams, at most {settings.max_new_tokens} new tokens"),
    ]


def _backbone(bundle: Bundle) -> list[tuple[str, str]]:
    size = bundle.backbone and bundle.backbone.image_size
    image = f"{size[0]}x{size[1]} pixels" if size else f"any height and width in multiples of {STRIDE} pixels"
    return [("image", image), _vision(bundle)]


def _vision(bundle: Bundle) -> tuple[str, str]:
    sizes = bundle.geometry.vision
    return "vision", f"widths {_list(sizes.embed_dim)}, depths {_list(sizes.depths)}"


def _rest(bundle: Bundle) -> list[tuple[str, str]]:
    return [
        ("made with", ", ".join(f"{tool} {version}" for tool, version in bundle.tools.items())),
        ("files", f"all {len(bundle.hashes())} match their SHA-256"),
    ]


def _print_golden(bundle: Bundle) -> None:
    rows = [
        (case.task, str(case.num_beams), str(len(case.prompt_ids)), str(len(case.token_ids))) for case in bundle.golden
    ]
    print_table(("golden case", "beams", "prompt tokens", "answer tokens"), rows)


def _list(values: tuple[int, ...]) -> str:
    return "-".join(map(str, values))
