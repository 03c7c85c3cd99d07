"""Measure how well a bundle answers about unseen scenes, with the product's own runtime and metrics.

Usage: ``python demo/evaluate.py BUNDLE [--count 500] [--seed 3000] [--device CPU] [--json]``

For scenes written by ``demo/scenes.py``, ``f2edge eval BUNDLE --data DIR`` gives the same numbers and more.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from questions import ask as ask_about
from scenes import make_scene

import f2edge
from f2edge.arrays import hull
from f2edge.evaluation import Sample, ask, score
from f2edge.evaluation.jsonl import parse_question
from f2edge.evaluation.overlap import box_iou

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from f2edge.evaluation import Run
    from f2edge.evaluation.asking import Model

EVALUATION_SEED = 3000
MEASURES = {
    ("<CAPTION>", "exact_match"): "caption_exact",
    ("<OD>", "ap50"): "od_map50",
    ("<CAPTION_TO_PHRASE_GROUNDING>", "recall_at_1"): "grounding_recall1",
    ("<REFERRING_EXPRESSION_SEGMENTATION>", "mean_iou"): "segmentation_miou",
    ("<REGION_TO_CATEGORY>", "accuracy"): "category_accuracy",
    ("<OCR>", "cer"): "ocr_cer",
    ("<OCR_WITH_REGION>", "cer"): "ocr_region_cer",
    ("<DETAILED_CAPTION>", "exact_match"): "detailed_caption_exact",
    ("<MORE_DETAILED_CAPTION>", "exact_match"): "more_detailed_caption_exact",
    ("<DENSE_REGION_CAPTION>", "ap50"): "dense_caption_map50",
    ("<REGION_PROPOSAL>", "box_recall"): "proposal_recall",
    ("<OPEN_VOCABULARY_DETECTION>", "box_f1"): "open_vocabulary_f1",
    ("<REGION_TO_DESCRIPTION>", "exact_match"): "description_exact",
    ("<REGION_TO_SEGMENTATION>", "mean_iou"): "region_miou",
    ("<REGION_TO_OCR>", "cer"): "region_ocr_cer",
}


def samples(count: int, seed: int) -> Iterator[Sample]:
    """Yield scenes 0 to `count` - 1 of a seed, with the questions that `scenes.py` writes."""
    for index in range(count):
        scene = make_scene(seed, index)
        questions = ask_about(scene, np.random.default_rng([seed, index, 1]))
        yield Sample(f"scene {index}", scene.image, tuple(parse_question(asdict(q)) for q in questions))


def evaluate(model: Model, count: int, seed: int) -> dict[str, float]:
    """Ask all questions about scenes 0 to `count` - 1 of a seed; return all measures, between 0 and 1.

    Only the error rates may exceed 1.
    """
    run = ask(model, samples(count, seed))
    measured = {(row.task, row.metric.key): row.estimates[0].value for row in score([run], resamples=0)}
    return {name: measured[key] for key, name in MEASURES.items()} | {"ocr_region_iou": _quad_overlap(run)}


def _quad_overlap(run: Run) -> float:
    """Return the mean IoU of the upright boxes around the word and around the first line that was read."""
    asked = [one for one in run.answers.values() if one.question.quads]
    pairs = [(one.result.quads[0] if one.result.quads else (), one.question.quads[0]) for one in asked]
    return float(np.mean([box_iou(_hull(answer), hull(truth)) for answer, truth in pairs])) if pairs else 0.0


def _hull(quad: Sequence[float]) -> tuple[float, ...]:
    """Return the upright box around a quad, if there is one."""
    return hull(quad) if quad else ()


def report(scores: Mapping[str, float]) -> str:
    """Return one line for each measure."""
    return "\n".join(f"{name:20s}{value:8.3f}" for name, value in scores.items())


def main() -> int:
    """Run the command line: BUNDLE [--count N] [--seed S] [--device D] [--json]."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=EVALUATION_SEED)
    parser.add_argument("--device")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        model = f2edge.load(arguments.bundle, arguments.device)
    except f2edge.F2EdgeError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    scores = evaluate(model, arguments.count, arguments.seed)
    print(json.dumps(scores) if arguments.json else report(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
