"""Florence-2 on the device in front of you.

    model = f2edge.load("florence-2-base.cpu")
    result = model.run("photo.jpg", "od")
    print(result.labels, result.boxes, result.confidences)
    f2edge.draw("photo.jpg", result).save("boxes.png")

The names below are the public API.  Importing this package needs numpy, Pillow, tokenizers and filelock; ``load``
and ``load_backbone`` import the bundle's engine.
"""

from __future__ import annotations

from f2edge.asking.encoded import EncodedImage
from f2edge.asking.objects import Detection
from f2edge.asking.questions import Ask
from f2edge.asking.stopped import StoppedError
from f2edge.backbone import Backbone, load_backbone
from f2edge.bundle.manifest import Bundle, open_bundle
from f2edge.decoding.settings import GenerationSettings
from f2edge.draw import draw  # from here on f2edge.draw is the function, not the module that it is in
from f2edge.errors import F2EdgeError
from f2edge.image import from_bgr
from f2edge.model import Florence2, load
from f2edge.result import Result
from f2edge.video.frame import Frame
from f2edge.video.frames import frames

__version__ = "0.1.0"
__all__ = [
    "Ask",
    "Backbone",
    "Bundle",
    "Detection",
    "EncodedImage",
    "F2EdgeError",
    "Florence2",
    "Frame",
    "GenerationSettings",
    "Result",
    "StoppedError",
    "draw",
    "frames",
    "from_bgr",
    "load",
    "load_backbone",
    "open_bundle",
]
