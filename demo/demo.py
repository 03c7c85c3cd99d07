"""The main job on the embedded checkpoint: compile it for the CPU, ask about unseen scenes, measure the latency.

python demo/demo.py [--out demo/out]
"""

from __future__ import annotations

import argparse
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
from scenes import make_scene

import f2edge
from f2edge.draw import draw

if TYPE_CHECKING:
    from questions import Question
    from scenes import Scene

HERE = Path(__file__).resolve().parent
UNSEEN_SEED = 2000
SCENES = 4
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
    """A table of what was asked, what the model said and what would have been right."""
    table = Table("task", "about", "answer", "truth", title=title, title_justify="left", box=None)
    for question, result in zip(questions, results, strict=True):
        about = question.text if question.region is None else str([round(v) for v in question.region])
        table.add_row(question.task.lower(), about, plain(result.text), plain(question.answer))
    console.print(table)


def plain(text: str) -> str:
    """The answer without begin and end tokens; a run of location tokens as its numbers, a long one cut short."""

    def numbers(run: re.Match[str]) -> str:
        bins = re.findall(r"\d+", run.group())
        return f" [{' '.join(bins[:SHOWN])}{' ...' if len(bins) > SHOWN else ''}] "

    return re.sub(r"(<loc_\d+>)+", numbers, text.replace("<s>", "").replace("</s>", "")).strip()


def picture_of(scene: Scene, questions: list[Question], results: list[f2edge.Result]) -> Image.Image:
    """Boxes, mask and word drawn into one scene each, side by side."""
    drawn = [
        draw(scene.image, result) for question, result in zip(questions, results, strict=True) if question.task in DRAWN
    ]
    return Image.fromarray(np.hstack([np.asarray(picture) for picture in drawn]))


def main() -> None:
    """Compile, ask, draw, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "out")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    bundle = out / "demo.cpu"
    command("compile", HERE / "checkpoint", "-o", bundle, "--force")
    model, console = f2edge.load(bundle), Console(width=None if sys.stdout.isatty() else 140)
    rows = []
    for index in range(SCENES):
        scene = make_scene(UNSEEN_SEED, index)
        questions = ask(scene, np.random.default_rng(index))
        results = answer(model, scene, questions)
        show(console, f"scene {index} of seed {UNSEEN_SEED}", questions, results)
        rows.append(picture_of(scene, questions, results))
    stack(rows).save(out / "answers.png")
    console.print(f"drawn: {out / 'answers.png'}")
    with (out / "latency.json").open("w", encoding="utf-8") as report:
        command("bench", bundle, "--task", "od", "--runs", "20", "--html", out / "latency.html", stdout=report)


def stack(rows: list[Image.Image]) -> Image.Image:
    """Pictures of different sizes below each other."""
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


if __name__ == "__main__":
    main()
