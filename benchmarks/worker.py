"""The process of one contender: it opens the contender, then measures one round for each line on stdin.

Each reply is one line of JSON on the original stdout.  Output of libraries is redirected to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TextIO

from artefacts import Cache
from contenders import entry
from workload import WORKLOADS

READY = "ready"


def main() -> None:
    """Run ``worker.py CONTENDER WORKLOAD CACHE``."""
    name, workload, directory = sys.argv[1:]
    chosen = WORKLOADS[workload]
    with _answers() as answers:
        contender = entry(name).open(chosen, Cache(chosen, Path(directory)))
        contender.warm_up()
        _say(answers, {READY: name, "details": getattr(contender, "details", {})})
        for _turn in sys.stdin:
            contender.warm_up()  # during the other turns caches went cold, and the system may have reclaimed pages
            _say(answers, contender.measure())


def _answers() -> TextIO:
    """Return the pipe to the parent, and redirect stdout to stderr for everything else that prints."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(pipe, "w", encoding="utf-8")


def _say(answers: TextIO, message: object) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
