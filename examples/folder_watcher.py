"""Describe each picture that appears in a folder, as a line of JSON, until none has appeared for IDLE seconds.

python examples/folder_watcher.py florence-2-base.cpu pictures/ 60
"""

import json
import sys
import time
from pathlib import Path

import f2edge

bundle, folder, idle = sys.argv[1:]
model = f2edge.load(bundle)
done, sizes = set[Path](), dict[Path, int]()
last = time.monotonic()
while time.monotonic() - last < float(idle):
    pictures = [path for path in Path(folder).iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    found = {path: path.stat().st_size for path in pictures if path not in done}
    for path in (path for path, size in found.items() if sizes.get(path) == size):  # it no longer grows
        try:
            answer = {"caption": model.run(path, "caption").plain_text}
        except f2edge.F2EdgeError as error:
            answer = {"error": str(error)}
        print(json.dumps({"picture": path.name, **answer}), flush=True)
        done.add(path)
        last = time.monotonic()
    sizes = found
    time.sleep(0.2)
