"""Measure the accuracy that half precision costs the embedded checkpoint: task metrics and token agreement with fp32.

    python benchmarks/half_precision.py --scenes 200 --output benchmarks/results/half_precision.json

Both models run in ONNX Runtime on the CPU.  The half-precision graphs are those that TensorRT engines are built from,
with the result of every fp16 node rounded to fp16 (compile/tensorrt/rounded.py).  A token agrees if both answers have
it at the same position.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demo"))

if TYPE_CHECKING:
    import f2edge

SEED = 2000


def models(directory: Path, stages: Path | None) -> dict[str, f2edge.Florence2]:
    """Return the embedded checkpoint in fp32 and its graphs in half precision, by name."""
    import f2edge
    from f2edge.compile.build import build
    from f2edge.compile.options import Options
    from f2edge.compile.tensorrt.half import to_half
    from f2edge.compile.tensorrt.rounded import to_rounded
    from f2edge.runtimes.onnxruntime.runtime import load_graphs
    from f2edge.targets import get_target
    from f2edge.tokenizer import Tokenizer

    options = Options(get_target("jetson"), "fp32", stages=stages)
    bundle = build(ROOT / "demo" / "checkpoint", directory / "fp32", options)
    graphs = {name: bundle.file(name) for name in bundle.components}
    narrow = {}
    for name, graph in graphs.items():
        half, *_ = to_half(graph, directory / f"{name}.half.onnx")
        narrow[name], *_ = to_rounded(half, directory / f"{name}.onnx")
    tokenizer = Tokenizer.from_file(bundle.path / "tokenizer.json")
    versions = {"fp32": graphs, "fp16": narrow}
    return {name: f2edge.Florence2(bundle, load_graphs(files), tokenizer) for name, files in versions.items()}


def compare(scenes: int, stages: Path | None = None) -> dict[str, Any]:
    """Compare both models on ``scenes`` scenes: metrics, and the share of tokens that agree."""
    from scenes import write_scenes

    from f2edge.evaluation import Report, ask, open_dataset

    with tempfile.TemporaryDirectory() as scratch:
        write_scenes(Path(scratch) / "scenes", scenes, SEED)
        dataset = open_dataset(Path(scratch) / "scenes")
        runs = {name: ask(model, dataset.samples) for name, model in models(Path(scratch), stages).items()}
    exact, narrow = ([asked.result.token_ids for asked in run.answers.values()] for run in runs.values())
    pairs = list(zip(exact, narrow, strict=True))
    tokens = sum(max(len(a), len(b)) for a, b in pairs)
    agreeing = sum(x == y for a, b in pairs for x, y in zip(a, b, strict=False))
    counts = {"tokens": tokens, "agreeing": agreeing, "share": agreeing / tokens}
    report = Report.of(dataset, runs, None).to_json()
    report["data"]["path"] = f"scenes of seed {SEED}"  # not where they were drawn
    return {"scenes": scenes, **counts, **report}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200, help="number of scenes that are drawn and asked about (200)")
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")
    arguments = parser.parse_args()
    text = json.dumps(compare(arguments.scenes), indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
