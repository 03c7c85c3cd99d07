"""What ``compile --lora`` adds: the time to load a random checkpoint with an adapter of the whole model, and without.

    python benchmarks/merging.py base --output benchmarks/results/merging.json

The two take turns.  Seconds of the processor, those of all threads, are beside those of the clock: other work on the
machine makes the latter longer.  All steps after loading are those of any checkpoint.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
from workload import WORKLOADS

from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.options import Lora
from tests.support.adapters import WHOLE_MODEL, modules, write_adapter
from tests.support.checkpoints import initialise, write_checkpoint


class Seconds(NamedTuple):
    """How long something took: by the clock, and of all threads together."""

    clock: float
    processor: float


def measure(size: str, rank: int, rounds: int) -> dict[str, object]:
    """Return the seconds of each round with and without an adapter, and what was added."""
    with tempfile.TemporaryDirectory() as folder:
        base, adapter = Path(folder) / "base", Path(folder) / "adapter"
        model = write_checkpoint(base, geometry=WORKLOADS[size].geometry, dtype=torch.float16, fill=initialise)
        write_adapter(adapter, modules(model, "transformers"), **{**WHOLE_MODEL, "r": rank, "lora_alpha": 2 * rank})
        del model
        _load(base, [])  # reads the files into the system's cache
        times = [(_load(base, []), _load(base, [Lora(adapter)])) for _ in range(rounds)]
        bytes_ = (adapter / "adapter_model.safetensors").stat().st_size
    about = {"size": size, "rank": rank, "threads": torch.get_num_threads(), "adapter_bytes": bytes_}
    return about | {name: _compared(times, name) for name in Seconds._fields}


def _compared(times: list[tuple[Seconds, Seconds]], name: str) -> dict[str, object]:
    pairs = [(getattr(plain, name), getattr(merged, name)) for plain, merged in times]
    added = [merged - plain for plain, merged in pairs]
    spread = {"median": statistics.median(added), "least": min(added), "largest": max(added)}
    return {"plain_s": [plain for plain, _ in pairs], "merged_s": [merged for _, merged in pairs], "added_s": spread}


def _load(base: Path, loras: list[Lora]) -> Seconds:
    clock, processor = time.perf_counter(), time.process_time()
    load_checkpoint(base, loras=loras)
    return Seconds(time.perf_counter() - clock, time.process_time() - processor)


def main() -> None:
    """Run the command line: [SIZE] [--rank N] [--rounds N] [--output FILE]."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", choices=WORKLOADS, nargs="?", default="base")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    text = json.dumps(measure(arguments.size, arguments.rank, arguments.rounds), indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
