"""An HTML page that holds everything it needs, and asks nothing of any server: the frame of all such pages."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from f2edge import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

_FRAME = "whole_page.html"
_OWN = "f2edge.reporting"


def environment(package: str, styles: Sequence[str], scripts: Sequence[str] = ()) -> Environment:
    """Return what renders the templates of a package.

    A template extends ``whole_page.html``, fills its block ``body``, and gets a ``title``.

    Args:
        package: the package in whose folder ``assets`` the templates are.
        styles: the files of styles there, which are put into the page.
        scripts: the files of scripts there, for the template to put into its body as ``script``; without any the page
            allows none.
    """

    def asset(name: str) -> str:
        folder = _OWN if name == _FRAME else package
        return (files(folder) / "assets" / name).read_text("utf-8")

    def joined(names: Sequence[str]) -> Markup:
        return Markup("\n").join(Markup(asset(name)) for name in names)  # noqa: S704 - files of this package

    made = Environment(
        loader=FunctionLoader(asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals.update(style=joined(styles), script=joined(scripts), version=__version__)
    return made
