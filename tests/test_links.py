"""Every relative link and anchor of the pages, and every citation of a page in the code, has a target."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
DOCS = "docs"
CODE = ("f2edge", "compile", "quantize", "runtimes", "calibration", "tests", "demo", "benchmarks", "examples")

_FENCE = re.compile(r"^[ \t]*(```+|~~~+).*?^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_INLINE_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_TARGETS = (
    re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)"),
    re.compile(r"^\[[^\]]+\]:[ \t]*(\S+)", re.MULTILINE),
    re.compile(r"\b(?:href|src)=\"([^\"]+)\""),
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|//")
_CITATION = re.compile(rf"\b{DOCS}/[\w/-]+\.md(?:#[\w-]+)?")


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    text = _INLINE_LINK.sub(r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: str) -> set[str]:
    """Return the anchors of all headings of a page; a repeated heading gets -1, -2, ... appended."""
    seen: Counter[str] = Counter()
    names = set()
    for heading in _HEADING.findall(_FENCE.sub("", page)):
        name = slug(heading)
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def links(page: str) -> list[str]:
    """Return the targets of a page's links and pictures, except those with a scheme and those in code."""
    prose = _CODE_SPAN.sub("", _FENCE.sub("", page))
    targets = [target for pattern in _TARGETS for target in pattern.findall(prose)]
    return [target for target in targets if not _SCHEME.match(target)]


def fault(target: str, page: Path, folder: Path) -> str | None:
    """Return why a target, relative to ``folder``, leads nowhere; a bare anchor is looked up in ``page``."""
    path, _, anchor = target.partition("#")
    file = folder / unquote(path) if path else page
    if not file.exists():
        return f"{page.name}: there is no file for {target}"
    if anchor and file.suffix == ".md" and anchor not in anchors(file.read_text("utf-8")):
        return f"{page.name}: there is no heading for {target}"
    return None


def pages(root: Path) -> list[Path]:
    """Return the Markdown files of the repository's top level and of its documentation."""
    documentation = (root / DOCS).rglob("*.md")
    return sorted([*root.glob("*.md"), *(page for page in documentation if "_build" not in page.parts)])


def citations(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield every Python file that names a page of the documentation, and what it names."""
    for folder in CODE:
        for file in sorted((root / folder).rglob("*.py")):
            for citation in _CITATION.findall(file.read_text("utf-8")):
                yield file, citation


def faults(root: Path) -> list[str]:
    """Return a sentence for each link and each citation under ``root`` that leads nowhere."""
    reasons = [fault(target, page, page.parent) for page in pages(root) for target in links(page.read_text("utf-8"))]
    reasons += [fault(citation, file, root) for file, citation in citations(root)]
    return [reason for reason in reasons if reason]


def test_links_and_citations_lead_somewhere() -> None:
    """Every file and heading that a page links to, or that a docstring or comment cites, exists."""
    assert {page.name for page in pages(ROOT)} >= {"README.md", "CHANGELOG.md", "florence2.md"}
    assert any("#" in citation for _, citation in citations(ROOT))
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("Beam search", "beam-search"),
        ("What is proven, and where", "what-is-proven-and-where"),
        ("`f2edge run`, *quickly*", "f2edge-run-quickly"),
        ("ONNX Runtime 1.32 / fp32", "onnx-runtime-132--fp32"),
        ("See [the traps](traps.md)", "see-the-traps"),
        ("row_embeddings", "row_embeddings"),
        ("Größe", "größe"),
    ],
)
def test_slugs_are_githubs(heading: str, name: str) -> None:
    """Anchors equal GitHub's for capitals, blanks, punctuation, code, emphasis, links and letters beyond ASCII."""
    assert slug(heading) == name


def test_anchors_of_a_page() -> None:
    """Headings of every level count, repeated ones are numbered, comments in code blocks are no headings."""
    page = "# Top\n## Twice ##\n\n```sh\n# a comment\n```\n\n### Twice\n#no heading\n"
    assert anchors(page) == {"top", "twice", "twice-1"}


def test_links_of_a_page() -> None:
    """Inline links, titles, pictures, reference definitions and HTML count; schemes and code do not."""
    page = '[a](x.md "t") ![b](y.png) [c](#z) [`d`](w.md#v) `[e](code.md)` [f](https://a.b/c.md) <a href="mailto:g">\n'
    page += '<img src="h.png">\n\n```md\n[i](fenced.md)\n```\n\n[j]: k.md\n'
    assert links(page) == ["x.md", "y.png", "#z", "w.md#v", "k.md", "h.png"]


@pytest.mark.parametrize(
    ("page", "code", "wrong"),
    [
        ("[a](there.md#a-heading) [b](#own) [c](../README.md)\n# Own\n", "there.md#a-heading", []),
        ("[a](gone.md)", "", ["gone.md"]),
        ("[a](there.md#gone)", "", ["there.md#gone"]),
        ("[a](#gone)\n# Own\n", "", ["#gone"]),
        ("![a](gone.png)", "", ["gone.png"]),
        ("", "gone.md", ["gone.md"]),
        ("", "gone.md#a-heading", ["gone.md#a-heading"]),
        ("", "there.md#gone).", ["there.md#gone"]),
    ],
)
def test_broken_targets_are_reported(page: str, code: str, wrong: list[str], tmp_path: Path) -> None:
    """A missing file or heading is reported once, for a link in a page and for a citation in a docstring."""
    for folder in (DOCS, "compile"):
        (tmp_path / folder).mkdir()
    (tmp_path / "README.md").write_text("# Read me\n")
    (tmp_path / DOCS / "there.md").write_text("# There\n\n## A heading\n")
    (tmp_path / DOCS / "page.md").write_text(page)
    (tmp_path / "compile" / "module.py").write_text(f'"""Cites ({DOCS}/{code})."""\n' if code else "")
    reported = [reason.rsplit(" ", 1)[1].removeprefix(f"{DOCS}/") for reason in faults(tmp_path)]
    assert reported == wrong
