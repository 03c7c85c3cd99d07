"""The files of the page: valid, small, self-contained, and legible."""

from __future__ import annotations

import re
from importlib.resources import files

import html5lib
import pytest

FOLDER = files("f2edge.serve") / "page"
NAMES = sorted(entry.name for entry in FOLDER.iterdir())
TEXTS = {name: (FOLDER / name).read_text(encoding="utf-8") for name in NAMES}
SCRIPTS = [name for name in NAMES if name.endswith(".js")]
STYLES = [name for name in NAMES if name.endswith(".css")]
HTML = "{http://www.w3.org/1999/xhtml}"


def parsed() -> list[dict[str, str]]:
    """Return the attributes of every element of the page, its tag among them; an error if the HTML is not valid."""
    tree = html5lib.HTMLParser(strict=True).parse(TEXTS["index.html"])
    return [{**element.attrib, "tag": str(element.tag).removeprefix(HTML)} for element in tree.iter()]


def test_the_html_is_valid() -> None:
    """A strict parser reads the page, every id is there once, and what refers to an id finds it."""
    elements = parsed()
    ids = [element["id"] for element in elements if "id" in element]
    assert len(ids) == len(set(ids))
    referring = ("for", "aria-labelledby", "aria-describedby")
    wanted = {element[name] for element in elements for name in referring if name in element}
    assert wanted <= set(ids)
    assert {element.get("lang") for element in elements if element["tag"] == "html"} == {"en"}


def test_the_strict_parser_is_strict() -> None:
    """A faulty page does not pass."""
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse("<!DOCTYPE html><p><table><tr><td></p></table>")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_find_their_elements(name: str) -> None:
    """Every id that a script looks up with a literal is in the page, and every module that it imports is there."""
    ids = {element["id"] for element in parsed() if "id" in element}
    assert set(re.findall(r'byId\("([^"]+)"\)', TEXTS[name])) <= ids
    assert set(re.findall(r'from "\./([^"]+)"', TEXTS[name])) <= set(NAMES)


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_module_exports_is_used(name: str) -> None:
    """Nothing is exported for nobody."""
    exported = re.findall(r"^export (?:async )?(?:function\*?|const|class) (\w+)", TEXTS[name], re.MULTILINE)
    others = "".join(text for other, text in TEXTS.items() if other != name and other in SCRIPTS)
    assert [item for item in exported if not re.search(rf"\b{item}\b", others)] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_module_imports_it_uses(name: str) -> None:
    """Nothing is imported for nothing, and lines are as long as those of Python."""
    imports = "".join(re.findall(r"^import \{(.*?)\} from", TEXTS[name], re.DOTALL | re.MULTILINE))
    body = re.sub(r"^import \{.*?\} from .*?$", "", TEXTS[name], flags=re.DOTALL | re.MULTILINE)
    assert [item for item in re.findall(r"\w+", imports) if not re.search(rf"\b{item}\b", body)] == []
    assert [line for line in TEXTS[name].splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_comes_from_elsewhere(name: str) -> None:
    """No file names an address of another host; that of the SVG namespace is a name alone."""
    assert (
        re.findall(r"(?:https?:)?//\w[\w.]*\.\w+[^\s\"']*", TEXTS[name].replace("http://www.w3.org/2000/svg", "")) == []
    )


def test_the_policy_is_kept() -> None:
    """Neither scripts nor styles stand in the HTML, nor does a script write HTML: all values are texts."""
    assert not [e for e in parsed() if "style" in e or any(name.startswith("on") for name in e)]
    assert not [e for e in parsed() if (e["tag"] == "script" and "src" not in e) or e["tag"] == "style"]
    assert not [
        name for name in SCRIPTS if re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", TEXTS[name])
    ]


def test_the_files_are_small() -> None:
    """The page is there at once, also over a slow line."""
    assert sum(len(text.encode()) for text in TEXTS.values()) < 100_000


def colours(scheme: str) -> dict[str, str]:
    """Return the colours of a scheme, ``light`` or ``dark``, by their names."""
    light, dark = re.findall(r":root \{(.*?)\}", TEXTS["theme.css"], re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#\w{6});", light if scheme == "light" else dark))


PAIRS = [
    *((text, ground, 4.5) for text in ("text", "quiet") for ground in ("ground", "panel", "sunk", "accent-soft")),
    *(("accent", ground, 4.5) for ground in ("ground", "panel")),
    ("accent-text", "accent", 4.5),
    ("wrong", "wrong-soft", 4.5),
    *(("edge", ground, 3.0) for ground in ("panel", "sunk")),  # borders of controls
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("one", "other", "least"), PAIRS)
def test_contrasts_suffice(scheme: str, one: str, other: str, least: float) -> None:
    """Texts have a contrast of 4.5 and borders of controls one of 3 with their ground, as WCAG 2 (AA) wants it."""
    assert contrast(colours(scheme)[one], colours(scheme)[other]) >= least


def test_captions_are_legible() -> None:
    """Black or white has a contrast of 4.5 with each colour of objects."""
    palette = re.findall(r'"(#\w{6})"', TEXTS["marks.js"].split("];")[0])
    assert len(palette) == 12
    assert [c for c in palette if max(contrast(c, "#000000"), contrast(c, "#ffffff")) < 4.5] == []


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours #rrggbb, 1 to 21, as WCAG defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, 0 to 1."""
    shares = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_colours_are_those_of_drawings() -> None:
    """The page and ``f2edge run --draw`` give an object the same colour."""
    from f2edge.draw import _COLOURS

    assert tuple(re.findall(r'"(#\w{6})"', TEXTS["marks.js"].split("];")[0])) == _COLOURS
