"""How many tokens of the embedded checkpoint's answers are the same in half precision as in fp32.

    python benchmarks/half_tokens.py --scenes 200 --output benchmarks/results/half_tokens.json

Both run in ONNX Runtime on the CPU; the half precision graphs, which TensorRT builds its engines from, with the result
of every node rounded to fp16 (compile/rounded.py).  A token agrees where both answers have it at the same place.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demo"))

if TYPE_CHECKING:
    from questions import Question

    import f2edge

SEED = 2000


def models(directory: Path) -> tuple[f2edge.Florence2, f2edge.Florence2]:
    """The embedded checkpoint in fp32, and the same graphs in half precision."""
    import f2edge
    from f2edge.compile.build import build
    from f2edge.compile.half import to_half
    from f2edge.compile.options import Options
    from f2edge.compile.rounded import to_rounded
    from f2edge.runtimes.onnxruntime import load_graphs
    from f2edge.targets import get_target

    bundle = build(ROOT / "demo" / "checkpoint", directory / "fp32", Options(get_target("onnx"), "fp32"))
    narrow = {}
    for name in bundle.components:
        half, *_ = to_half(bundle.file(name), directory / f"{name}.half.onnx")
        narrow[name], *_ = to_rounded(half, directory / f"{name}.onnx")
    exact = f2edge.load(bundle.path)
    return exact, f2edge.Florence2(bundle, load_graphs(narrow), exact.tokenizer)


def answers(model: f2edge.Florence2, index: int) -> list[f2edge.Result]:
    """Everything that can be asked about one unseen scene."""
    from questions import ask
    from scenes import make_scene

    scene = make_scene(SEED, index)
    encoded = model.encode(scene.image)
    return [encoded.run(q.task, _text(q), region=q.region) for q in ask(scene, np.random.default_rng(index))]


def _text(question: Question) -> str | None:
    return question.text if question.text and question.region is None else None


def compare(scenes: int) -> dict[str, Any]:
    """Token agreement over so many scenes."""
    with tempfile.TemporaryDirectory() as scratch:
        exact, narrow = models(Path(scratch))
        pairs = [
            pair for index in range(scenes) for pair in zip(answers(exact, index), answers(narrow, index), strict=True)
        ]
    tokens = sum(max(len(a.token_ids), len(b.token_ids)) for a, b in pairs)
    agreeing = sum(x == y for a, b in pairs for x, y in zip(a.token_ids, b.token_ids, strict=False))
    same = [pair for pair in pairs if pair[0].token_ids == pair[1].token_ids]
    worst = max(float(np.abs(np.subtract(a.token_logprobs, b.token_logprobs)).max()) for a, b in same)
    return {
        "scenes": scenes,
        "answers": len(pairs),
        "identical_answers": len(same),
        "tokens": tokens,
        "agreeing": agreeing,
        "share": agreeing / tokens,
        "worst_logprob_difference_of_identical_answers": worst,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--output", type=Path, help="write the JSON here as well")
    arguments = parser.parse_args()
    text = json.dumps(compare(arguments.scenes), indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
