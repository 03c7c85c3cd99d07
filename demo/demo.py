"""The main job on the embedded checkpoint: compile it for the CPU, ask about unseen scenes, compare fp32 and INT8.

python demo/demo.py [--out demo/out]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image
from questions import ask
from rich.console import Console
from rich.table import Table
from scenes import make_scene, write_scenes

import f2edge
from f2edge.draw import draw

if TYPE_CHECKING:
    from questions import Question
    from scenes import Scene

HERE = Path(__file__).resolve().parent
UNSEEN_SEED = 2000
CALIBRATION_SEED = 4000
CALIBRATION_SCENES = 128
MEASURED_SCENES = 60
SCENES = 4
STAGES = ("preprocess", "vision", "encoder", "first_token", "per_token", "total")
SHOWN = 4
DRAWN = ("OD", "REFERRING_EXPRESSION_SEGMENTATION", "OCR_WITH_REGION")


def command(*arguments: str | Path, stdout: IO[str] | None = None) -> None:
    """Run ``f2edge`` as a user would; its results go to ``stdout``, its tables to stderr."""
    subprocess.run([sys.executable, "-m", "f2edge", *map(str, arguments)], check=True, stdout=stdout)  # noqa: S603


def answer(model: f2edge.Florence2, scene: Scene, questions: list[Question]) -> list[f2edge.Result]:
    """Encode the picture once and ask everything about it."""
    encoded = model.encode(scene.image)
    return [encoded.run(q.task, q.text if q.text and q.region is None else None, region=q.region) for q in questions]


def show(console: Console, title: str, questions: list[Question], results: list[f2edge.Result]) -> None:
    """Print a table of the questions, the model's answers and the true answers."""
    table = Table("task", "about", "answer", "truth", title=title, title_justify="left", box=None)
    for question, result in zip(questions, results, strict=True):
        about = question.text if question.region is None else str([round(v) for v in question.region])
        table.add_row(question.task.lower(), about, plain(result.text), plain(question.answer))
    console.print(table)


def plain(text: str) -> str:
    """Return an answer without begin and end tokens; runs of location tokens become numbers, and long ones are cut."""

    def numbers(run: re.Match[str]) -> str:
        bins = re.findall(r"\d+", run.group())
        return f" [{' '.join(bins[:SHOWN])}{' ...' if len(bins) > SHOWN else ''}] "

    return re.sub(r"(<loc_\d+>)+", numbers, text.replace("<s>", "").replace("</s>", "")).strip()


def picture_of(scene: Scene, questions: list[Question], results: list[f2edge.Result]) -> Image.Image:
    """Draw the located boxes, mask and word, each into its own copy of the scene, side by side."""
    drawn = [
        draw(scene.image, result)
        for question, result in zip(questions, results, strict=True)
        if question.task in DRAWN and (result.boxes or result.polygons or result.quads)
    ]
    return Image.fromarray(np.hstack([np.asarray(picture) for picture in drawn]))


def compile_bundles(out: Path) -> dict[str, Path]:
    """Compile the checkpoint in fp32, and in INT8 calibrated on scenes drawn for that."""
    write_scenes(out / "calibration", CALIBRATION_SCENES, CALIBRATION_SEED)
    bundles = {precision: out / f"demo.{precision}" for precision in ("fp32", "int8")}
    for precision, bundle in bundles.items():
        options = ["--calibration", out / "calibration"] if precision == "int8" else []
        command("compile", HERE / "checkpoint", "-o", bundle, "--precision", precision, "--force", *options)
    return bundles


def show_answers(console: Console, bundle: Path, picture: Path) -> None:
    """Print the answers about a few unseen scenes, and save a picture of what was located in them."""
    model = f2edge.load(bundle)
    rows = []
    for index in range(SCENES):
        scene = make_scene(UNSEEN_SEED, index)
        questions = ask(scene, np.random.default_rng(index))
        results = answer(model, scene, questions)
        show(console, f"scene {index} of seed {UNSEEN_SEED}, answered by {bundle.name}", questions, results)
        rows.append(picture_of(scene, questions, results))
    stack(rows).save(picture)
    console.print(f"drawn: {picture}")


def compare(console: Console, bundles: dict[str, Path], out: Path) -> None:
    """Print metrics, size and latency of the bundles side by side."""
    write_scenes(out / "scenes", MEASURED_SCENES, UNSEEN_SEED)
    command("eval", *bundles.values(), "--data", out / "scenes")
    table = Table("bundle", "MiB", *STAGES, title="median milliseconds, 3 beams", title_justify="left", box=None)
    for precision, bundle in bundles.items():
        report = out / f"latency.{precision}.json"
        with report.open("w", encoding="utf-8") as file:
            page = out / f"latency.{precision}.html"
            command("bench", bundle, "--task", "od", "--runs", "20", "--html", page, stdout=file)
        stages = json.loads(report.read_text(encoding="utf-8"))["stages_ms"]
        size = f2edge.open_bundle(bundle).size_bytes / 2**20
        table.add_row(bundle.name, f"{size:.1f}", *(f"{stages[stage]['p50']:.1f}" for stage in STAGES))
    console.print(table)


def main() -> None:
    """Compile the checkpoint, ask about scenes, draw the answers, and measure both bundles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "out")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 140)
    bundles = compile_bundles(out)
    show_answers(console, bundles["int8"], out / "answers.png")
    compare(console, bundles, out)


def stack(rows: list[Image.Image]) -> Image.Image:
    """Return pictures of different sizes one below the other."""
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


if __name__ == "__main__":
    main()
