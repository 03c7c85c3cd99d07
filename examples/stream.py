"""Print a caption while the model writes it, piece by piece; streaming always takes greedy search.

python examples/stream.py florence-2-base.cpu street.jpg
"""

import sys

import f2edge

bundle, picture = sys.argv[1:]
image = f2edge.load(bundle).encode(picture)
for piece in image.stream("more_detailed_caption"):
    print(piece, end="", flush=True)
print()
