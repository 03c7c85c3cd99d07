"""Settings of Sphinx; ``make docs`` builds the site into build/docs."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "f2edge"
author = "f2edge developers"
project_copyright = f"2026, {author}"
release = version = installed_version("f2edge")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "click_reference"]
smartquotes_action = "D"  # dashes; quotes stay straight, as they are in code

# Headings down to level 4 get the anchors that GitHub gives them, so one link works in both places.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
napoleon_numpy_docstring = False

# Docstrings and annotations name types that the API reference has no entry for: those of other packages (the build
# fetches nothing, so there is nothing to link to), and those of f2edge that users read or hand on but do not make.
nitpicky = True
_OTHERS = (
    *("Path", "PathLike", "Image", "Event", "Any", "IntArray", "FloatArray", "ByteArray", "NDArray", "uint8"),
    *("Detections", "ExitStack", "Tensor"),
)
_ALIASES = (
    *("Answer", "Cancel", "Compute", "Features", "FrameSource", "Graph", "ImageSource", "Labels", "OnMismatch"),
    *("Precision", "PrecisionOption", "RegionSource", "VideoSource", "WeightFormat"),
)
_RECORDS = (
    *("Component", "Geometry", "GoldenCase", "Limits", "Quantization", "Recipe", "Runtime", "Tokenizer"),
    *("BackboneRuntime", "Calibration", "DaViT", "Encoded", "Maps", "Model", "Thumbnail", "Verified"),
)
nitpick_ignore_regex = [
    ("py:class", rf"(.*\.)?({'|'.join(_OTHERS + _ALIASES + _RECORDS)})"),
    ("py:data", rf"(.*\.)?({'|'.join(_ALIASES)}|[A-Z_]+)"),  # aliases and constants
]

html_theme = "furo"
html_title = project
html_copy_source = False


def setup(app: Sphinx) -> None:
    """Have the API reference link to the pages that docstrings name, docs/PAGE.md#HEADING."""

    def link_pages(*event: list[str]) -> None:
        lines = event[-1]
        lines[:] = [re.sub(r"docs/([\w-]+)\.md(#[\w-]+)?", r"`\g<0> <\1.html\2>`__", line) for line in lines]

    app.connect("autodoc-process-docstring", link_pages)
