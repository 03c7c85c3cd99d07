"""Memory and size of one caption: the largest resident set of a process, and the bytes of the files that it opens.

    python benchmarks/footprint.py --output benchmarks/results/footprint.json

Each contender answers one caption in a process of its own: transformers and the OpenVINO notebook through their
contenders, f2edge through ``f2edge run``.  transformers' weights are made in memory, so its size is
that of an fp32 weights file.  Unlike times, these figures do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from artefacts import CACHE, Cache
from contenders import entry
from fresh_process import FreshProcess
from workload import WORKLOADS

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from measuring import WholeModel
    from workload import Workload

BUNDLES = ("cpu-fp16", "cpu-int8")
_KIB = 1024


def footprint(workload: Workload, cache: Cache, bundles: list[str]) -> dict[str, dict[str, float]]:
    """Peak memory in MB and size in bytes of every contender."""
    figures = {"torch-fp32": _in_own_process(_transformers, workload, cache)}
    figures["notebook"] = _in_own_process(_notebook, workload, cache)
    for bundle in bundles:
        process = FreshProcess(workload, cache, bundle)
        process.warm_up()  # fills OpenVINO's cache, which the second and later starts read
        figures[f"f2edge {bundle}"] = {"peak_mb": process.measure()["peak_mb"][0], "bytes": _bytes(cache.get(bundle))}
    return figures


def _transformers(workload: Workload, cache: Cache, answers: Queue[dict[str, float]]) -> None:
    from transformers_model import TransformersModel

    contender = entry("torch-fp32").open(workload, cache)
    assert isinstance(contender, TransformersModel)
    size = sum(parameter.numel() * parameter.element_size() for parameter in contender.model.parameters())
    _answer(contender, workload)
    answers.put({"peak_mb": _peak_mb(), "bytes": size})


def _notebook(workload: Workload, cache: Cache, answers: Queue[dict[str, float]]) -> None:
    from notebook_way import NotebookWay

    contender = entry("notebook").open(workload, cache)
    assert isinstance(contender, NotebookWay)
    _answer(contender, workload)
    answers.put({"peak_mb": _peak_mb(), "bytes": _bytes(cache.get("notebook"))})


def _answer(contender: WholeModel, workload: Workload) -> None:
    import torch

    with torch.inference_mode():
        contender.answer("caption", workload.caption_tokens)


def _in_own_process(target: object, workload: Workload, cache: Cache) -> dict[str, float]:
    for name in ("photographs", "checkpoint", "notebook"):
        cache.get(name)
    context = multiprocessing.get_context("spawn")
    answers: Queue[dict[str, float]] = context.Queue()
    process = context.Process(target=target, args=(workload, cache, answers))  # type: ignore[arg-type]
    process.start()
    figures = answers.get(timeout=600)
    process.join()
    return figures


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB / 1e6


def _bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(WORKLOADS), default="base")
    parser.add_argument("--bundles", nargs="*", default=BUNDLES, metavar="TARGET-PRECISION")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--output", type=Path, help="write the JSON here as well")
    arguments = parser.parse_args()
    workload = WORKLOADS[arguments.workload]
    figures = footprint(workload, Cache(workload, arguments.cache), arguments.bundles)
    text = json.dumps({"workload": workload.name, "contenders": figures}, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
