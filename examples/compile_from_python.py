"""Compile a checkpoint from Python, and check the bundle; needs the packages of `f2edge[compile]`.

python examples/compile_from_python.py microsoft/Florence-2-base florence-2-base.cpu
"""

import sys
from pathlib import Path

import f2edge
from f2edge.compile.build import build
from f2edge.compile.options import Listener, Options
from f2edge.targets import get_target
from f2edge.verify import verify

checkpoint, output = sys.argv[1:]
options = Options(get_target("cpu"), precision="fp16", max_new_tokens=64)
bundle = build(checkpoint, Path(output), options, listener=Listener(stage=print, notice=print))
report = verify(f2edge.load(bundle.path))
print(f"{bundle.path}: {bundle.size_bytes / 1e6:.0f} MB, verified: {report.passed}")
